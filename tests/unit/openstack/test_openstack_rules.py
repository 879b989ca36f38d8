"""A VNFD's security rules: a group of the port's own, in Neutron's words."""

from __future__ import annotations

import pytest
from scripted_cloud import OWNER

from plugins.openstack.corrections import Facts, Wire, corrected, traffic_rule
from plugins.openstack.translate import Hot, Shape, translated
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

HTTPS = pb.TrafficRule(protocol="tcp", port_min=443, port_max=443)
OUT = pb.TrafficRule(egress=True, protocol="udp", port_min=53, port_max=53)


def made(*admits: pb.TrafficRule, **more: bool) -> Hot:
    ips = [] if more else ["10.1.0.1/24"]
    port = pb.Port(cp_id="in", link=Handle(resource_id="l"), ips=ips, admits=admits, **more)
    plain = pb.Port(cp_id="out", link=Handle(resource_id="l"), ips=["10.1.0.2/24"])
    request = pb.AllocateComputeRequest(resource_id="r", owner=OWNER, ports=[port, plain])
    wires = Wire("net", () if more else ("sub",), "links-group"), Wire("net", ("sub",), "links-group")
    resources: Hot = corrected(translated(Shape(1, 64, 1, 2)), request, Facts("image", "flavor", wires))["resources"]
    return resources


def test_a_port_with_rules_leaves_its_links_group_for_one_of_its_own() -> None:
    found = made(HTTPS, OUT)
    assert found["port0"]["properties"]["security_groups"] == [{"get_resource": "group0"}]
    assert found["port1"]["properties"]["security_groups"] == ["links-group"]
    assert "group1" not in found
    assert found["group0"]["type"] == "OS::Neutron::SecurityGroup"
    assert found["group0"]["properties"]["rules"] == [
        {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 443, "port_range_max": 443},
        {"direction": "egress", "ethertype": "IPv4", "protocol": "udp", "port_range_min": 53, "port_range_max": 53},
    ]


def test_where_only_the_way_out_has_rules_everything_comes_in() -> None:
    rules = made(OUT)["group0"]["properties"]["rules"]
    assert rules[1:] == [{"direction": "ingress", "ethertype": kind} for kind in ("IPv4", "IPv6")]


def test_a_bump_in_the_wire_is_not_filtered_by_rules_either() -> None:
    found = made(HTTPS, l2_transparent=True)
    assert "group0" not in found
    assert found["port0"]["properties"]["port_security_enabled"] is False


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (pb.TrafficRule(protocol="tcp", port_max=65535), {"protocol": "tcp"}),
        (pb.TrafficRule(protocol="udp"), {"protocol": "udp"}),
        (pb.TrafficRule(protocol="icmp", port_min=8, port_max=8), {"protocol": "icmp"}),
        (pb.TrafficRule(port_min=80, port_max=80), {}),
        (pb.TrafficRule(protocol="132", port_max=99), {"protocol": "132", "port_range_min": 1, "port_range_max": 99}),
    ],
)
def test_only_what_has_ports_is_told_by_ports(rule: pb.TrafficRule, words: dict[str, object]) -> None:
    assert traffic_rule(rule) == {"direction": "ingress", "ethertype": "IPv4", **words}
    rule.ipv6 = True
    assert traffic_rule(rule)["ethertype"] == "IPv6"
