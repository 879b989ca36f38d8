"""Programs with runc's command line: crun for CONTAINER, the microVM runtime for KATA."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plugins.local import process
from plugins.local.cgroups import Hierarchy
from plugins.local.process import CommandFailed

# For those that run a command's arguments themselves; what is started from here hides the mount in a thread.
_HIDE_UNIFIED = 'umount "$1" && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """How to call one; `root` is its state folder, ours alone; `hidden` is a mount that it must not see."""

    argv: tuple[str, ...]
    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    create_seconds: float = 30
    own_kernel: bool = False
    hidden: Path | None = None

    def run(self, container: str, bundle: Path, output: Path, lock_fd: int) -> int:
        """Makes the container and starts its payload at once; returns the payload's pid, which may yet be about to
        become the payload: see `is_payload`. For runtimes that close what they inherit before the payload begins: the
        lock is held while this runs, by the runtime itself.

        The payload's stdout and stderr go to `output`, opened to append.
        """
        pid_file = self._prepared(bundle)
        argv = [*self._base(), "run", "--detach", "--bundle", str(bundle), "--pid-file", str(pid_file), container]
        process.run_with_output(
            argv, output, self.create_seconds, self.environment(), pass_fds=(lock_fd,), hidden=self.hidden
        )
        return int(pid_file.read_text())

    def is_payload(self, pid: int) -> bool:
        """Whether the process has become the payload: until then it is the runtime's own program, or a copy of it that
        is a file without a name."""
        path = f"/proc/{pid}/exe"
        with suppress(OSError):
            return not os.readlink(path).startswith("/memfd:") and not os.path.samefile(path, self._program())
        return False

    def _program(self) -> str:
        return shutil.which(self.argv[0]) or self.argv[0]

    def _prepared(self, bundle: Path) -> Path:
        pid_file = bundle / "pid"
        pid_file.unlink(missing_ok=True)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return pid_file

    def create(self, container: str, bundle: Path, output: Path, lock_fd: int) -> int:
        """Makes the container, its payload not yet started; returns the pid that stands for it.

        The payload's stdout and stderr go to `output`, opened to append. The lock is inherited while this runs.
        """
        pid_file = self._prepared(bundle)
        argv = [*self._base(), *_create(container, bundle)]
        process.run_with_output(
            argv, output, self.create_seconds, self.environment(), lock_fd=lock_fd, hidden=self.hidden
        )
        return int(pid_file.read_text())

    def start(self, container: str) -> None:
        """Starts the payload."""
        self._run("start", container, timeout_seconds=self.create_seconds)

    def create_argv(self, container: str, bundle: Path) -> list[str]:
        """The command that creates; the pid goes to `pid` in the bundle."""
        return [*self._standalone(), *_create(container, bundle)]

    def start_argv(self, container: str) -> list[str]:
        """The command that starts."""
        return [*self._standalone(), "start", container]

    def delete(self, container: str) -> None:
        """Kills and removes it, known or not; what is left of its state folder is removed too."""
        self._run("delete", "--force", container, check=False, timeout_seconds=30)
        self.forget(container)

    def forget(self, container: str) -> None:
        """Removes what the runtime keeps of one that is dead."""
        shutil.rmtree(self.root / container, ignore_errors=True)

    def kill(self, container: str, signal: str) -> None:
        """A signal to the payload; a dead one is fine."""
        self._run("kill", container, signal, check=False)

    def pause(self, container: str) -> None:
        """Freezes it."""
        self._run("pause", container)

    def resume(self, container: str) -> None:
        """Thaws it."""
        self._run("resume", container)

    def exec_argv(self, container: str, process_file: Path) -> list[str]:
        """The command that runs one more process inside; its stdio and exit code are the process's."""
        return [*self._standalone(), "exec", "--process", str(process_file), container]

    def environment(self) -> dict[str, str]:
        """What its commands are to be run with."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("VNFM_MICROVM_")}
        return {**kept, **self.env}

    def _run(self, *words: str, check: bool = True, timeout_seconds: float = 60) -> None:
        process.run(
            [*self._base(), *words],
            env=self.environment(),
            check=check,
            timeout_seconds=timeout_seconds,
            hidden=self.hidden,
        )

    def _base(self) -> list[str]:
        return [*self.argv, "--root", str(self.root)]

    def _standalone(self) -> list[str]:
        """For a command that is started elsewhere and hides the mount itself."""
        if self.hidden is None:
            return self._base()
        # Propagation unchanged: what `ip netns add` does outside stays visible inside.
        words = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _HIDE_UNIFIED, "sh")
        return [*words, str(self.hidden), *self._base()]


def _create(container: str, bundle: Path) -> list[str]:
    return ["create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), container]


_KEPT = frozenset({"PATH", "HOME", "TMPDIR", "LANG"})


def crun(hierarchy: Hierarchy, root: Path, program: str = "crun") -> OciRuntime:
    """crun 1.8 refuses a hybrid host whose cgroup2 owns controllers: there it runs without seeing that mount."""
    plain = (program, "--cgroup-manager=cgroupfs")
    return OciRuntime(plain, root, hidden=hierarchy.unified if hierarchy.unified_owns else None)


def microvm(root: Path, command: Sequence[str] = ()) -> OciRuntime:
    """Our own runtime, from the same installation as this plugin unless `command` names another (Kata's, say)."""
    package_root = Path(__file__).resolve().parents[2]
    # Our runtime needs the standard library alone; looking for packages would take as long as all its imports.
    argv = tuple(command) or (sys.executable, "-S", "-m", "plugins.microvm")
    env = {"PYTHONPATH": str(package_root)} if not command else {}
    return OciRuntime(argv, root, env, create_seconds=90, own_kernel=True)


def prepare_microvm() -> None:
    """Our own runtime makes its kernel and agent; quick where it has done so before. Raises CommandFailed."""
    runtime = microvm(Path("/nonexistent"))
    process.run([*runtime.argv, "prepare"], env=runtime.environment(), timeout_seconds=120)


__all__ = ["CommandFailed", "OciRuntime", "crun", "microvm"]
