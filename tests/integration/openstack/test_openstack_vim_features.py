"""What a descriptor asks of a cloud, taken by a real one: cells, vnic types, trunks, shared addresses, projects."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from labs.openstack.standing import Cloud
from openstack_stage import Stage
from openstack_vim import Refused, Vim, last, plugin, port

from plugins.openstack import linkhot
from plugins.openstack.chaining import EXTENSIONS, Member, Way, resources
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(1500)]
BARE = b"vnfm: nothing boots from this\n" * 40_000
SIMULATED = "sim-1"
EVERY = "0.0.0.0/0"


@pytest.fixture
def vim(cloud: Cloud) -> Iterator[Vim]:
    """An admin's, on the lab's simulated machines."""
    if cloud.admin is None or cloud.lab is None:
        pytest.skip("needs the lab: simulated hypervisors and an admin")
    networks = {"wire1": {"encaps": ["VLAN"], "physical_network": "physnet1"}}
    with plugin(cloud, cloud.admin, networks=networks) as found:
        yield found


def pairs_of(stage: Stage, port_id: str) -> list[str]:
    """The addresses beside its own that a port may use."""
    return [str(pair["ip_address"]) for pair in stage.admin.network.get_port(port_id).allowed_address_pairs]


def test_a_logical_nodes_two_cells_are_two_cells_of_a_machine(vim: Vim, stage: Stage) -> None:
    words = {"hw:numa_nodes": "2", "hw:numa_cpus.0": "0", "hw:numa_cpus.1": "1", "hw:numa_mem.0": "256"}
    words |= {"hw:numa_mem.1": "256"}
    made = vim.compute(
        SIMULATED, vim.image(BARE, "raw"), cpu_milli=2000, memory_bytes=512 << 20, annotations={**words, "note": "n"}
    )
    server = stage.admin.compute.get_server(made.handle.native_id)
    assert server.flavor.extra_specs == words
    assert server.hypervisor_hostname == SIMULATED
    topology = stage.admin.compute.get(f"/servers/{server.id}/topology", microversion="2.79").json()
    assert [(node["host_node"], node["vcpu_set"]) for node in topology["nodes"]] == [(0, [0]), (1, [1])]


def test_a_macvtap_port_gets_a_virtual_function_too(vim: Vim, stage: Stage) -> None:
    link = vim.link("10.85.0.0/24", segment=pb.Segment(encap=pb.Segment.VLAN, id=325, physical_network="wire1"))
    made = vim.compute(SIMULATED, vim.image(BARE, "raw"), port("in", link, "10.85.0.5/24", vnic=pb.Port.MACVTAP))
    (native,) = stage.admin.network.ports(device_id=made.handle.native_id)
    assert native.binding_vnic_type == "macvtap"
    assert native.binding_profile["pci_slot"]


def test_a_port_with_a_vlan_is_a_sub_port_of_its_servers_trunk(vim: Vim, stage: Stage) -> None:
    outer, inner = vim.link("10.86.0.0/24"), vim.link("10.87.0.0/24")
    ports = port("eth0", outer, "10.86.0.5/24"), port("pod", inner, "10.87.0.5/24", vlan_sub_port=77)
    made = vim.compute(SIMULATED, vim.image(BARE, "raw"), *ports)
    (nic,) = stage.admin.network.ports(device_id=made.handle.native_id)
    (trunk,) = [one for one in stage.admin.network.trunks() if one.port_id == nic.id]
    (sub,) = trunk.sub_ports
    assert (sub["segmentation_type"], sub["segmentation_id"]) == ("vlan", 77)
    assert stage.admin.network.get_port(sub["port_id"]).fixed_ips[0]["ip_address"] == "10.87.0.5"
    vim.terminate(made.handle.resource_id)
    assert not [one for one in stage.admin.network.trunks() if one.id == trunk.id]


def test_a_shared_address_stays_with_its_ports_over_a_paths_life(vim: Vim, stage: Stage) -> None:
    left, right = vim.link("10.88.0.0/24"), vim.link("10.89.0.0/24")
    image = vim.image(BARE, "raw")
    ports = port("left", left, "10.88.0.5/24", shared_ips=["10.88.0.9"]), port("right", right, "10.89.0.5/24")
    made = vim.compute(SIMULATED, image, *ports)
    ids = {one.name: one.id for one in stage.admin.network.ports(device_id=made.handle.native_id)}
    assert pairs_of(stage, ids["left"]) == ["10.88.0.9"]
    hop = pb.Hop(compute=Handle(resource_id=made.handle.resource_id), ingress_cp_id="left", egress_cp_id="right")
    edges = [pb.Hop(edge=pb.LinkEnd(), edge_link=Handle(resource_id=one.handle.resource_id)) for one in (left, right)]
    request = pb.AllocatePathRequest(
        resource_id=str(uuid.uuid4()), owner=vim.owner(), hops=[edges[0], hop, edges[1]], generation=1
    )
    path = last(vim.network.AllocatePath(request, timeout=120))
    assert sorted(pairs_of(stage, ids["left"])) == sorted(["10.88.0.9", EVERY])
    assert pairs_of(stage, ids["right"]) == [EVERY]
    vim.terminate(path.handle.resource_id)
    assert pairs_of(stage, ids["left"]) == ["10.88.0.9"]
    assert pairs_of(stage, ids["right"]) == []


def test_a_port_with_rules_is_in_a_group_that_admits_just_that(vim: Vim, stage: Stage) -> None:
    link = vim.link("10.91.0.0/24")
    rules = [
        pb.TrafficRule(protocol="tcp", port_min=443, port_max=443),
        pb.TrafficRule(protocol="icmp", port_max=65535),
    ]
    made = vim.compute(SIMULATED, vim.image(BARE, "raw"), port("in", link, "10.91.0.5/24", admits=rules))
    (native,) = stage.admin.network.ports(device_id=made.handle.native_id)
    (group_id,) = native.security_group_ids
    kept = stage.admin.network.get_security_group(group_id).security_group_rules
    inward = {(r["protocol"], r["port_range_min"]) for r in kept if r["direction"] == "ingress"}
    assert inward == {("tcp", 443), ("icmp", None)}
    assert {r["ethertype"] for r in kept if r["direction"] == "egress"} == {"IPv4", "IPv6"}
    vim.terminate(made.handle.resource_id)
    assert stage.admin.network.find_security_group(group_id) is None


def test_a_tenant_of_ours_has_its_own_project(cloud: Cloud, stage: Stage) -> None:
    if cloud.second is None:
        pytest.skip("needs a second project")
    with plugin(cloud, cloud.member, tenants={"blue": {"cloud": cloud.second}}) as vim:
        link = vim.link("10.90.0.0/24")  # the helper's owner is tenant blue
        theirs = stage.connection(cloud.second)
        network = theirs.network.get_network(link.handle.native_id)
        assert network.project_id == theirs.current_project_id != stage.member.current_project_id
        assert [one.handle.resource_id for one in vim.query()] == [link.handle.resource_id]


def test_servers_apart_by_a_rule_are_on_machines_apart_where_nova_chooses(cloud: Cloud, stage: Stage) -> None:
    if cloud.lab is None:
        pytest.skip("needs the lab: two simulated hypervisors in one zone")
    rule = {"vnfm.affinity_group": "instance/rule", "vnfm.affinity_policy": "anti-affinity"}
    with plugin(cloud, cloud.member) as vim:
        image = vim.image(BARE, "raw")
        made = [vim.compute("az:nova", image, annotations=rule) for _ in range(2)]
        servers = [stage.member.compute.get_server(one.handle.native_id) for one in made]
        assert len({server.host_id for server in servers}) == 2


def test_a_cloud_without_cinder_says_so(vim: Vim) -> None:
    request = pb.AllocateVolumeRequest(resource_id=str(uuid.uuid4()), owner=vim.owner(), size_bytes=1 << 30)
    with pytest.raises(Refused) as refused:
        last(vim.storage.AllocateVolume(request, timeout=120))
    assert refused.value.word == "not-offered"
    assert "Cinder is not in its catalogue" in refused.value.problem.detail
    assert vim.query() == []


def test_heat_knows_the_words_by_which_chains_are_asked_for(cloud: Cloud, stage: Stage) -> None:
    """As far as it does where Neutron has no networking-sfc: classifiers and pairs."""
    way = Way(tuple((Member(f"{name}-in", f"{name}-out"),) for name in ("fw", "dpi", "rt")))
    match = pb.Classifier(source_cidr="10.1.0.0/24", ip_protocol=6, destination_port=443, source_port=1024)
    hot = linkhot.path(["port"], resources(way, match, symmetric=True))
    kinds = ("OS::Neutron::FlowClassifier", "OS::Neutron::PortPair")
    known = {name: one for name, one in hot["resources"].items() if one["type"] in kinds}
    assert len(known) == 6
    for template, good in (({**hot, "resources": known}, True), (hot, offers_chains(stage))):
        answer = stage.member.orchestration.post("/validate", json={"template": template})
        assert (answer.status_code == 200) is good, answer.text


def offers_chains(stage: Stage) -> bool:
    """Whether the cloud has networking-sfc."""
    return {one.alias for one in stage.member.network.extensions()} >= EXTENSIONS
