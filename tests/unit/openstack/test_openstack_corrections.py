"""What heat-translator drops or gets wrong, and how it reads once it is put right. heat-translator itself runs."""

from __future__ import annotations

import json

import pytest
import yaml
from scripted_cloud import OWNER

from plugins.openstack import corrections
from plugins.openstack.corrections import Facts, Wire, corrected
from plugins.openstack.flavors import wanted
from plugins.openstack.translate import Hot, Shape, snippet, translated
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

WIRE = Wire("net-1", ("sub-1",), "group-1")


def request(*ports: pb.Port, **more: object) -> pb.AllocateComputeRequest:
    return pb.AllocateComputeRequest(
        resource_id="r1", owner=OWNER, host_id="h", cpu_milli=1500, memory_bytes=512 << 20, ports=ports, **more
    )


def port(cp_id: str = "in", **more: object) -> pb.Port:
    return pb.Port(cp_id=cp_id, link=Handle(resource_id="l1"), ips=["10.1.0.1/24"], **more)


def hot_of(asked: pb.AllocateComputeRequest, **facts: object) -> Hot:
    shape = Shape(2, 512, 1, len(asked.ports))
    told = {"image_id": "i", "flavor_id": "f", "wires": tuple(WIRE for _ in asked.ports), **facts}
    return corrected(translated(shape), asked, Facts(**told))


def server(hot: Hot) -> dict[str, object]:
    return dict(hot["resources"]["server"]["properties"])


def test_heat_translator_makes_the_server_and_its_ports_in_order() -> None:
    hot = translated(Shape(1, 64, 1, 12))
    nics = [nic["port"]["get_resource"] for nic in hot["resources"]["server"]["properties"]["networks"]]
    assert nics == [f"port{number}" for number in range(12)]
    assert {one["type"] for one in hot["resources"].values()} == {"OS::Nova::Server", "OS::Neutron::Port"}


def test_what_one_makes_of_a_translation_the_next_one_does_not_see() -> None:
    shape = Shape(1, 64, 1, 1)
    translated(shape)["resources"]["server"]["properties"]["flavor"] = "spoiled"
    assert translated(shape)["resources"]["server"]["properties"]["flavor"] != "spoiled"


def test_the_snippet_is_tosca_with_sizes_in_binary_units() -> None:
    text = yaml.safe_dump(snippet(Shape(2, 512, 3, 1)))
    node = yaml.safe_load(text)["topology_template"]["node_templates"]["server"]
    assert node["capabilities"]["host"]["properties"] == {
        "num_cpus": 2,
        "mem_size": "512 MiB",
        "disk_size": "3 GiB",
    }


def test_the_version_is_text_that_json_can_carry() -> None:
    raw = translated(Shape(1, 64, 1, 0))
    with pytest.raises(TypeError):
        json.dumps(raw)
    assert json.loads(json.dumps(corrections.version_is_text(raw)))["heat_template_version"] == "2018-08-31"


def test_the_flavor_is_ours_and_not_one_of_a_table() -> None:
    assert server(translated(Shape(2, 512, 1, 0)))["flavor"] == "m1.medium"
    assert server(corrections.sized(translated(Shape(2, 512, 1, 0)), "exact"))["flavor"] == "exact"


def test_the_image_is_named_by_id() -> None:
    assert server(corrections.booted_from(translated(Shape(1, 64, 1, 0)), "image-1"))["image"] == "image-1"


def test_user_data_reach_the_guest_as_they_are() -> None:
    raw = translated(Shape(1, 64, 1, 0))
    assert server(raw)["user_data_format"] == "SOFTWARE_CONFIG"
    told = server(corrections.told(raw, b"#cloud-config\n{}\n"))
    assert (told["user_data_format"], told["user_data"]) == ("RAW", "#cloud-config\n{}\n")
    assert "user_data" not in server(corrections.told(raw, b""))


def test_user_data_that_are_no_text_are_refused_by_name() -> None:
    with pytest.raises(PluginError, match="user_data"):
        corrections.told(translated(Shape(1, 64, 1, 0)), b"\x1f\x8b\xff")


def test_zone_host_and_group_come_from_placement() -> None:
    placed = server(corrections.placed(translated(Shape(1, 64, 1, 0)), "nova:sim-1", "group-9"))
    assert placed["availability_zone"] == "nova:sim-1"
    assert placed["scheduler_hints"] == {"group": "group-9"}


def test_a_port_has_its_address_its_group_and_its_vnic_type() -> None:
    hot = hot_of(request(port(mac="FA:16:3E:00:00:01", vnic=pb.Port.DIRECT)))
    made = hot["resources"]["port0"]["properties"]
    assert made["network"] == "net-1"
    assert made["fixed_ips"] == [{"subnet": "sub-1", "ip_address": "10.1.0.1"}]
    assert made["mac_address"] == "fa:16:3e:00:00:01"
    assert made["binding:vnic_type"] == "direct"
    assert made["security_groups"] == ["group-1"]


def test_macvtap_is_said_and_normal_is_not() -> None:
    hot = hot_of(request(port("a", vnic=pb.Port.MACVTAP), port("b")))
    assert hot["resources"]["port0"]["properties"]["binding:vnic_type"] == "macvtap"
    assert "binding:vnic_type" not in hot["resources"]["port1"]["properties"]


