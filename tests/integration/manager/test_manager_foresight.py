"""Looking ahead over a simulated data centre by the command line: what is foreseen is what comes when it is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from manager_harness import CHAIN, ROOT, Manager, manager, onboard

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

PATIENCE_S = 240.0


def vnfm(m: Manager, *args: str, code: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "vnfm.main", *args, "--endpoint", f"unix:{m.state / 'vnfm.sock'}", "-o", "json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def host_of(m: Manager, chain: str) -> str:
    (vnf,) = vnfm(m, "chain", "show", chain)["vnfs"]
    (vnfc,) = vnf["vnfcs"]
    return str(vnfc["host"])


def test_a_vnf_is_moved_as_planned_once_and_what_if_looks_at_how_it_is_then(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path, {"simulate": {"hosts": 40, "seed": 1}}) as m:
        made = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=60)
        assert m.settled(made.id).state == "COMPLETED"
        first = host_of(m, "c")

        # its ends are on the host, too: a drain cannot be done while the chain runs
        drained = vnfm(m, "placement", "what-if", "--drain", first)
        (fate,) = drained["chains"]
        assert (fate["outcome"], sorted(fate["ends"])) == ("RECREATED", ["client", "server"])
        assert host_of(m, "c") == first

        plan = vnfm(m, "placement", "replace", "c/fw", "--avoid", first)
        (move,) = plan["moves"]
        assert move["from"]["host"] == first != move["to"]["host"]
        assert host_of(m, "c") == first

        moving = ("placement", "replace", "c/fw", "--avoid", first, "--apply", "--request-id", "once")
        done = vnfm(m, *moving)
        assert done["applied"]["state"] == "COMPLETED"
        assert host_of(m, "c") == move["to"]["host"]
        again = m.chains.UpdateChain(
            pb.UpdateChainRequest(ref="c", request_id="once", replace=pb.ReplaceVnf(alias="fw")), timeout=60
        )
        assert again.id == done["applied"]["id"]

        # beside its ends it has fewer hops: that is what is proposed, and the command does just that
        (better,) = vnfm(m, "placement", "defragment")["moves"]
        assert better["saved"]["hops"] > 0
        words = better["command"].split()
        assert words[0] == "vnfm"
        assert vnfm(m, *words[1:])["applied"]["state"] == "COMPLETED"
        assert host_of(m, "c") == better["moves"][0]["to"]["host"]
        assert vnfm(m, "placement", "defragment")["moves"] == []

        lost = vnfm(m, "placement", "what-if", "--fail-vim", "m", code=1)
        assert [c["outcome"] for c in lost["chains"]] == ["LOST"]
        assert lost["chains"][0]["refused"]["proof"] == "host"


def test_a_change_names_what_is_wrong_with_its_places(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path, {"hosts": 2}) as m:
        made = m.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN), timeout=60)
        assert m.settled(made.id).state == "COMPLETED"
        place = {"alias": "fw", "vdu_id": "v", "vim": "m", "host": "nowhere", "runtime": "CONTAINER"}
        change = pb.ReplaceVnf(alias="fw", places=[pb.VnfcPlace(**place)])  # type: ignore[arg-type]
        made = m.chains.UpdateChain(pb.UpdateChainRequest(ref="c", replace=change), timeout=60)
        ended = m.settled(made.id)
        assert ended.state == "ROLLED_BACK"
        assert "host nowhere of VIM m does not take fw/v" in ended.error.detail
        then = pb.WhatIfRequest(then_chain=CHAIN.replace(b"chain: c", b"chain: d"))
        stub = m.channel.unary_stream(
            "/vnfm.nfvo.v1.Placement/WhatIf",
            request_serializer=pb.WhatIfRequest.SerializeToString,
            response_deserializer=pb.ForesightPiece.FromString,
        )
        documents = [json.loads(p.json) for p in stub(then, timeout=60) if p.json]
        assert documents[0]["then"]["feasible"] is True
