"""The sample chains: each NSD beside a chain's file says the same, in the words in which the command prints it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vnfm.graph.chainfile import read_chain
from vnfm.graph.nsdtext import to_nsd

CHAINS = Path(__file__).parents[3] / "descriptors" / "chains"
SHORT = sorted(p.stem for p in CHAINS.glob("*.yaml") if not p.stem.endswith("-nsd"))


def test_there_are_samples_with_one_path_and_with_several() -> None:
    counts = {name: len(read_chain((CHAINS / f"{name}.yaml").read_bytes()).paths) for name in SHORT}
    assert counts == {"vcpe": 1, "vcpe-paths": 3, "vcpe-two-vims": 1}


@pytest.mark.parametrize("name", SHORT)
def test_both_forms_say_the_same(name: str) -> None:
    chain = read_chain((CHAINS / f"{name}.yaml").read_bytes(), f"{name}.yaml")
    text = (CHAINS / f"{name}-nsd.yaml").read_text()
    assert read_chain(text.encode(), f"{name}-nsd.yaml") == chain
    printed = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    assert printed == to_nsd(chain)


def test_the_paths_are_told_apart_by_port_and_by_dscp() -> None:
    chain = read_chain((CHAINS / "vcpe-paths.yaml").read_bytes(), "vcpe-paths.yaml")
    found = {p.name: (p.match.ip_protocol, p.match.destination_port, p.match.dscp) for p in chain.paths}
    assert found == {"default": (0, 0, 0), "web": (6, 443, 0), "voice": (0, 0, 46)}
