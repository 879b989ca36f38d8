"""Hosts as admin and as plain tenant, flavors, links' addresses and states, settings: what is told, and what not."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from scripted_cloud import OWNER, cloud_of, said

from plugins.openstack import inventory, joining, linkhot, states
from plugins.openstack.flavors import Flavors, Wanted, disk_gib, exact, smallest
from plugins.openstack.groups import named_group
from plugins.openstack.settings import Settings, parse
from plugins.openstack.stacks import Stack
from plugins.openstack.stamp import Stamp
from vnfm.pb.common.v1.common_pb2 import Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

GIB, MIB = 1 << 30, 1 << 20
SETTINGS = parse({"cloud": "c", "site": "pop", "hosts": {"sim-1": {"vfs": 7}}}, {})
INVENTORY = {
    "VCPU": {"total": 16, "reserved": 0, "allocation_ratio": 4.0},
    "PCPU": {"total": 16, "reserved": 0, "allocation_ratio": 1.0},
    "MEMORY_MB": {"total": 1000, "reserved": 200, "allocation_ratio": 1.5},
    "DISK_GB": {"total": 100, "reserved": 0, "allocation_ratio": 1.0},
}


def hypervisor(**more: Any) -> dict[str, Any]:
    return {
        "id": "u1",
        "service": {"host": "sim-1"},
        "state": "up",
        "status": "enabled",
        "vcpus": 32,
        "vcpus_used": 6,
        "memory_mb": 1000,
        "memory_mb_used": 500,
        "local_gb": 100,
        "local_gb_used": 30,
        "cpu_info": {"arch": "x86_64"},
        **more,
    }


def server(**more: Any) -> dict[str, Any]:
    return {"id": "AB-1", "status": "ACTIVE", "flavor": {"vcpus": 2, "ram": 100, "disk": 10}, "metadata": {}, **more}


def admin(**more: Any) -> pb.Host:
    ours = inventory.taken([server(**{"OS-EXT-SRV-ATTR:host": "sim-1"})])
    hosts = inventory.admin_hosts(
        [hypervisor(**more)], {"sim-1": "nova"}, {"u1": INVENTORY}, ours, ["p1", "p2"], SETTINGS
    )
    return hosts[0]


def test_a_hypervisor_is_what_placement_gives_away_less_what_others_use() -> None:
    host = admin()
    assert (host.id, host.zone, host.site, host.active) == ("sim-1", "nova", "pop", True)
    (cell,) = host.cells
    assert cell.cpu_milli == 1000 * (16 * 4 + 16)
    assert cell.cpu_used_by_others_milli == 1000 * (6 - 2), "ours are subtracted by the manager"
    assert cell.memory_bytes == 1200 * MIB
    assert cell.memory_used_by_others_bytes == (500 - 200 - 100) * MIB
    assert cell.vfs == 7, "as the operator said"
    assert (host.disk_bytes, host.disk_used_by_others_bytes) == (100 * GIB, 20 * GIB)


def test_a_hypervisor_is_known_by_what_a_tenant_sees_of_it() -> None:
    import hashlib

    hashes = [hashlib.sha224(f"{project}sim-1".encode()).hexdigest() for project in ("p1", "p2")]
    assert list(admin().identities) == [f"nova-host:{one}" for one in hashes]


@pytest.mark.parametrize("trouble", [{"state": "down"}, {"status": "disabled"}])
def test_a_hypervisor_that_is_away_is_there_but_takes_nothing(trouble: dict[str, str]) -> None:
    host = admin(**trouble)
    assert not host.active
    assert not host.runtimes
    assert not host.costs
    assert {refusal.runtime for refusal in host.refusals} == {pb.RUNTIME_VM, pb.RUNTIME_KATA, pb.RUNTIME_CONTAINER}


def test_a_tenant_sees_zones_with_its_quota() -> None:
    zones = [
        {"zoneName": "tcg", "zoneState": {"available": True}},
        {"zoneName": "nova", "zoneState": {"available": True}},
        {"zoneName": "off", "zoneState": {"available": False}},
    ]
    limits = {"maxTotalCores": 20, "maxTotalRAMSize": 1000, "totalCoresUsed": 5, "totalRAMUsed": 300}
    hosts = inventory.tenant_hosts(zones, limits, {"cores": 2, "ram": 100}, SETTINGS)
    assert [(host.id, host.zone) for host in hosts] == [("az:nova", "nova"), ("az:tcg", "tcg")]
    (cell,) = hosts[0].cells
    assert (cell.cpu_milli, cell.cpu_used_by_others_milli) == (20_000, 3_000)
    assert (cell.memory_bytes, cell.memory_used_by_others_bytes) == (1000 * MIB, 200 * MIB)


def test_a_quota_without_end_is_much_and_not_less_than_nothing() -> None:
    zone = {"zoneName": "z", "zoneState": {"available": True}}
    limits = {"maxTotalCores": -1, "maxTotalRAMSize": -1, "totalCoresUsed": 5, "totalRAMUsed": 300}
    (host,) = inventory.tenant_hosts([zone], limits, {"cores": 0, "ram": 0}, SETTINGS)
    assert host.cells[0].cpu_milli > 10**8


def test_a_guest_that_is_no_vnf_of_ours_is_a_machine_by_its_smbios_uuid() -> None:
    guest = server(**{"OS-EXT-SRV-ATTR:host": "sim-1"})
    (host,) = inventory.worker_hosts([guest, server(status="BUILD")], frozenset({"sim-1"}), SETTINGS)
    assert (host.parent_id, list(host.identities), list(host.runtimes)) == ("sim-1", ["smbios:ab-1"], [])


# -- flavors

FLAVORS = [
    {"id": "large", "vcpus": 4, "ram": 4096, "disk": 10, "extra_specs": {}},
    {"id": "small", "vcpus": 1, "ram": 512, "disk": 1, "extra_specs": {}},
    {"id": "pinned", "vcpus": 1, "ram": 512, "disk": 1, "extra_specs": {"hw:cpu_policy": "dedicated"}},
    {"id": "off", "vcpus": 1, "ram": 256, "disk": 1, "extra_specs": {}, "OS-FLV-DISABLED:disabled": True},
]


@pytest.mark.parametrize(
    ("need", "just", "least"),
    [
        (Wanted(1, 512, 1), "small", "small"),
        (Wanted(1, 256, 1), "", "small"),
        (Wanted(2, 256, 1), "", "large"),
        (Wanted(1, 512, 1, (("hw:cpu_policy", "dedicated"),)), "pinned", "pinned"),
        (Wanted(1, 512, 1, (("hw:cpu_policy", "shared"),)), "", ""),
        (Wanted(8, 512, 1), "", ""),
    ],
)
def test_a_flavor_fits_exactly_or_is_the_smallest_that_does(need: Wanted, just: str, least: str) -> None:
    assert exact(FLAVORS, need) == just
    assert smallest(FLAVORS, need) == least


def test_an_image_has_room_on_the_disk() -> None:
    assert disk_gib(0, {"size": 12 * MIB}) == 1
    assert disk_gib(3 * GIB, {"virtual_size": GIB}) == 3
    assert disk_gib(GIB, {"virtual_size": 5 * GIB + 1}) == 6
    assert disk_gib(GIB, {"min_disk": 4}) == 4


def test_who_may_make_no_flavor_takes_the_smallest_that_does() -> None:
    cloud, scripted = cloud_of(
        {("GET", "/flavors/detail"): [said({"flavors": FLAVORS})], ("POST", "/flavors"): [said({}, 403)]}
    )
    flavors = Flavors(cloud, "auto")
    assert asyncio.run(flavors.get(Wanted(2, 600, 1), "r1")) == "large"
    assert asyncio.run(flavors.get(Wanted(2, 600, 1), "r1")) == "large"
    assert scripted.count("POST", "/flavors") == 1, "what was found once is not asked for again"


def test_where_none_fits_the_operator_is_told_what_to_ask_for() -> None:
    cloud, _ = cloud_of({("GET", "/flavors/detail"): [said({"flavors": FLAVORS})]})
    with pytest.raises(PluginError, match="8 VCPUs, 512 MiB, 1 GiB"):
        asyncio.run(Flavors(cloud, "existing").get(Wanted(8, 512, 1), "r1"))


def test_a_flavor_that_another_one_makes_at_the_same_time_gets_its_extra_specs() -> None:
    need = Wanted(2, 600, 1, (("hw:cpu_policy", "dedicated"),))
    specs = ("POST", f"/flavors/{need.name}/os-extra_specs")
    cloud, scripted = cloud_of(
        {
            ("GET", "/flavors/detail"): [said({"flavors": []})],
            ("POST", "/flavors"): [said({"conflictingRequest": {"message": "exists"}}, 409)],
            specs: [said({})],
        }
    )
    assert asyncio.run(Flavors(cloud, "auto").get(need, "r1")) == need.name
    assert scripted.calls[-1] == (*specs, {"extra_specs": {"hw:cpu_policy": "dedicated"}})


# -- links and states


def test_dhcp_has_the_last_address_where_there_is_room() -> None:
    assert linkhot.dhcp_address(ipaddress.ip_network("10.1.0.0/24")) == "10.1.0.254"
    assert linkhot.subnet("10.1.0.0/24", "s")["allocation_pools"] == [{"start": "10.1.0.254", "end": "10.1.0.254"}]
    assert linkhot.dhcp_address(ipaddress.ip_network("10.1.0.0/30")) == ""
    assert linkhot.subnet("10.1.0.0/30", "s")["enable_dhcp"] is False
    assert linkhot.subnet("fd00::/64", "s")["ip_version"] == 6


@pytest.mark.parametrize(
    ("segment", "physical", "specs"),
    [
        (pb.Segment(), "", {}),
        (pb.Segment(), "p1", {"provider:network_type": "flat", "provider:physical_network": "p1"}),
        (pb.Segment(encap=pb.Segment.VXLAN), "", {}),
        (
            pb.Segment(encap=pb.Segment.VXLAN, id=77),
            "",
            {"provider:network_type": "vxlan", "provider:segmentation_id": 77},
        ),
        (
            pb.Segment(encap=pb.Segment.VLAN, id=5),
            "p2",
            {
                "provider:network_type": "vlan",
                "provider:segmentation_id": 5,
                "provider:physical_network": "p2",
            },
        ),
        (
            pb.Segment(encap=pb.Segment.FLAT),
            "p2",
            {"provider:network_type": "flat", "provider:physical_network": "p2"},
        ),
    ],
)
def test_a_segment_that_is_wished_for_is_asked_for(segment: pb.Segment, physical: str, specs: dict[str, Any]) -> None:
    assert linkhot.provider(segment, physical) == specs


# -- joining with other VIMs

NETWORKS = parse(
    {
        "cloud": "c",
        "networks": {
            "tunnels": {"encaps": ["VXLAN"], "udp_port": 14789, "group": "224.0.0.1", "mtu_bytes": 1400},
            "wire": {"encaps": ["FLAT", "VLAN"], "physical_network": "physnet2"},
        },
    },
    {},
).networks
VXLAN = {"provider:network_type": "vxlan", "provider:segmentation_id": 1234, "mtu": 1450}


def test_a_network_outside_is_offered_by_what_the_credentials_allow() -> None:
    tunnels, wire = joining.reaches(NETWORKS.values(), provider=True, endpoints=["198.51.100.1"])
    assert (tunnels.network, list(tunnels.encaps), tunnels.chooses) == ("tunnels", [pb.Segment.VXLAN], True)
    assert list(wire.encaps) == [pb.Segment.FLAT, pb.Segment.VLAN]
    for told in joining.reaches(NETWORKS.values(), provider=False, endpoints=[]):
        assert not told.encaps
        assert all(refused.reason for refused in told.refused)
    (unknown, _) = joining.reaches(NETWORKS.values(), provider=True, endpoints=[])
    assert "endpoints" in unknown.refused[0].reason


def test_a_link_says_how_to_join_it_where_that_may_be_read() -> None:
    end = joining.link_end(VXLAN, NETWORKS["tunnels"], ["198.51.100.1"])
    assert end is not None
    assert end.segment == pb.Segment(
        encap=pb.Segment.VXLAN, id=1234, physical_network="tunnels", udp_port=14789, group="224.0.0.1"
    )
    assert (list(end.endpoints), end.mtu_bytes) == (["198.51.100.1"], 1400), "the smaller MTU is the link's"
    assert joining.link_end({"id": "n"}, NETWORKS["tunnels"], ["198.51.100.1"]) is None


def test_a_flat_link_has_no_tunnels_end() -> None:
    flat = {"provider:network_type": "flat", "provider:physical_network": "physnet2", "mtu": 1500}
    end = joining.link_end(flat, NETWORKS["wire"], ["198.51.100.1"])
    assert end == pb.LinkEnd(segment=pb.Segment(encap=pb.Segment.FLAT, physical_network="wire"), mtu_bytes=1500), (
        "by the operators' name, not by Neutron's"
    )


def test_others_join_with_our_segment_or_are_placed_elsewhere() -> None:
    end = joining.link_end(VXLAN, NETWORKS["tunnels"], ["198.51.100.1"])
    assert end is not None
    link = pb.Resource(link_end=end)
    joining.check_ends(link, [end])
    other = pb.LinkEnd()
    other.CopyFrom(end)
    other.segment.id = 7
    with pytest.raises(PluginError, match="expected VXLAN 1234") as caught:
        joining.check_ends(link, [other])
    assert caught.value.problem.retry == Problem.NEW_PLACEMENT
    with pytest.raises(PluginError, match="without a segment") as caught:
        joining.check_ends(pb.Resource(), [end])
    assert caught.value.problem.retry == Problem.NEVER


def test_a_network_that_nobody_configured_is_out_of_reach() -> None:
    assert joining.expect(NETWORKS, pb.Segment(encap=pb.Segment.VLAN, physical_network="wire"), "l").network == "wire"
    for encap, name in ((pb.Segment.VXLAN, "wire"), (pb.Segment.FLAT, "nowhere")):
        with pytest.raises(PluginError, match="there are: tunnels"):
            joining.expect(NETWORKS, pb.Segment(encap=encap, physical_network=name), "l")


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        ({"status": "ACTIVE"}, pb.STATE_RUNNING, ""),
        ({"status": "SHUTOFF", "metadata": {"vnfm_wanted": "STOPPED"}}, pb.STATE_STOPPED, ""),
        ({"status": "SHUTOFF", "metadata": {"vnfm_wanted": "RUNNING"}}, pb.STATE_FAILED, "shut off"),
        ({"status": "SHUTOFF"}, pb.STATE_FAILED, "nobody asked"),
        ({"status": "ERROR", "fault": {"message": "disk is full"}}, pb.STATE_FAILED, "disk is full"),
        ({"status": "DELETED"}, pb.STATE_FAILED, "gone"),
        (None, pb.STATE_FAILED, "gone"),
        ({"status": "PAUSED"}, pb.STATE_STOPPED, "paused"),
        ({"status": "BUILD"}, pb.STATE_BUILDING, ""),
        ({"status": "SHELVED"}, pb.STATE_BUILDING, "SHELVED"),
    ],
)
def test_what_was_stopped_on_purpose_has_not_died(
    found: dict[str, Any] | None, state: pb.State.ValueType, reason: str
) -> None:
    told = states.server_state(found)
    assert told[0] == state
    assert reason in told[1]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("CREATE_COMPLETE", pb.STATE_RUNNING),
        ("UPDATE_COMPLETE", pb.STATE_RUNNING),
        ("CREATE_IN_PROGRESS", pb.STATE_BUILDING),
        ("DELETE_IN_PROGRESS", pb.STATE_BUILDING),
        ("CREATE_FAILED", pb.STATE_FAILED),
        ("DELETE_FAILED", pb.STATE_FAILED),
    ],
)
def test_a_stack_is_usable_only_when_it_is_whole(status: str, state: pb.State.ValueType) -> None:
    stack = Stack("s", "n", status, "why", Stamp("r", pb.KIND_SAP, "d", OWNER))
    assert states.state_of(stack, None)[0] == state


def test_a_group_is_named_by_manager_group_and_policy() -> None:
    asked = {"vnfm.group": "fw-apart", "vnfm.group_policy": "soft-anti-affinity"}
    found = named_group("m", asked)
    assert found is not None
    assert found[1] == "soft-anti-affinity"
    assert found != named_group("m2", asked)
    assert named_group("m", {}) is None
    with pytest.raises(PluginError, match="group_policy"):
        named_group("m", {"vnfm.group": "g", "vnfm.group_policy": "near"})


# -- settings


def test_a_secret_is_read_from_a_file_that_is_ones_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    config = {
        "auth_url": "http://k/v3",
        "application_credential_id": "a",
        "application_credential_secret_file": str(secret),
    }
    settings = parse(config, {})
    assert settings.login.secret == "s3cret"
    assert "s3cret" not in repr(settings)
    secret.chmod(0o644)
    with pytest.raises(PluginError, match="chmod 600"):
        parse(config, {})


def test_a_secret_may_come_with_configure() -> None:
    config = {"auth_url": "http://k/v3", "application_credential_id": "a"}
    assert parse(config, {"application_credential_secret": "s"}).login.secret == "s"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "config.cloud"),
        ({"cloud": "c", "application_credential_id": "a"}, "config.cloud"),
        ({"application_credential_id": "a"}, "config.auth_url"),
        ({"cloud": "c", "clouds_file": "relative.yaml"}, "config.clouds_file"),
        ({"cloud": "c", "clouds_file": "/no/such/file"}, "config.clouds_file"),
        ({"cloud": "c", "tenants": {"blue": {}}}, "config.tenants.blue.cloud"),
        ({"cloud": "c", "networks": {"t": {"encaps": ["VXLAN"], "group": "10.0.0.1"}}}, "config.networks.t.group"),
        ({"cloud": "c", "networks": {"t": {"encaps": ["VXLAN"], "endpoints": ["x"]}}}, "config.networks.t.endpoints"),
    ],
)
def test_a_configuration_without_sense_is_refused_by_its_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(PluginError) as caught:
        parse(config, {})
    assert caught.value.problem.detail.startswith(f"{field}:")


def test_a_tenant_has_a_project_of_its_own_in_the_same_cloud() -> None:
    settings = parse({"cloud": "all", "region": "R", "tenants": {"blue": {"cloud": "blue"}}}, {})
    assert (settings.tenants["blue"].cloud, settings.tenants["blue"].region) == ("blue", "R")
    assert isinstance(settings, Settings)
