"""Paths where the cloud has networking-sfc, and where it has not: what a cloud is sent, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from scripted_cloud import OWNER
from small_cloud import SmallCloud, served

from plugins.openstack import chaining
from plugins.openstack.cloud import Cloud, SdkTransport
from plugins.openstack.links import Links
from plugins.openstack.settings import Login, Settings
from plugins.openstack.stacks import Stacks
from plugins.openstack.stamp import Stamp, stack_name, tags
from plugins.openstack.world import Project, World
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped
from vnfm.pluginkit.problems import PluginError

SFC = ("sfc", "flow_classifier", "security-group")
Hot = dict[str, Any]


def hop(name: str, *replicas: str) -> pb.Hop:
    found = pb.Hop(compute=Handle(resource_id=name), ingress_cp_id="left", egress_cp_id="right", name=name)
    found.replicas.extend(Handle(resource_id=one) for one in replicas)
    return found


def path(*hops: pb.Hop, symmetric: bool = False, **match: Any) -> pb.AllocatePathRequest:
    edge = pb.Hop(edge=pb.LinkEnd())
    return pb.AllocatePathRequest(
        resource_id="path-1", owner=OWNER, hops=[edge, *hops, edge], match=pb.Classifier(**match), symmetric=symmetric
    )


@dataclass
class Bench:
    """The plugin's links over the small cloud, in which every name is a compute with two ports."""

    cloud: SmallCloud
    links: Links
    world: World

    def compute(self, name: str, *ports: str) -> None:
        stamp = Stamp(name, pb.KIND_COMPUTE, "digest", OWNER)
        outputs = {f"port{number}": f"{name}-{cp}" for number, cp in enumerate(ports)}
        self.cloud.stack(stack_name(OWNER.manager_id, name), tags(stamp), {"server": f"{name}-server", **outputs})
        for cp in ports:
            fixed = [{"ip_address": "10.1.0.1"}]
            self.cloud.ports[f"{name}-{cp}"] = {"id": f"{name}-{cp}", "name": cp, "fixed_ips": fixed}

    def allocate(self, request: pb.AllocatePathRequest, found: Stamped | None = None) -> Hot:
        """The template that Heat was sent."""
        asyncio.run(self.links.allocate_path(request, "digest", found, lambda *_: None))
        made = [body for method, _, body in self.cloud.sent if method in ("POST", "PUT") and "template" in (body or {})]
        template: Hot = made[-1]["template"]
        return template


def bench(cloud: SmallCloud, steering: str = "auto") -> Bench:
    pool = ThreadPoolExecutor(4)
    login = Login(auth_url=cloud.auth_url, username="u", secret="s3cret", project="p", region="R")
    found = Cloud(SdkTransport(login), pool, 2.0)
    project = Project(found, Stacks(found, 5), None)  # type: ignore[arg-type]
    world = World(Settings(login, steering=steering), project, {}, None, None)  # type: ignore[arg-type]
    made = Bench(cloud, Links(world), world)
    for name in ("fw", "dpi", "dpi-2", "rt"):
        made.compute(name, "left", "right")
    return made


def of_kind(template: Hot, kind: str) -> dict[str, Any]:
    found = template["resources"].items()
    return {name: one["properties"] for name, one in found if one["type"] == f"OS::Neutron::{kind}"}


def test_a_path_is_a_chain_of_pairs_that_begins_at_the_first_vnfs_port() -> None:
    with served(SmallCloud(extensions=SFC)) as cloud:
        match = {
            "source_cidr": "10.1.0.0/24",
            "destination_cidr": "10.9.0.0/24",
            "ip_protocol": 6,
            "destination_port": 443,
        }
        made = bench(cloud).allocate(path(hop("fw"), hop("dpi", "dpi", "dpi-2"), hop("rt"), **match))
        assert of_kind(made, "FlowClassifier") == {
            "there_flow0": {
                "ethertype": "IPv4",
                "protocol": "tcp",
                "source_ip_prefix": "10.1.0.0/24",
                "destination_ip_prefix": "10.9.0.0/24",
                "destination_port_range_min": 443,
                "destination_port_range_max": 443,
                "logical_source_port": "fw-right",
            }
        }
        assert of_kind(made, "PortPair") == {
            "there_pair1_0": {"ingress": "dpi-left", "egress": "dpi-right"},
            "there_pair1_1": {"ingress": "dpi-2-left", "egress": "dpi-2-right"},
            "there_pair2_0": {"ingress": "rt-left", "egress": "rt-right"},
        }
        (chain,) = of_kind(made, "PortChain").values()
        assert chain == {
            "port_pair_groups": [{"get_resource": "there_group1"}, {"get_resource": "there_group2"}],
            "flow_classifiers": [{"get_resource": "there_flow0"}],
        }
        assert of_kind(made, "PortPairGroup")["there_group1"] == {
            "port_pairs": [{"get_resource": "there_pair1_0"}, {"get_resource": "there_pair1_1"}]
        }
        assert cloud.ports["dpi-2-right"]["allowed_address_pairs"] == [{"ip_address": "0.0.0.0/0"}]
        assert cloud.bodies("GET", "/network/v2.0/extensions") == [None]


