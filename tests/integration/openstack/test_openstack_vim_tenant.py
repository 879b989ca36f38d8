"""The plugin as a plain tenant: zones, the flavors that there are, server groups, a stack that Heat cannot delete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labs.openstack.standing import Cloud
from openstack_stage import Stage
from openstack_vim import MIB, Refused, Vim, plugin, port

from vnfm.pb.vim.v1 import vim_pb2 as pb

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(1500)]
BARE = b"vnfm: nothing boots from this\n" * 40_000
ZONE = "az:nova"


@pytest.fixture
def vim(cloud: Cloud) -> Iterator[Vim]:
    """The member's project."""
    if cloud.lab is None:
        pytest.skip("needs the lab: simulated hypervisors")
    with plugin(cloud, cloud.member) as found:
        yield found


def test_hosts_are_zones_with_the_quota(vim: Vim) -> None:
    hosts = vim.hosts()
    assert {"az:nova", "az:tcg"} <= set(hosts)
    assert hosts[ZONE].cells[0].cpu_milli == 20_000


def test_what_is_asked_for_is_made_of_the_smallest_flavor_that_does(vim: Vim, stage: Stage) -> None:
    made = vim.compute(ZONE, vim.image(BARE, "raw"), memory_bytes=300 * MIB)
    assert stage.member.compute.get_server(made.handle.native_id).flavor.original_name == "m1.tiny"


def test_who_must_be_apart_is_and_the_last_one_leaves_no_group(vim: Vim, stage: Stage) -> None:
    groups_before = {group.id for group in stage.member.compute.server_groups()}
    apart = {"vnfm.group": "fw", "vnfm.group_policy": "anti-affinity"}
    image = vim.image(BARE, "raw")
    made = [vim.compute(ZONE, image, annotations=apart) for _ in range(2)]
    servers = [stage.member.compute.get_server(one.handle.native_id) for one in made]
    assert len({server.host_id for server in servers}) == 2, "a tenant sees hostId, and no more"
    with pytest.raises(Refused) as refused:
        vim.compute(ZONE, image, annotations=apart)
    assert refused.value.word == "insufficient-capacity", refused.value
    assert {group.id for group in stage.member.compute.server_groups()} > groups_before
    vim.sweep()
    assert {group.id for group in stage.member.compute.server_groups()} == groups_before


def test_a_stack_that_heat_cannot_delete_is_cleared_away(vim: Vim, stage: Stage) -> None:
    link = vim.link("10.84.0.0/24")
    made = vim.compute(ZONE, vim.image(BARE, "raw"), port("in", link, "10.84.0.5/24"))
    stage.member.compute.lock_server(made.handle.native_id)
    with pytest.raises(Refused) as refused:
        vim.terminate(made.handle.resource_id, force=False)
    assert refused.value.word == "timed-out"
    assert "lock" in refused.value.problem.detail
    assert vim.terminate(made.handle.resource_id).state == pb.STATE_ABSENT
    assert [one.kind for one in vim.query()] == [pb.KIND_LINK]


def test_links_that_others_join_need_more_rights_than_a_tenant_has(cloud: Cloud) -> None:
    networks = {"wire2": {"encaps": ["FLAT"], "physical_network": "physnet2"}}
    with plugin(cloud, cloud.member, networks=networks) as vim, pytest.raises(Refused) as refused:
        vim.link("10.85.0.0/24", segment=pb.Segment(encap=pb.Segment.FLAT, physical_network="wire2"))
    assert refused.value.word == "permission-denied", refused.value
