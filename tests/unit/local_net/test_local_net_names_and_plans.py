"""Names that the kernel takes and that are the same tomorrow; plans out of specifications."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.local.net import InvalidSpecError, LinkSpec, Member, MemberKind, Wiring, naming
from plugins.local.net.plan import link_from_stamp, link_to_stamp, plan_link, same_wiring

CONTAINER = Member("c1", "left", MemberKind.CONTAINER)
OTHER = Member("c2", "right", MemberKind.CONTAINER)
VM = Member("v1", "left", MemberKind.VM)


def test_names_stay_the_same_over_releases() -> None:
    """Whoever changes these leaves objects of running chains behind."""
    assert naming.namespace_name("c1") == "vnfm-d0f631ca1ddb"
    assert naming.fabric_name("c1") == "vnfm-f-d0f631ca1ddb"
    assert naming.bridge_namespace_name("c1") == "vnfm-l-d0f631ca1ddb"
    assert naming.port_name("c1", "left") == "p2689016e9e8d"
    assert naming.derive_mac("c1", "left") == "ee:23:f1:42:fa:71"


@given(st.text(min_size=1, max_size=128))
def test_any_cp_id_becomes_a_name_that_the_kernel_takes(cp_id: str) -> None:
    name = naming.interface_name(cp_id)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", name)
    assert name not in ("lo", "all", "default", ".", "..")
    assert name == naming.interface_name(cp_id)


def test_cp_ids_that_look_alike_get_names_of_their_own() -> None:
    long_ones = [f"a-very-long-connection-point-{index}" for index in range(20)]
    names = {naming.interface_name(cp_id) for cp_id in [*long_ones, "a/b", "a:b", "a b", "lo", "left", ".."]}
    assert len(names) == 26
    assert naming.interface_name("left") == "left"


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_derived_mac_is_local_and_unicast(resource_id: str, cp_id: str) -> None:
    first = int(naming.derive_mac(resource_id, cp_id)[:2], 16)
    assert first & 0x03 == 0x02


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "-x", "x" * 129, "a b", "a\n"])
def test_an_id_that_could_leave_its_folder_is_refused(bad: str) -> None:
    with pytest.raises(InvalidSpecError, match="link id"):
        plan_link(LinkSpec(bad, (CONTAINER, OTHER)))


def test_the_wiring_follows_from_who_stands_at_the_ends() -> None:
    def wiring(*members: Member, steered: bool = False) -> Wiring:
        return plan_link(LinkSpec("l1", members, "chain", steered=steered)).wiring

    kata = replace(OTHER, kind=MemberKind.KATA)
    sap = replace(OTHER, kind=MemberKind.SAP)
    assert wiring(CONTAINER, OTHER) is Wiring.PAIR
    assert wiring(CONTAINER, sap) is Wiring.PAIR
    assert wiring(CONTAINER, OTHER, steered=True) is Wiring.FABRIC
    assert wiring(CONTAINER, kata) is Wiring.FABRIC
    assert wiring(sap, VM) is Wiring.FABRIC
    assert wiring(CONTAINER, OTHER, VM) is Wiring.BRIDGE
    assert wiring(CONTAINER) is Wiring.BRIDGE


def test_a_vm_has_a_port_in_the_fabric_only() -> None:
    plan = plan_link(LinkSpec("l1", (CONTAINER, VM), "chain"))
    assert plan.carrier == naming.fabric_name("chain")
    assert plan.namespaces == (naming.namespace_name("c1"),)
    assert [port.far for port in plan.ports] == [naming.port_name("c1", "left"), naming.port_name("v1", "left")]


def test_bad_links_name_the_field() -> None:
    with pytest.raises(InvalidSpecError, match="mtu_bytes"):
        plan_link(LinkSpec("l1", (CONTAINER, OTHER), mtu_bytes=10))
    with pytest.raises(InvalidSpecError, match="c1/left stands there twice"):
        plan_link(LinkSpec("l1", (CONTAINER, CONTAINER)))


def test_a_stamp_brings_the_same_link_back_and_rubbish_brings_none() -> None:
    spec = LinkSpec("l1", (CONTAINER, VM), "chain", 1400, owner={"tenant": "t"})
    assert link_from_stamp(link_to_stamp(spec)) == spec
    assert same_wiring(spec, replace(spec, owner={"tenant": "other"}))
    assert not same_wiring(spec, replace(spec, mtu_bytes=1500))
    assert link_from_stamp({}) is None
    assert link_from_stamp({**link_to_stamp(spec), "members": [["a"]]}) is None