def test_the_way_back_is_a_chain_of_its_own_with_all_turned_round() -> None:
    with served(SmallCloud(extensions=SFC)) as cloud:
        match = {"source_cidr": "10.1.0.0/24", "ip_protocol": 17, "source_port": 53}
        made = bench(cloud).allocate(path(hop("fw"), hop("rt"), symmetric=True, **match))
        back = of_kind(made, "FlowClassifier")["back_flow0"]
        assert back == {
            "ethertype": "IPv4",
            "protocol": "udp",
            "destination_ip_prefix": "10.1.0.0/24",
            "destination_port_range_min": 53,
            "destination_port_range_max": 53,
            "logical_source_port": "rt-left",
        }
        assert of_kind(made, "PortPair")["back_pair1_0"] == {"ingress": "fw-right", "egress": "fw-left"}
        assert set(of_kind(made, "PortChain")) == {"there_chain", "back_chain"}


@pytest.mark.parametrize(
    ("extensions", "steering", "names"),
    [
        ((), "auto", ("fw", "rt")),
        (("sfc",), "auto", ("fw", "rt")),
        (SFC, "routes", ("fw", "rt")),
        (SFC, "auto", ("fw",)),
        (SFC, "auto", ("fw", "one-armed", "rt")),
    ],
)
def test_else_routes_lead_and_ports_are_opened(extensions: Sequence[str], steering: str, names: Sequence[str]) -> None:
    with served(SmallCloud(extensions=extensions)) as cloud:
        made = bench(cloud, steering)
        made.compute("one-armed", "left")
        template = made.allocate(path(*(hop(name) for name in names)))
        assert template["resources"] == {}
        opened = [port["id"] for port in cloud.ports.values() if port.get("allowed_address_pairs")]
        assert {one.rpartition("-")[0] for one in opened} == set(names)


@pytest.mark.parametrize("extensions", [SFC, ()])
def test_a_path_that_stands_is_led_elsewhere_only_by_chains(extensions: Sequence[str]) -> None:
    with served(SmallCloud(extensions=extensions)) as cloud:
        made = bench(cloud)
        made.allocate(path(hop("fw"), hop("rt")))
        found = asyncio.run(made.world.find(OWNER.manager_id, "path-1"))
        assert found is not None
        before = cloud.stacks[stack_name(OWNER.manager_id, "path-1")]["outputs"]["ports"]
        assert set(before) == {"fw-left", "fw-right", "rt-left", "rt-right"}
        if not extensions:
            with pytest.raises(PluginError, match="CAPABILITY_STEER"):
                made.allocate(path(hop("fw"), hop("dpi")), found)
            return
        template = made.allocate(path(hop("fw"), hop("dpi")), found)
        assert of_kind(template, "PortPair") == {"there_pair1_0": {"ingress": "dpi-left", "egress": "dpi-right"}}
        assert cloud.stacks[stack_name(OWNER.manager_id, "path-1")]["action"] == "UPDATE"
        assert [cloud.ports[f"{name}-left"]["allowed_address_pairs"] for name in ("fw", "dpi", "rt")] == [
            [{"ip_address": "0.0.0.0/0"}],
            [{"ip_address": "0.0.0.0/0"}],
            [],
        ]


@pytest.mark.parametrize("match", [{"vlan": 7}, {"dscp": 46}, {"ip_protocol": 132}])
def test_what_classifiers_have_no_word_for_is_refused(match: dict[str, int]) -> None:
    way = chaining.Way((((chaining.Member("a", "b")),), (chaining.Member("c", "d"),)))
    with pytest.raises(PluginError) as refused:
        chaining.resources(way, pb.Classifier(**match), symmetric=False)
    assert refused.value.problem.type.endswith("not-offered")


def test_ipv6_is_said() -> None:
    assert chaining.classifier(pb.Classifier(destination_cidr="2001:db8::/64", ip_protocol=1)) == {
        "ethertype": "IPv6",
        "protocol": "icmp",
        "destination_ip_prefix": "2001:db8::/64",
    }
