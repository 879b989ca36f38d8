"""Addresses that several ports answer for, groups that Nova keeps apart: in the template, and over a path's life."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from scripted_cloud import OWNER, cloud_of, said

from plugins.openstack.corrections import Facts, Wire, corrected
from plugins.openstack.flavors import extra_specs
from plugins.openstack.groups import group_id, named_group
from plugins.openstack.links import Links
from plugins.openstack.translate import Shape, translated
from plugins.openstack.world import Project
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

RULE = {"vnfm.affinity_group": "i/r", "vnfm.affinity_policy": "affinity"}
VIP = {"ip_address": "10.1.0.9", "mac_address": "fa:16:3e:00:00:01"}
EVERY = {"ip_address": "0.0.0.0/0"}


def test_a_vips_address_is_an_allowed_pair_of_its_ports() -> None:
    port = pb.Port(cp_id="in", link=Handle(resource_id="l"), ips=["10.1.0.1/24"], shared_ips=["10.1.0.9", "fd00::9"])
    plain = pb.Port(cp_id="out", link=Handle(resource_id="l"), ips=["10.1.0.2/24"])
    request = pb.AllocateComputeRequest(resource_id="r", owner=OWNER, ports=[port, plain])
    facts = Facts("image", "flavor", (Wire("net", ("sub",), "group"),) * 2)
    made = corrected(translated(Shape(1, 64, 1, 2)), request, facts)["resources"]
    assert made["port0"]["properties"]["allowed_address_pairs"] == [
        {"ip_address": "10.1.0.9"},
        {"ip_address": "fd00::9"},
    ]
    assert "allowed_address_pairs" not in made["port1"]["properties"]


def pairs_after(before: list[dict[str, str]], act: str) -> list[Mapping[str, str]]:
    port = {"id": "p", "fixed_ips": [{"ip_address": "10.1.0.1"}], "allowed_address_pairs": before}
    put: list[Any] = []

    def taken(body: Any, _params: Any) -> Any:
        put.append(body)
        return said({})

    cloud, _ = cloud_of({("GET", "/ports/p"): [said({"port": port})], ("PUT", "/ports/p"): taken})
    project = Project(cloud, None, None)  # type: ignore[arg-type]
    links = Links(None)  # type: ignore[arg-type]
    asyncio.run(links._open(project, port) if act == "open" else links._shut(project, "p"))
    pairs: list[Mapping[str, str]] = put[-1]["port"]["allowed_address_pairs"]
    return pairs


@pytest.mark.parametrize(
    ("before", "act", "after"),
    [
        ([], "open", [EVERY]),
        ([VIP], "open", [{"ip_address": "10.1.0.9"}, EVERY]),
        ([EVERY], "open", [EVERY]),
        ([{"ip_address": "10.1.0.9"}, EVERY], "shut", [{"ip_address": "10.1.0.9"}]),
        ([EVERY], "shut", []),
    ],
)
def test_a_path_opens_and_shuts_ports_and_leaves_them_their_vip(
    before: list[dict[str, str]], act: str, after: list[dict[str, str]]
) -> None:
    assert pairs_after(before, act) == after


def test_a_rules_group_counts_where_nova_chooses_and_an_authors_always() -> None:
    assert named_group("m", RULE) is None
    found = named_group("m", RULE, nova_chooses=True)
    assert found is not None
    assert found[1] == "affinity"
    author = {**RULE, "vnfm.group": "g"}
    assert named_group("m", author, nova_chooses=True) == named_group("m", author) != found


def test_a_group_that_is_there_is_joined_and_none_is_made_for_nothing() -> None:
    name = named_group("m", RULE, nova_chooses=True)
    assert name
    groups = said({"server_groups": [{"name": name[0], "id": "g1"}]})
    cloud, script = cloud_of({("GET", "/os-server-groups"): [groups]})
    assert asyncio.run(group_id(cloud, OWNER, RULE, nova_chooses=True)) == "g1"
    assert asyncio.run(group_id(cloud, OWNER, RULE, nova_chooses=False)) == ""
    assert script.count("GET", "/os-server-groups") == 1


def test_a_logical_nodes_words_are_the_flavors_extra_specs() -> None:
    words = {"hw:numa_nodes": "2", "hw:cpu_sockets": "2", "trait:CUSTOM_FAST": "required", **RULE, "note": "n"}
    request = pb.AllocateComputeRequest(resource_id="r", owner=OWNER, cpu_pinned=True, annotations=words)
    assert extra_specs(request) == {
        "hw:cpu_policy": "dedicated",
        "hw:numa_nodes": "2",
        "hw:cpu_sockets": "2",
        "trait:CUSTOM_FAST": "required",
    }
