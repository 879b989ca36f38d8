"""The lab's simulated hosts: what a telco's host has is told, handed out and refused by the real scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest
from openstack.exceptions import ForbiddenException, ResourceFailure
from openstack_stage import Stage

pytestmark = [pytest.mark.openstack, pytest.mark.usefixtures("lab"), pytest.mark.timeout(600)]


def test_dedicated_cpus_are_told_to_placement(stage: Stage) -> None:
    providers = {one.name: one for one in stage.admin.placement.resource_providers()}
    for host in ("sim-1", "sim-2"):
        asked = stage.admin.placement.get(f"/resource_providers/{providers[host].id}/inventories")
        inventory = {name: one["total"] for name, one in asked.json()["inventories"].items()}
        assert inventory["PCPU"] == 16
        assert inventory["VCPU"] == 16
        assert inventory["MEMORY_MB"] == 2 * 65536


def test_a_pinned_guest_gets_dedicated_cpus_of_one_cell(stage: Stage) -> None:
    network = stage.network(stage.member, "10.70.1.0/24")
    server = stage.server(stage.member, "lab-empty", "telco.pinned", [{"uuid": network.id}])
    allocations = stage.admin.placement.get(f"/allocations/{server.id}").json()["allocations"]
    (resources,) = (one["resources"] for one in allocations.values())
    assert resources["PCPU"] == 4
    topology = stage.admin.compute.get(f"/servers/{server.id}/topology", microversion="2.78").json()
    (cell,) = topology["nodes"]
    assert len(cell["cpu_pinning"]) == 4
    assert topology["pagesize_kb"] == 1024 * 1024


def test_anti_affinity_takes_both_hosts_and_refuses_a_third_guest(stage: Stage) -> None:
    network = stage.network(stage.member, "10.70.2.0/24")
    group = stage.member.compute.create_server_group(name=stage.name, policy="anti-affinity")
    stage.keep(stage.member.compute.delete_server_group, group)
    wanted = {"scheduler_hints": {"group": group.id}}
    servers = [stage.server(stage.member, "lab-empty", "m1.tiny", [{"uuid": network.id}], **wanted) for _ in range(2)]
    hosts = {stage.admin.compute.get_server(one.id).hypervisor_hostname for one in servers}
    assert hosts == {"sim-1", "sim-2"}
    with pytest.raises(ResourceFailure):
        stage.server(stage.member, "lab-empty", "m1.tiny", [{"uuid": network.id}], **wanted)


def test_a_direct_port_becomes_a_virtual_function_of_its_physical_network(stage: Stage) -> None:
    provider = {"provider_network_type": "vlan", "provider_physical_network": "physnet1"}
    network = stage.network(stage.admin, "10.70.3.0/24", provider_segmentation_id=871, **provider)
    port = stage.port(stage.admin, network, binding_vnic_type="direct")
    server = stage.server(stage.admin, "lab-empty", "m1.small", [{"port": port.id}])
    bound = stage.admin.network.get_port(port.id)
    assert bound.binding_host_id == stage.admin.compute.get_server(server.id).hypervisor_hostname
    assert (bound.status, bound.binding_vif_type) == ("ACTIVE", "hw_veb")
    assert bound.binding_vif_details["vlan"] == "871"
    assert bound.binding_profile["physical_network"] == "physnet1"
    assert bound.binding_profile["pci_slot"].startswith("0000:01:00.")


def test_a_plain_tenant_sees_neither_hosts_nor_others_networks(stage: Stage) -> None:
    with pytest.raises(ForbiddenException):
        list(stage.member.compute.hypervisors())
    network = stage.network(stage.member, "10.70.4.0/24")
    assert network.provider_segmentation_id is None
    assert stage.connection(stage.cloud.second).network.find_network(network.id) is None


def test_an_application_credential_is_enough_for_a_stack(stage: Stage, lab: Path) -> None:
    program = stage.connection(stage.cloud.application)
    network = {"type": "OS::Neutron::Net", "properties": {"name": stage.name}}
    template = {"heat_template_version": "2018-08-31", "resources": {"net": network}}
    made = program.orchestration.create_stack(name=stage.name, template=template, timeout_mins=5)
    stage.keep(lambda: program.orchestration.wait_for_delete(made, interval=1, wait=120))
    stage.keep(lambda: program.orchestration.delete_stack(made))
    program.orchestration.wait_for_status(made, "CREATE_COMPLETE", ["CREATE_FAILED"], interval=1, wait=120)
    assert program.network.find_network(stage.name) is not None
