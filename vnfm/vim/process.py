"""One plugin process: spawned with a cookie and a private socket folder, one line read from its stdout.

Only one process of a plugin is alive at a time: whoever starts one first sees an earlier one, left by a manager that
was killed, to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vnfm.model.problem import ProblemError, Retry, problem

START_S = 20.0
LAST_WORDS_BYTES = 1500
LAST_WORDS_S = 3.0
EXIT_LOOK_S = 0.03
LOG_BYTES = 8 << 20
PREDECESSOR_S = 12.0  # a plugin that has lost its manager ends within ten seconds
SOCKET_PATH_BYTES = 90


@dataclass(frozen=True, slots=True)
class Spawn:
    """How a plugin is started and where it may write. `argv` is the whole command."""

    name: str
    argv: tuple[str, ...]
    folder: Path  # of this VIM: log, pid, socket


def command_of(kind: str) -> tuple[str, ...]:
    """The command of a plugin that comes with the manager, or of `exec:PROGRAM`. Raises ProblemError `vim-kind`."""
    if kind.startswith("exec:"):
        return (kind.removeprefix("exec:"),)
    if kind in available_kinds():
        return (sys.executable, "-m", f"plugins.{kind}")
    raise problem(
        "vim-kind",
        f"there is no VIM plugin {kind!r}; use {', '.join(available_kinds())}, exec:PROGRAM or grpc:HOST:PORT",
        instance=kind,
    )


def available_kinds() -> list[str]:
    """The plugins that come with the manager."""
    root = importlib.util.find_spec("plugins")
    places = list(root.submodule_search_locations or ()) if root else []
    found = {p.parent.name for place in places for p in Path(place).glob("*/__main__.py")}
    return sorted(found - {"microvm"})


class PluginProcess:
    """A running plugin; `address` is what a gRPC channel takes."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, spawn: Spawn, sockets: Path) -> None:
        self._process = process
        self.address = address
        self._spawn = spawn
        self._sockets = sockets
        # what it still prints is thrown away: a full pipe would make it hang
        self._drain = asyncio.create_task(_drain(process.stdout), name=f"stdout of {spawn.name}")

    @classmethod
    async def start(cls, spawn: Spawn) -> PluginProcess:
        """Raises ProblemError `plugin-start` with the plugin's last words."""
        spawn.folder.mkdir(parents=True, exist_ok=True)
        await _outlive_predecessor(spawn.folder / "plugin.pid")
        sockets = _socket_folder(spawn.folder)
        _bound_log(log_path(spawn))
        env = {
            **os.environ,
            "VNFM_PLUGIN_COOKIE": secrets.token_hex(16),
            "VNFM_PLUGIN_DIR": str(sockets),
            "PYTHONUNBUFFERED": "1",
        }
        with log_path(spawn).open("ab") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *spawn.argv,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env=env,
                    cwd=_code_root(),
                    start_new_session=True,
                )
            except OSError as error:
                raise _did_not_start(spawn, str(error)) from error
        try:
            _write_pid(spawn.folder / "plugin.pid", process.pid)
            address = await _first_line(process, spawn)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            if process.stdin:
                process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_exited(process), LAST_WORDS_S)
            _away(sockets)
            raise
        return cls(process, address, spawn, sockets)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def wait(self) -> str:
        """Until the process ends; says how."""
        code = await _exited(self._process)
        if self._process.stdin:
            self._process.stdin.close()
        self._drain.cancel()  # what it left running may hold its stdout open
        _away(self._sockets)
        how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{how}; {last_words(self._spawn)}"

    async def stop(self, grace_s: float) -> None:
        """Close stdin, so that it ends by itself; kill it when it does not."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(_exited(self._process), grace_s)
        except TimeoutError:
            self.kill()
        await self.wait()

    def kill(self) -> None:
        """At once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def log_path(spawn: Spawn) -> Path:
    """Where the plugin's stderr goes."""
    return spawn.folder / "plugin.log"


def last_words(spawn: Spawn) -> str:
    """The end of the plugin's log."""
    try:
        with log_path(spawn).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return "its last words: " + " / ".join(lines[-4:]) if lines else "it said nothing"


async def _first_line(process: asyncio.subprocess.Process, spawn: Spawn) -> str:
    assert process.stdout
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), START_S)).decode(errors="replace").strip()
    except TimeoutError as error:
        raise _did_not_start(spawn, f"said nothing on stdout within {START_S:.0f} s") from error
    except ValueError as error:
        raise _did_not_start(spawn, "its first line is too long") from error
    if not line:
        try:
            await asyncio.wait_for(_exited(process), LAST_WORDS_S)
        except TimeoutError as error:
            raise _did_not_start(
                spawn, f"closed its stdout without a word, and goes on; {last_words(spawn)}"
            ) from error
        raise _did_not_start(spawn, f"ended with code {process.returncode}; {last_words(spawn)}")
    parts = line.split("|")
    if len(parts) != 5 or parts[0] != "1" or parts[2] not in ("unix", "tcp") or parts[4] != "grpc":
        raise _did_not_start(spawn, f"its first line is {line[:80]!r}, expected 1|1|unix|PATH|grpc")
    return f"unix:{parts[3]}" if parts[2] == "unix" else parts[3]


async def _exited(process: asyncio.subprocess.Process) -> int:
    """The exit code. asyncio's own wait also waits for the pipes, which a child of the plugin may hold open."""
    while True:
        if process.returncode is not None:
            return process.returncode
        await asyncio.sleep(EXIT_LOOK_S)


async def _drain(stdout: asyncio.StreamReader | None) -> None:
    while stdout and await stdout.read(LOG_BYTES):
        pass


def _away(sockets: Path) -> None:
    shutil.rmtree(sockets, ignore_errors=True)


def _did_not_start(spawn: Spawn, why: str) -> ProblemError:
    return problem(
        "plugin-start",
        f"plugin {' '.join(spawn.argv)} of VIM {spawn.name} did not start: {why}",
        instance=spawn.name,
        retry=Retry.SAME_CALL,
        title="VIM plugin did not start",
    )


def _code_root() -> str:
    """Plugins are modules of the same tree as the manager."""
    import vnfm

    return str(Path(vnfm.__file__).resolve().parent.parent)


def _socket_folder(folder: Path) -> Path:
    sockets = folder / "sock"
    if len(str(sockets)) > SOCKET_PATH_BYTES:  # the kernel allows 107 bytes for a socket's path
        return Path(tempfile.mkdtemp(prefix="vnfm-plugin-"))
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir(mode=0o700)
    return sockets


def _bound_log(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))


def _start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 where there is none of that pid."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _write_pid(path: Path, pid: int) -> None:
    path.write_text(json.dumps({"pid": pid, "start_ticks": _start_ticks(pid)}))


async def _outlive_predecessor(path: Path) -> None:
    try:
        known = json.loads(path.read_text())
        pid, ticks = int(known["pid"]), int(known["start_ticks"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    deadline = asyncio.get_running_loop().time() + PREDECESSOR_S
    while ticks and _start_ticks(pid) == ticks and not _zombie(pid):
        if asyncio.get_running_loop().time() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline += PREDECESSOR_S
        await asyncio.sleep(0.05)
    path.unlink(missing_ok=True)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (OSError, IndexError):
        return True