def test_a_bump_in_the_wire_is_not_filtered() -> None:
    bump = pb.Port(cp_id="in", link=Handle(resource_id="l1"), l2_transparent=True)
    made = hot_of(request(bump), wires=(Wire("net-1", (), "group-1"),))["resources"]["port0"]["properties"]
    assert made["port_security_enabled"] is False
    assert made["security_groups"] == []
    assert "fixed_ips" not in made
    assert made["no_fixed_ips"] is True, "Nova takes a port without addresses only where that is meant"


def test_routes_are_told_by_dhcp_for_this_port_alone() -> None:
    routes = [pb.Route(destination="10.9.0.0/24", via="10.1.0.2"), pb.Route(destination="0.0.0.0/0", via="10.1.0.3")]
    made = hot_of(request(port(routes=routes)))["resources"]["port0"]["properties"]
    assert made["value_specs"]["extra_dhcp_opts"] == [
        {
            "opt_name": "classless-static-route",
            "opt_value": "10.9.0.0/24,10.1.0.2,0.0.0.0/0,10.1.0.3",
            "ip_version": 4,
        },
        {"opt_name": "router", "opt_value": "10.1.0.3", "ip_version": 4},
    ]


def test_sub_ports_ride_on_a_trunk_and_are_no_nics() -> None:
    hot = hot_of(request(port("trunk"), port("pod", vlan_sub_port=42)))
    assert server(hot)["networks"] == [{"port": {"get_resource": "port0"}}]
    assert hot["resources"]["server"]["depends_on"] == ["trunk"]
    assert hot["resources"]["trunk"]["properties"] == {
        "port": {"get_resource": "port0"},
        "sub_ports": [{"port": {"get_resource": "port1"}, "segmentation_id": 42, "segmentation_type": "vlan"}],
    }


def test_a_sub_port_without_a_trunk_is_refused() -> None:
    with pytest.raises(PluginError, match="vlan_sub_port"):
        hot_of(request(port("pod", vlan_sub_port=42)))


def test_who_has_no_port_gets_no_network_by_chance() -> None:
    assert server(hot_of(request()))["networks"] == [{"allocate_network": "none"}]


def test_the_whole_template_goes_over_the_wire_and_names_what_is_found_again() -> None:
    hot = hot_of(request(port(), name="fw"), metadata={"vnfm_resource_id": "r1"})
    assert json.loads(json.dumps(hot)) == hot
    assert hot["outputs"] == {
        "server": {"value": {"get_resource": "server"}},
        "port0": {"value": {"get_resource": "port0"}},
    }
    made = server(hot)
    assert (made["name"], made["metadata"]) == ("fw", {"vnfm_resource_id": "r1"})


def test_who_is_told_nothing_by_dhcp_gets_a_config_drive() -> None:
    with_dhcp, without = Wire("n", ("s",), "g", "10.1.0.254"), Wire("n", ("s",), "g")
    two = request(port("a"), port("b"))
    assert "config_drive" not in server(hot_of(two, wires=(with_dhcp, with_dhcp)))
    assert server(hot_of(two, wires=(with_dhcp, without)))["config_drive"] is True
    assert server(hot_of(request()))["config_drive"] is True


def test_routes_of_ones_own_leave_the_way_to_the_metadata() -> None:
    asked = port(routes=[pb.Route(destination="10.9.0.0/24", via="10.1.0.2")])
    (option,) = corrections.route_options(asked, "10.1.0.254")
    assert option["opt_value"] == "10.9.0.0/24,10.1.0.2,169.254.169.254/32,10.1.0.254"


def test_sizes_are_rounded_up_to_what_nova_counts_in() -> None:
    need = wanted(request(), 1)
    assert (need.vcpus, need.memory_mib) == (2, 512), "512 MiB are not 488, 1.5 CPUs are two"
    odd = request()
    odd.memory_bytes += 1
    assert wanted(odd, 1).memory_mib == 513


@pytest.mark.parametrize(
    ("more", "specs"),
    [
        ({}, {}),
        ({"cpu_pinned": True}, {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1"}),
        ({"hugepage_bytes": 1 << 30}, {"hw:mem_page_size": "large", "hw:numa_nodes": "1"}),
        ({"numa_cell": 1}, {"hw:numa_nodes": "1"}),
        (
            {"hugepage_bytes": 1 << 30, "annotations": {"hw:mem_page_size": "1GB"}},
            {"hw:mem_page_size": "1GB", "hw:numa_nodes": "1"},
        ),
        ({"annotations": {"trait:HW_CPU_X86_AVX2": "required"}}, {"trait:HW_CPU_X86_AVX2": "required"}),
        ({"annotations": {"pci_passthrough:alias": "sim-vf:2"}}, {"pci_passthrough:alias": "sim-vf:2"}),
        ({"annotations": {"io.katacontainers.x": "y"}}, {}),
    ],
)
def test_pinning_pages_numa_and_capabilities_become_extra_specs(more: dict[str, object], specs: dict[str, str]) -> None:
    assert dict(wanted(request(**more), 1).extra_specs) == specs
