"""Programs with runc's command line: crun for CONTAINER, the microVM runtime for KATA."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plugins.local import process
from plugins.local.cgroups import Hierarchy
from plugins.local.process import CommandFailed

_HIDE_UNIFIED = 'umount "$1" && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """How to call one; `root` is its state folder, ours alone."""

    argv: tuple[str, ...]
    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    create_seconds: float = 30
    own_kernel: bool = False

    def create(self, container: str, bundle: Path, output: Path, lock_fd: int) -> int:
        """Makes the container, its payload not yet started; returns the pid that stands for it.

        The payload's stdout and stderr go to `output`, opened to append. The lock is inherited while this runs.
        """
        pid_file = bundle / "pid"
        pid_file.unlink(missing_ok=True)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        argv = self.create_argv(container, bundle)
        process.run_with_output(argv, output, self.create_seconds, self._environment(), lock_fd=lock_fd)
        return int(pid_file.read_text())

    def start(self, container: str) -> None:
        """Starts the payload."""
        process.run(self.start_argv(container), env=self._environment(), timeout_seconds=self.create_seconds)

    def create_argv(self, container: str, bundle: Path) -> list[str]:
        """The command that creates; the pid goes to `pid` in the bundle."""
        return [*self._base(), "create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), container]

    def start_argv(self, container: str) -> list[str]:
        """The command that starts."""
        return [*self._base(), "start", container]

    def delete(self, container: str) -> None:
        """Kills and removes it, known or not; what is left of its state folder is removed too."""
        process.run(
            [*self._base(), "delete", "--force", container], env=self._environment(), check=False, timeout_seconds=30
        )
        shutil.rmtree(self.root / container, ignore_errors=True)

    def kill(self, container: str, signal: str) -> None:
        """A signal to the payload; a dead one is fine."""
        process.run([*self._base(), "kill", container, signal], env=self._environment(), check=False)

    def pause(self, container: str) -> None:
        """Freezes it."""
        process.run([*self._base(), "pause", container], env=self._environment())

    def resume(self, container: str) -> None:
        """Thaws it."""
        process.run([*self._base(), "resume", container], env=self._environment())

    def exec_argv(self, container: str, process_file: Path) -> list[str]:
        """The command that runs one more process inside; its stdio and exit code are the process's."""
        return [*self._base(), "exec", "--process", str(process_file), container]

    def environment(self) -> dict[str, str]:
        """What `exec_argv` is to be run with."""
        return self._environment()

    def _base(self) -> list[str]:
        return [*self.argv, "--root", str(self.root)]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, **self.env}


def crun(hierarchy: Hierarchy, root: Path, program: str = "crun") -> OciRuntime:
    """crun 1.8 refuses a hybrid host whose cgroup2 owns controllers: there it runs without seeing that mount."""
    plain = (program, "--cgroup-manager=cgroupfs")
    if hierarchy.unified is None or not hierarchy.unified_owns:
        return OciRuntime(plain, root)
    # Propagation unchanged: what `ip netns add` does outside stays visible inside.
    hidden = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _HIDE_UNIFIED, "sh")
    return OciRuntime((*hidden, str(hierarchy.unified), *plain), root)


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
