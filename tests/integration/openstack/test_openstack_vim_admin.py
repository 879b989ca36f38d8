"""The plugin with an admin's rights: it chooses machines, makes flavors, and others join its links with packets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from labs.openstack.standing import Cloud
from openstack_machine import machine
from openstack_stage import Stage
from openstack_vim import Refused, Vim, plugin, port

from vnfm.pb.vim.v1 import vim_pb2 as pb

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(1500)]
BARE = b"vnfm: nothing boots from this\n" * 40_000
SIMULATED, BOOTING = "sim-1", "tcg-1"


@pytest.fixture
def vim(cloud: Cloud) -> Iterator[Vim]:
    """Configured with what the lab is joined by."""
    if cloud.admin is None or cloud.lab is None:
        pytest.skip("needs the lab: simulated hypervisors, its wires, and an admin")
    networks = {
        "tunnels": {"encaps": ["VXLAN"], "udp_port": 14789, "group": "224.0.0.1"},
        "wire1": {"encaps": ["VLAN"], "physical_network": "physnet1"},
    }
    hosts = {SIMULATED: {"hugepage_bytes": 32 << 30, "vfs": 14}}
    with plugin(cloud, cloud.admin, networks=networks, hosts=hosts) as found:
        yield found


def test_hosts_are_hypervisors_with_what_placement_gives_away(vim: Vim) -> None:
    host = vim.hosts()[SIMULATED]
    (cell,) = host.cells
    assert host.zone == "nova"
    assert cell.cpu_milli == 1000 * (16 * 16 + 16), "16 shared CPUs 16 times over, 16 dedicated ones once"
    assert cell.hugepage_bytes == 32 << 30
    assert host.identities[0].startswith("nova-host:")


def test_pinned_cpus_and_large_pages_are_really_taken(vim: Vim, stage: Stage) -> None:
    made = vim.compute(
        SIMULATED, vim.image(BARE, "raw"), cpu_milli=2000, memory_bytes=1 << 30, hugepage_bytes=1 << 30, cpu_pinned=True
    )
    server = stage.admin.compute.get_server(made.handle.native_id)
    assert server.hypervisor_hostname == SIMULATED
    assert server.flavor.extra_specs == {
        "hw:cpu_policy": "dedicated",
        "hw:mem_page_size": "large",
        "hw:numa_nodes": "1",
    }
    answer = stage.admin.placement.get(f"/allocations/{server.id}").json()["allocations"]
    (taken,) = [one["resources"] for one in answer.values()]
    assert taken["PCPU"] == 2
    assert taken["MEMORY_MB"] == 1024


def test_a_direct_port_gets_a_virtual_function(vim: Vim, stage: Stage) -> None:
    link = vim.link("10.81.0.0/24", segment=pb.Segment(encap=pb.Segment.VLAN, id=321, physical_network="wire1"))
    assert (link.link_end.segment.encap, link.link_end.segment.id) == (pb.Segment.VLAN, 321)
    made = vim.compute(SIMULATED, vim.image(BARE, "raw"), port("in", link, "10.81.0.5/24", vnic=pb.Port.DIRECT))
    (native,) = stage.admin.network.ports(device_id=made.handle.native_id)
    assert native.binding_vnic_type == "direct"
    assert native.binding_profile["pci_slot"]


@pytest.mark.parametrize(
    ("more", "word", "said"),
    [
        ({"cpu_milli": 21_000}, "quota-exceeded", "cores"),
        ({"cpu_milli": 9_000, "cpu_pinned": True}, "insufficient-capacity", ""),
    ],
)
def test_a_refusal_has_the_real_cause_and_leaves_nothing_unknown(
    vim: Vim, more: dict[str, object], word: str, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        vim.compute(SIMULATED, vim.image(BARE, "raw"), **more)
    assert refused.value.word == word, refused.value
    assert said in refused.value.problem.detail
    (left,) = vim.query()
    assert left.state == pb.STATE_FAILED
    assert [handle.resource_id for handle in refused.value.problem.partial] == [left.handle.resource_id]


def test_a_machine_outside_meets_a_guest_on_the_segment_that_neutron_chose(
    vim: Vim, stage: Stage, cloud: Cloud
) -> None:
    segment = pb.Segment(encap=pb.Segment.VXLAN, physical_network="tunnels")
    link = vim.link("10.82.0.0/24", segment=segment, mtu_bytes=1500)
    end = link.link_end
    assert end.segment.id > 0
    assert end.endpoints
    route = pb.Route(destination="10.83.0.0/24", via="10.82.0.2")
    image = guest_image(vim, stage)
    guest = port("eth0", link, "10.82.0.1/24", routes=[route])
    made = vim.compute(BOOTING, image, guest, image_format="qcow2", memory_bytes=160 << 20, user_data=b"from the VNFD")
    with machine("vnfm-ospl", cloud.underlay, "198.51.100.77/24") as outside:
        outside.join_vxlan(end.segment.id, end.segment.udp_port, end.segment.group, "10.82.0.2/24", end.mtu_bytes)
        outside.run("ip", "address", "add", "10.83.0.1/24", "dev", "lo")
        until_s = time.monotonic() + 600
        while (back := outside.pings("10.82.0.1")) < 5:
            assert time.monotonic() < until_s, f"{back} of 5 pings came back"
        reply = outside.run("ping", "-n", "-c", "3", "-W", "5", "-I", "10.83.0.1", "10.82.0.1")
        assert reply.count("bytes from") == 3, "the guest's route came by DHCP"
        assert outside.page("10.82.0.1", "user_data").strip() == "from the VNFD"
    assert made.state == pb.STATE_RUNNING


def test_a_guest_on_a_link_that_is_too_small_for_dhcp_reads_its_config_drive(vim: Vim, stage: Stage) -> None:
    link, image = vim.link("10.92.0.0/29"), guest_image(vim, stage)
    guest = port("eth0", link, "10.92.0.1/29")
    made = vim.compute(
        BOOTING, image, guest, image_format="qcow2", memory_bytes=160 << 20, user_data=b"words on a drive"
    )
    until_s = time.monotonic() + 600
    while "LAB-GUEST ready" not in (said := stage.console(stage.admin, made.handle.native_id)):
        assert time.monotonic() < until_s, said[-2000:]
        time.sleep(1)
    assert "LAB-GUEST eth0 no lease" in said
    assert f'LAB-GUEST config drive {{"uuid": "{made.handle.native_id}"' in said
    assert "LAB-GUEST user_data words on a drive" in said


def guest_image(vim: Vim, stage: Stage) -> str:
    """What boots in the lab, as the manager would put it there."""
    listed = stage.admin.image.find_image("lab-guest", ignore_missing=False)
    return vim.image(stage.admin.image.download_image(listed.id).content, "qcow2")
