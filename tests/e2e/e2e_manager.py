"""The `vnfm` command and a manager process, used as people use them; and killed as fate does."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e_host import Witness, wait_until

ROOT = Path(__file__).resolve().parents[2]
VNFM = [sys.executable, "-m", "vnfm.main"]
READY_S = 90.0
STOP_S = 10.0
TENANTS = ("default", "other")
OPEN = ("STARTING", "PROCESSING", "ROLLING_BACK", "FAILED_TEMP")
Json = Any


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Json:
        """Its stdout as one JSON document."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"no JSON on stdout: {self.stdout[:500]!r}; stderr: {self.stderr[-2000:]}") from None

    @property
    def problem(self) -> str:
        """The word of the problem it was refused with."""
        assert self.code == 1, f"exit code {self.code}, expected 1\n{self.stdout[:3000]}\n{self.stderr[-2000:]}"
        found = self.json["problem"]
        assert set(found) >= {"type", "title", "detail", "instance", "retry"}, found
        assert found["detail"], found
        return str(found["type"]).rpartition(":")[2]


class Manager:
    """`vnfm serve` on a folder of its own: state, temporary files and log; and the client's commands against it."""

    def __init__(self, root: Path, vims: Sequence[str] = (), state: Path | None = None, run_dir: Path | None = None):
        self.root = root
        self.state = state or root / "state"
        self.vims = list(vims)
        self.endpoint = f"unix:{root / 'api.sock'}"
        self.log = root / "manager.log"
        self.temp = root / "tmp"
        self.temp.mkdir(exist_ok=True)
        self.witness = Witness(self.state, run_dir or self.state / "vim/local/data/run", self.temp)
        self.process: subprocess.Popen[str] | None = None

    # -- the process

    def command(self) -> list[str]:
        """How it is started."""
        vims = [word for vim in self.vims for word in ("--vim", vim)]
        return [*VNFM, "serve", "--state", str(self.state), "--listen", self.endpoint, *vims]

    def start(self) -> float:
        """Until it says `ready`; how long that took."""
        begun = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(self.temp)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], READY_S)[0], (
            f"no `ready` in {READY_S:.0f} s: {self.words()}"
        )
        line = self.process.stdout.readline()
        assert line == f"ready {self.endpoint}\n", f"said {line!r}: {self.words()}"
        return time.monotonic() - begun

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self._ended()

    def stop(self) -> int:
        """SIGTERM; its exit code. Raises AssertionError where it takes longer than it may."""
        if self.process is None:
            return 0
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(3 * STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM was not heard within {3 * STOP_S:.0f} s: {self.words()}") from None
        took = time.monotonic() - begun
        self._ended()
        assert took < STOP_S, f"SIGTERM took {took:.1f} s"
        return code

    def _ended(self) -> None:
        assert self.process is not None
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def plugin_pid(self, vim: str = "local") -> int:
        """Of the VIM's plugin as the manager noted it; 0 where none is."""
        with suppress(OSError, ValueError, KeyError):
            return int(json.loads((self.state / "vim" / vim / "plugin.pid").read_text())["pid"])
        return 0

    def kill_plugin(self) -> int:
        """kill -9 of the local VIM's plugin; its pid."""
        pid = self.plugin_pid()
        assert pid, "no plugin is noted"
        assert "plugins.local" in " ".join(_command_line(pid)), f"pid {pid} is no plugin: {_command_line(pid)}"
        os.kill(pid, signal.SIGKILL)
        return pid

    def own_pids(self) -> frozenset[int]:
        """The manager and its plugins: not what they realize."""
        plugins = {self.plugin_pid(p.name) for p in (self.state / "vim").glob("*")}
        return frozenset(plugins | ({self.process.pid} if self.process else set()))

    def words(self) -> str:
        """The end of its log and its plugins'."""
        logs = [self.log, *self.state.glob("vim/*/plugin.log")]
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in logs if p.exists())

    # -- the commands

    def run(self, *args: str, tenant: str = "default", timeout_s: float = 240) -> Done:
        """`vnfm ARGS`, as given."""
        done = subprocess.run(
            [*VNFM, *args],
            cwd=ROOT,
            env=self._environment(tenant),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ask(self, *args: str, tenant: str = "default", timeout_s: float = 240) -> Json:
        """`vnfm ARGS -o json`, which must succeed."""
        done = self.run(*args, "-o", "json", tenant=tenant, timeout_s=timeout_s)
        assert done.code == 0, f"vnfm {' '.join(args)}: {done.code}\n{done.stdout[:3000]}\n{done.stderr[-3000:]}"
        return done.json

    def refused(self, *args: str, tenant: str = "default") -> tuple[str, str]:
        """`vnfm ARGS -o json`, which must be refused: the problem's word and detail."""
        done = self.run(*args, "-o", "json", tenant=tenant)
        return done.problem, str(done.json["problem"]["detail"])

    def begin(self, *args: str, tenant: str = "default") -> subprocess.Popen[str]:
        """`vnfm ARGS` beside us."""
        return subprocess.Popen(
            [*VNFM, *args],
            cwd=ROOT,
            env=self._environment(tenant),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self, tenant: str) -> Mapping[str, str]:
        return os.environ | {"VNFM_ENDPOINT": self.endpoint, "VNFM_TENANT": tenant}

    # -- what stories need often

    def onboard(self, *csars: Path) -> None:
        """Each of them, until ONBOARDED."""
        for csar in csars:
            assert self.ask("package", "onboard", str(csar))["onboarding_state"] == "ONBOARDED"

    def watched(self, op_id: str, timeout_s: float = 180) -> Json:
        """The operation at its end, or in FAILED_TEMP."""
        done = self.run("op", "watch", op_id, "-o", "json", "--timeout", str(timeout_s), timeout_s=timeout_s + 60)
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        assert lines, f"op watch said nothing: {done.code} {done.stderr[-2000:]}"
        return json.loads(lines[-1])

    def completed(self, op_id: str, timeout_s: float = 180) -> Json:
        """The operation, COMPLETED."""
        op = self.watched(op_id, timeout_s)
        assert op.get("state") == "COMPLETED", f"{json.dumps(op)[:3000]}\n{self.words()}"
        return op

    def open_operations(self, tenant: str = "default") -> list[str]:
        """What is not over, as "OPERATION target STATE"."""
        ops = self.ask("op", "list", tenant=tenant)
        return [f"{op['operation']} {op['target']} {op['state']}" for op in ops if op["state"] in OPEN]

    def take_down(self, name: str, tenant: str = "default") -> None:
        """Terminate and delete a chain."""
        op = self.ask("chain", "terminate", name, tenant=tenant)
        assert op["state"] == "COMPLETED", op
        self.ask("chain", "delete", name, tenant=tenant)

    def take_all_down(self, tenants: Sequence[str]) -> None:
        """Every chain of these tenants, whatever an ill-fated story left open."""
        for tenant in tenants:
            for op in self.ask("op", "list", tenant=tenant):
                if op["state"] in OPEN and not op.get("parent_id"):
                    self._settle(op["id"], op["operation"], tenant)
            for chain in self.ask("chain", "list", tenant=tenant):
                self.run("chain", "terminate", chain["id"], "-o", "json", tenant=tenant)
                self.run("chain", "delete", chain["id"], "-o", "json", tenant=tenant)
            assert self.ask("chain", "list", tenant=tenant) == []

    def _settle(self, op_id: str, operation: str, tenant: str) -> None:
        removing = "TERMINATE" in operation
        if not removing:
            self.run("op", "cancel", op_id, "--forceful", "-o", "json", tenant=tenant)
        state = self.ask("op", "show", op_id, tenant=tenant)["state"]
        if state == "FAILED_TEMP":
            self.run("op", "retry" if removing else "rollback", op_id, "-o", "json", tenant=tenant)

    def let_go(self) -> list[str]:
        """Everything terminated and the manager stopped; what is left then, as text. The folder goes if nothing is."""
        trouble: list[str] = []
        try:
            if self.process is None:
                self.start()
            self.take_all_down(TENANTS)
            if code := self.stop():
                trouble.append(f"exit code {code}")
        except AssertionError as error:
            trouble.append(str(error))
            self.kill()
        trouble += self.witness.nothing_stands()
        if not trouble:
            trouble += [f"file in the state folder: {name}" for name in self.witness.strange_files()]
        if not trouble:
            remove_folder(self.root)
        return [f"{self.root}: {line}" for line in trouble]

    def nothing_stands(self) -> None:
        """No chain's trace on this host; the manager itself may run."""
        left = self.witness.nothing_stands(but=self.own_pids())
        assert left == [], "left on the host:\n" + "\n".join(left)


class Listener:
    """A program at an end of a chain that answers on ports and says who called."""

    PROGRAM = """
import os, socket, sys, threading
def serve(port, listener):
    while True:
        connection, peer = listener.accept()
        with connection:
            connection.sendall(f"{port} saw {peer[0]}".encode())
        print("served", port, peer[0], flush=True)
listeners = {int(p): socket.create_server(("", int(p))) for p in sys.argv[1:]}
threading.Timer(300, os._exit, (0,)).start()
for port, listener in listeners.items():
    threading.Thread(target=serve, args=(port, listener), daemon=True).start()
print("listening", flush=True)
threading.Event().wait()
"""

    def __init__(self, manager: Manager, chain: str, end: str, *ports: int) -> None:
        words = [sys.executable, "-I", "-u", "-c", self.PROGRAM, *map(str, ports)]
        self._process = manager.begin("chain", "exec", chain, end, "--", *words)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert wait_until(lambda: "listening" in self._lines or self._process.poll() is not None, 60)
        assert "listening" in self._lines, self._process.communicate()[1]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.strip())

    def served(self, port: int) -> list[str]:
        """The addresses that called on this port so far."""
        return [line.split()[2] for line in self._lines if line.startswith(f"served {port} ")]

    def close(self) -> None:
        """End the program with its exec."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.kill()
        self._process.wait()


CALL = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as connection:
        print(connection.recv(200).decode())
except OSError as error:
    sys.exit(f"no answer: {error}")
"""


def call(manager: Manager, chain: str, end: str, host: str, port: int, patience_s: float = 20) -> str:
    """One TCP connection from an end of the chain: the answer; "" where none came."""
    words = [sys.executable, "-I", "-c", CALL, host, str(port), str(patience_s)]
    done = manager.run("chain", "exec", chain, end, "--", *words, timeout_s=patience_s + 60)
    assert done.code == 0 or "no answer" in done.stderr, done
    return done.stdout.strip()


def private_folder() -> Path:
    """A folder with a path short enough for unix sockets."""
    return Path(tempfile.mkdtemp(prefix="vnfm-e2e-", dir="/var/tmp"))


def remove_folder(folder: Path) -> None:
    """Unless something is still mounted there."""
    shutil.rmtree(folder, ignore_errors=True)


def fresh_request_id() -> str:
    """A client's own id for a request."""
    return str(uuid.uuid4())


def _command_line(pid: int) -> list[str]:
    with suppress(OSError):
        return [os.fsdecode(a) for a in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    return []
