"""What a VIM is told of a VNFC beside its sizes: its own words, groups, trunks, addresses that several answer for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vnfm.lcm.recipes.computes import Lane, LaneIds, compute_step, compute_steps, cps_of
from vnfm.model.connectivity import AddressSpec, Cpd, CpKind, ExtCpd, VirtualLinkDesc
from vnfm.model.needs import Needs
from vnfm.model.placement import Runtime
from vnfm.model.policies import AffinityRule, SecurityGroupRule
from vnfm.model.vdu import ImageFormat, SwImage, Vdu
from vnfm.model.vnfd import Flavour
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.placement.plan import Assignment, Plan
from vnfm.vim.convert import port_out

IMAGE = SwImage("i", "1", ImageFormat.QCOW2, "F/i", "aa")
VDU = Vdu("db", "db", "", 1000, 1 << 28, 0, Needs(), disk_image=IMAGE)
NET = VirtualLinkDesc("net", ("10.0.0.0/24",))
VIP = Cpd(
    "vip", "db", "net", 0, kind=CpKind.VIP, targets=("main",), addresses=(AddressSpec("ipv4", fixed=("10.0.0.9/24",)),)
)
MAIN = Cpd("main", "db", "net", 0, trunk=True)
TAGGED = Cpd("tagged", "db", "net", 1, kind=CpKind.SUB, trunk_cp="main", vlan_id=77)
FLAVOUR = Flavour("f", vdus=(VDU,), cps=(VIP, MAIN, TAGGED), virtual_links=(NET,))
IDS = LaneIds("11111111-1111-4111-8111-111111111111")


def lane(flavour: Flavour, count: int = 1) -> Lane:
    return Lane("a", "instance-1", flavour, {"db": count}, {"F/i": "aa"})


def at(vnfc: str, runtime: Runtime) -> Assignment:
    return Assignment(vnfc, "a", "db", "vnfd", "v", "h", ("h",), runtime, False, None, ())


def told(vdu: Vdu, flavour: Flavour = FLAVOUR, runtime: Runtime = Runtime.VM) -> dict[str, str]:
    flavour = replace(flavour, vdus=(vdu,))
    step = compute_step(lane(flavour), vdu, 0, at("id", runtime), (), ())
    assert step.compute
    return dict(step.compute.annotations)


def test_a_vims_own_words_go_there_as_they_are_and_the_authors_go_first() -> None:
    capability = json.dumps({"trait:HW_CPU_X86_AVX512F": "required", "speed": 7, "resources:VGPU": 1})
    other = {"hw:numa_nodes": "2", "hw:cpu_threads": "2", "accelerator": capability, "colour": "blue"}
    vdu = replace(VDU, needs=Needs(other=other), annotations={"hw:cpu_threads": "1", "note": "n"})
    assert told(vdu) == {
        "hw:numa_nodes": "2",
        "trait:HW_CPU_X86_AVX512F": "required",
        "resources:VGPU": "1",
        "hw:cpu_threads": "1",
        "note": "n",
    }
    assert told(replace(vdu, containers=()), runtime=Runtime.KATA) == {"hw:cpu_threads": "1", "note": "n"}


@pytest.mark.parametrize(("anti", "policy"), [(True, "anti-affinity"), (False, "affinity")])
def test_a_rule_of_server_scope_makes_a_group_of_its_instances(anti: bool, policy: str) -> None:
    zone = AffinityRule("far", True, "zone", ("db",))
    rule = AffinityRule("r", anti, "nfvi_node", ("db", "web"))
    group = {"vnfm.affinity_group": "instance-1/r", "vnfm.affinity_policy": policy}
    assert told(VDU, replace(FLAVOUR, affinity=(zone, rule))) == group
    assert told(VDU, replace(FLAVOUR, affinity=(zone,))) == {}
    assert told(VDU, replace(FLAVOUR, affinity=(replace(rule, targets=("web",)),))) == {}


def ports_of(flavour: Flavour, count: int) -> list[list[pb.Port]]:
    ids = [IDS.compute("a", "db", index) for index in range(count)]
    plan = Plan(1, tuple(at(one, Runtime.VM) for one in ids))
    steps = compute_steps(lane(flavour, count), plan, IDS, {}, ())
    return [[port_out(port, {}) for port in step.compute.ports] for step in steps if step.compute]


def test_a_vip_is_no_port_but_an_address_that_its_targets_may_use() -> None:
    first, second = ports_of(FLAVOUR, 2)
    assert [port.cp_id for port in first] == ["main", "tagged"]
    assert [list(port.shared_ips) for port in first] == [["10.0.0.9"], []]
    assert [list(port.ips) for port in (first[0], second[0])] == [["10.0.0.10/24"], ["10.0.0.11/24"]]


def test_a_vip_whose_target_is_the_vdu_is_every_ports_on_that_link() -> None:
    flavour = replace(FLAVOUR, cps=(replace(VIP, targets=("db",)), MAIN, replace(TAGGED, virtual_link="")))
    ((main,),) = ports_of(flavour, 1)
    assert list(main.shared_ips) == ["10.0.0.9"]


def test_a_vip_that_leads_outside_stays_a_port() -> None:
    flavour = replace(FLAVOUR, cps=(replace(VIP, virtual_link=""), MAIN))
    assert [cpd.id for cpd in cps_of(flavour, "db")] == ["main", "vip"]


def test_a_port_lets_pass_what_the_rules_that_name_it_say() -> None:
    by_cp = SecurityGroupRule("web", targets=("main",), protocol="TCP", port_min=443, port_max=443)
    outside = SecurityGroupRule("out", targets=("ext",), direction="egress", ether_type="ipv6", protocol="icmp")
    others = SecurityGroupRule("other", targets=("elsewhere",))
    flavour = replace(FLAVOUR, security_rules=(by_cp, outside, others), external_cps=(ExtCpd("ext", "main"),))
    ((main, tagged),) = ports_of(flavour, 1)
    assert list(main.admits) == [
        pb.TrafficRule(protocol="tcp", port_min=443, port_max=443),
        pb.TrafficRule(egress=True, ipv6=True, protocol="icmp", port_max=65535),
    ]
    assert list(tagged.admits) == []


def test_a_port_in_a_trunk_has_the_id_of_its_vlan() -> None:
    ((main, tagged),) = ports_of(FLAVOUR, 1)
    assert (main.vlan_sub_port, tagged.vlan_sub_port) == (0, 77)
