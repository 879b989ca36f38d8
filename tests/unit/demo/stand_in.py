"""Stands in for the `vnfm` command in a rehearsal of the demo: the client is the real one, `serve` has canned answers.

Run as `python stand_in.py ARGUMENTS...`. What the served "chain" does is done on loopback: commands at its ends run
right here. The state folder keeps what was created, so that a kill -9 is survived as a manager would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/unit/cli")]

from fake_manager import FakeManager, step, struct  # noqa: E402

from vnfm.pb.nfvo.v1 import nfvo_pb2  # noqa: E402

RUNTIMES = {"fw": "CONTAINER", "rt": "KATA", "gw": "VM"}
PATHS = {"default": ["client", "fw", "gw", "server"], "web": ["client", "fw", "mon", "gw", "server"], "voice": []}
DURATION_S = {"CHAIN_CREATE": 1.5, "CHAIN_TERMINATE": 1.5}
WEB_PORT = os.environ.get("REHEARSED_WEB_PORT", "443")
DROPS = {"nftables": [{"rule": {"expr": [{"counter": {"packets": 0}}, {"drop": None}]}}]}
ADDRESSES = [{"ifname": "port", "addr_info": [{"local": "127.0.0.1", "scope": "global"}]}]


class Records:
    """What was created, in one file: {name: [operation, its start, deleted]}."""

    def __init__(self, state: Path) -> None:
        self._path = state / "records.json"
        state.mkdir(parents=True, exist_ok=True)
        self.ops: dict[str, list[Any]] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def add(self, operation: str, chain: str) -> nfvo_pb2.VnfLcmOpOcc:
        self.ops[f"{operation}-{chain}"] = [operation, chain, time.time()]
        self._path.write_text(json.dumps(self.ops))
        return self.occurrence(f"{operation}-{chain}")

    def occurrence(self, op_id: str) -> nfvo_pb2.VnfLcmOpOcc:
        operation, chain, since = self.ops[op_id]
        done = min(1.0, (time.time() - since) / DURATION_S.get(operation, 0.2))
        state = "COMPLETED" if done == 1 else "PROCESSING"
        link = step("link", "DONE" if done > 0.3 else "STARTED", 0.1)
        steps = [
            step("path default", "DONE", 0.1, "switched in 1.0 ms, drained for 100 ms"),
            link,
            step("compute", "DONE" if done == 1 else "STARTED", 1.0, "booting"),
        ]
        return nfvo_pb2.VnfLcmOpOcc(
            id=op_id, operation=operation, state=state, target=chain, progress_percent=int(done * 100), steps=steps
        )

    def watch(self, op_id: str) -> Iterator[nfvo_pb2.VnfLcmOpOcc]:
        while True:
            op = self.occurrence(op_id)
            yield op
            if op.state == "COMPLETED":
                return
            time.sleep(0.1)

    def chains(self, firewall: Firewall) -> list[nfvo_pb2.Chain]:
        made = {chain: "INSTANTIATED" for kind, chain, _ in self.ops.values() if kind == "CHAIN_CREATE"}
        gone = {chain: "NOT_INSTANTIATED" for kind, chain, _ in self.ops.values() if kind == "CHAIN_TERMINATE"}
        vnfs = [
            {"alias": a, "runtime": r, "vnf_instance_id": f"vnf-{a}", "vnfcs": [firewall.vnfc()] if a == "fw" else []}
            for a, r in RUNTIMES.items()
        ]
        body = struct({"vnfs": vnfs, "links": [], "probe": None})
        return [nfvo_pb2.Chain(id=f"id-{n}", name=n, state=s, body=body) for n, s in (made | gone).items()]


class Firewall:
    """The firewall's process. When it is killed another one takes its place, which is a HEAL."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lives = 0
        self._stopped = False
        self._process = self._born()
        threading.Thread(target=self._mind, daemon=True).start()

    def _born(self) -> subprocess.Popen[bytes]:
        self._lives += 1
        return subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # ends with us

    def _mind(self) -> None:
        while self._process.wait() and not self._stopped:
            self._records.add("HEAL", "vcpe")
            self._process = self._born()

    def vnfc(self) -> dict[str, Any]:
        return {
            "id": f"vnfc-{self._lives}",
            "native_id": f"container:0123:{self._process.pid}",
            "addresses": ["10.1.0.1/24"],
        }

    def stop(self) -> None:
        self._stopped = True
        self._process.kill()
        self._process.wait()


class Traffic:
    """Where `mon` stands, and what the counters say after what was run at the ends."""

    def __init__(self) -> None:
        self.monitored = False
        self.paths: Counter[str] = Counter()

    def update(self, request: nfvo_pb2.UpdateChainRequest) -> None:
        self.monitored = request.WhichOneof("change") == "insert"

    def sent(self, command: list[str]) -> None:
        """A request to a port, expedited pings, or other pings."""
        if "GET /" in " ".join(command):
            self.paths["web" if WEB_PORT in command else "default"] += 6
        elif command[0] == "ping":
            self.paths["voice" if "-Q" in command else "web"] += 200

    def trace(self) -> nfvo_pb2.Document:
        names = ["client", "fw", *(["mon"] if self.monitored else []), "rt", "gw", "server"]
        hops = [{"name": n, "cp": "left", "resource_id": n, "direction": "forward", "at_us": 1} for n in names]
        return nfvo_pb2.Document(body=struct({"chain": "vcpe", "paths": [{"path": "default", "hops": hops}]}))

    def stats(self) -> nfvo_pb2.Document:
        paths = [{"name": n, "hops": [{"name": "fw", "cp": "left", "packets": self.paths[n]}]} for n in PATHS]
        return nfvo_pb2.Document(body=struct({"chain": "vcpe-paths", "vnfs": [], "ends": [], "paths": paths}))

    def status(self) -> str:
        side = {"packets": self.paths["web"], "bytes": 0}
        return json.dumps({"left_to_right": side, "right_to_left": side, "flows": 1})


