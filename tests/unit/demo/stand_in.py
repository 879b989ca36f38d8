"""Stands in for the `vnfm` command in a rehearsal of the demo: the client is the real one, `serve` has canned answers.

Run as `python stand_in.py ARGUMENTS...`. What the served "chain" does is done on loopback: commands at its ends run
right here. The state folder keeps what was created, so that a kill -9 is survived as a manager would.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/unit/cli")]

from fake_manager import FakeManager, step, struct  # noqa: E402

from vnfm.pb.nfvo.v1 import nfvo_pb2  # noqa: E402

RUNTIMES = {"fw": "CONTAINER", "rt": "KATA", "gw": "VM"}
CREATING_S = 1.5
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
        done = min(1.0, (time.time() - since) / CREATING_S)
        state = "COMPLETED" if done == 1 else "PROCESSING"
        steps = [step("link", "DONE", 0.1), step("compute", "DONE" if done == 1 else "STARTED", 1.0, "booting")]
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

    def chains(self) -> list[nfvo_pb2.Chain]:
        made = {chain: "INSTANTIATED" for kind, chain, _ in self.ops.values() if kind == "CHAIN_CREATE"}
        gone = {chain: "NOT_INSTANTIATED" for kind, chain, _ in self.ops.values() if kind == "CHAIN_TERMINATE"}
        vnfs = [{"alias": a, "runtime": r, "vnf_instance_id": f"vnf-{a}", "vnfcs": []} for a, r in RUNTIMES.items()]
        body = struct({"vnfs": vnfs, "links": [], "probe": None})
        return [nfvo_pb2.Chain(id=f"id-{n}", name=n, state=s, body=body) for n, s in (made | gone).items()]


def execute(requests: Iterator[Any], context: Any) -> Iterator[nfvo_pb2.ExecVnfOutput]:
    """ExecSap and ExecVnf: here, but for what asks about addresses and rules."""
    command = list(next(requests).command)
    if command[:1] == ["ip"]:
        yield nfvo_pb2.ExecVnfOutput(stdout=json.dumps(ADDRESSES).encode())
        yield nfvo_pb2.ExecVnfOutput(exited=True)
        return
    if command[:1] == ["nft"]:
        DROPS["nftables"][0]["rule"]["expr"][0]["counter"]["packets"] += 3
        yield nfvo_pb2.ExecVnfOutput(stdout=json.dumps(DROPS).encode())
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
    vnfs = [
        {"alias": a, "runtime": r, "host": "here", "host_path": ["here"], "vim": "local", "reasons": ["a need"]}
        for a, r in RUNTIMES.items()
    ]
    package = nfvo_pb2.Package(id="p", product="x", version="1", provider="y", onboarding_state="ONBOARDED")
    manager.answer("CreatePackage", nfvo_pb2.Package(id="p", onboarding_state="CREATED"))
    manager.answer("UploadPackage", package)
    manager.answer("ListPackages", [package])
    manager.answer("PlanChain", nfvo_pb2.ChainPlan(chain="vcpe", feasible=True, body=struct({"vnfs": vnfs})))
    manager.answer("CreateChain", lambda r, _c: records.add("CHAIN_CREATE", r.name or "vcpe"))
    manager.answer("TerminateChain", lambda r, _c: records.add("CHAIN_TERMINATE", r.ref.removeprefix("id-")))
    manager.answer("GetOpOcc", lambda r, _c: records.occurrence(r.ref))
    manager.answer("WatchOpOcc", lambda r, _c: records.watch(r.ref))
    manager.answer("ListOpOccs", lambda _r, _c: [records.occurrence(i) for i in records.ops])
    manager.answer("ListChains", lambda _r, _c: records.chains())
    manager.answer("GetChain", lambda r, _c: next(c for c in records.chains() if c.name == r.ref))
    manager.answer("ProbeChain", lambda r, _c: next(c for c in records.chains() if c.name == r.ref))
    manager.answer("GraphChain", nfvo_pb2.ChainPicture(svg="<svg/>"))
    manager.answer("DeleteChain", nfvo_pb2.DeleteResponse())
    manager.answer("ListVnfs", [])
    manager.answer("ExecSap", execute)
    manager.answer("ExecVnf", execute)
    manager.start()
    print(f"ready {endpoint}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    manager.stop()


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
