"""VNFCs that have to be there are found by group and VNF, and nothing is left of those that went."""

from __future__ import annotations

from dataclasses import replace

from vnfm.lcm.healing import Expected
from vnfm.vim.expectations import Expectations


def vnfc(vnfc_id: str, vnf: str, chain: str = "", vim: str = "m") -> Expected:
    return Expected(
        vnfc_id=vnfc_id, vdu_id="v", vim=vim, tenant="t", vnf_instance_id=vnf, vnf=vnf, chain_id=chain, position="v-0"
    )


def test_found_by_chain_by_vnf_and_by_vim() -> None:
    a, b, alone = vnfc("1", "fw", "c"), vnfc("2", "rt", "c", vim="n"), vnfc("3", "one")
    known = Expectations([a, b, alone])
    assert known.of_group("c") == [a, b]
    assert known.of_group("one") == [alone]
    assert known.groups_of(["rt", "one", "nobody"]) == {"c", "one"}
    assert known.of_vim("n") == [b]
    assert known.get("3") is alone


def test_the_same_id_replaces_and_what_is_removed_is_gone_everywhere() -> None:
    a = vnfc("1", "fw", "c")
    known = Expectations([a])
    moved = replace(a, chain_id="d")
    known.add(moved)
    assert (known.of_group("c"), known.of_group("d")) == ([], [moved])
    known.remove("1")
    known.remove("1")
    assert (known.get("1"), known.of_group("d"), known.groups_of(["fw"]), known.of_vim("m")) == (None, [], set(), [])