def pings(command: list[str]) -> Iterator[bytes]:
    """What ping says; without end unless told how many."""
    count = int(command[command.index("-c") + 1]) if "-c" in command else 1 << 30
    for number in range(1, count + 1):
        time.sleep(0.003)
        yield f"[{time.time():.6f}] 64 bytes from 10.9.0.2: icmp_seq={number} ttl=61 time=0.9 ms\n".encode()


def execute(traffic: Traffic, requests: Iterator[Any], context: Any) -> Iterator[nfvo_pb2.ExecVnfOutput]:
    """ExecSap and ExecVnf: here, but for what asks about addresses, rules and counters, and for pings."""
    command = list(next(requests).command)
    traffic.sent(command)
    canned: Iterator[bytes] | None = None
    if command[0] == "ip":
        canned = iter([json.dumps(ADDRESSES).encode()])
    elif command[0] == "nft":
        DROPS["nftables"][0]["rule"]["expr"][0]["counter"]["packets"] += 3
        canned = iter([json.dumps(DROPS).encode()])
    elif command[0] == "status":
        canned = iter([traffic.status().encode()])
    elif command[0] == "ping":
        canned = pings(command)
    if canned is not None:
        for data in canned:
            if not context.is_active():
                return
            yield nfvo_pb2.ExecVnfOutput(stdout=data)
        yield nfvo_pb2.ExecVnfOutput(exited=True)
        return
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    context.add_callback(child.kill)
    try:
        while line := child.stdout.readline():
            yield nfvo_pb2.ExecVnfOutput(stdout=line)
        yield nfvo_pb2.ExecVnfOutput(exited=True, exit_code=child.wait())
    finally:
        child.kill()


def serve(state: Path, endpoint: str) -> None:
    """Answers until SIGTERM."""
    records = Records(state)
    socket = Path(endpoint.removeprefix("unix:"))
    socket.unlink(missing_ok=True)
    manager = FakeManager(socket)
    firewall, traffic = Firewall(records), Traffic()

    def updated(request: nfvo_pb2.UpdateChainRequest) -> nfvo_pb2.VnfLcmOpOcc:
        traffic.update(request)
        return records.add("CHAIN_UPDATE", request.ref)

    vnfs = [
        {"alias": a, "runtime": r, "host": "here", "host_path": ["here"], "vim": "local", "reasons": ["a need"]}
        for a, r in RUNTIMES.items()
    ]
    package = nfvo_pb2.Package(id="p", product="x", version="1", provider="y", onboarding_state="ONBOARDED")
    manager.answer("CreatePackage", nfvo_pb2.Package(id="p", onboarding_state="CREATED"))
    manager.answer("UploadPackage", package)
    manager.answer("ListPackages", [package])
    manager.answer("PlanChain", nfvo_pb2.ChainPlan(chain="vcpe", feasible=True, body=struct({"vnfs": vnfs})))
    manager.answer(
        "CreateChain",
        lambda r, _c: records.add("CHAIN_CREATE", r.name or ("vcpe-paths" if b"paths" in r.descriptor else "vcpe")),
    )
    manager.answer("TerminateChain", lambda r, _c: records.add("CHAIN_TERMINATE", r.ref.removeprefix("id-")))
    manager.answer("GetOpOcc", lambda r, _c: records.occurrence(r.ref))
    manager.answer("WatchOpOcc", lambda r, _c: records.watch(r.ref))
    manager.answer("ListOpOccs", lambda _r, _c: [records.occurrence(i) for i in records.ops])
    manager.answer("ListChains", lambda _r, _c: records.chains(firewall))
    manager.answer("GetChain", lambda r, _c: next(c for c in records.chains(firewall) if c.name == r.ref))
    manager.answer("ProbeChain", lambda r, _c: next(c for c in records.chains(firewall) if c.name == r.ref))
    manager.answer("GraphChain", nfvo_pb2.ChainPicture(svg="<svg/>"))
    manager.answer("DeleteChain", nfvo_pb2.DeleteResponse())
    manager.answer("ListVnfs", [])
    manager.answer("ExecSap", lambda r, c: execute(traffic, r, c))
    manager.answer("ExecVnf", lambda r, c: execute(traffic, r, c))
    manager.answer("UpdateChain", lambda r, _c: updated(r))
    manager.answer("TraceChain", lambda _r, _c: traffic.trace())
    manager.answer("WatchChainStats", lambda _r, _c: [traffic.stats()])
    manager.start()
    print(f"ready {endpoint}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    manager.stop()
    firewall.stop()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        serve(Path(sys.argv[3]), sys.argv[5])
    elif sys.argv[1:3] == ["package", "build"]:
        Path(sys.argv[5]).write_bytes(b"a package")
    elif sys.argv[1] == "doctor":
        print('{"ok": true, "checks": []}')
    else:
        from vnfm.cli.main import main

        main()
