"""nova-compute with simulated hardware: Nova's own fake driver, and what a telco's host has besides.

Scheduler, Placement and Neutron are real and decide on what is reported here. Runs under Debian's Python.
"""

import sys

import os_resource_classes
from nova import objects
from nova.cmd import compute
from nova.pci import utils as pci_utils
from nova.virt import fake
from oslo_serialization import jsonutils

CELLS = 2
DEDICATED_CPUS = 8  # a cell; for pinned guests
SHARED_CPUS = 8
CELL_MIB = 64 * 1024
PAGES = {2048: 4096, 1024 * 1024: 16}  # size in KiB -> number in a cell
VIRTUAL_FUNCTIONS = 7  # of each of the cells' network cards
VENDOR, CARD, VIRTUAL_FUNCTION = "8086", "1572", "154c"


def _cell(number):
    """One NUMA cell; its CPUs are pairs of sibling threads, its network card is on physnetN."""
    first = number * (DEDICATED_CPUS + SHARED_CPUS)
    shared_from, end = first + DEDICATED_CPUS, first + DEDICATED_CPUS + SHARED_CPUS
    small_kib = CELL_MIB * 1024 - sum(size * count for size, count in PAGES.items())
    pages = {4: small_kib // 4, **PAGES}
    return objects.NUMACell(
        id=number,
        socket=number,
        memory=CELL_MIB,
        memory_usage=0,
        cpuset=set(range(shared_from, end)),
        pcpuset=set(range(first, shared_from)),
        cpu_usage=0,
        pinned_cpus=set(),
        siblings=[{cpu, cpu + 1} for cpu in range(first, end, 2)],
        mempages=[objects.NUMAPagesTopology(size_kb=kib, total=count, used=0) for kib, count in pages.items()],
        network_metadata=objects.NetworkMetadata(physnets={f"physnet{number + 1}"}, tunneled=False),
    )


def _cards():
    """Each cell's network card and its virtual functions, as libvirt's driver would report them."""
    found = []
    for number in range(CELLS):
        bus = number + 1
        card = f"0000:{bus:02x}:00.0"
        common = {"vendor_id": VENDOR, "status": "available", "numa_node": number}
        found.append(
            {**common, "address": card, "product_id": CARD, "label": f"label_{VENDOR}_{CARD}", "dev_type": "type-PF"}
            | {"parent_addr": None}
        )
        found += [
            {
                **common,
                "address": f"0000:{bus:02x}:00.{function}",
                "product_id": VIRTUAL_FUNCTION,
                "label": f"label_{VENDOR}_{VIRTUAL_FUNCTION}",
                "dev_type": "type-VF",
                "parent_addr": card,
                "parent_ifname": f"ens{bus}",
            }
            for function in range(1, VIRTUAL_FUNCTIONS + 1)
        ]
    return found


class SimulatedDriver(fake.FakeDriver):
    """A host of two cells."""

    capabilities = {**fake.FakeDriver.capabilities, "supports_pcpus": True}  # noqa: RUF012 - overrides Nova's own
    vcpus = CELLS * (DEDICATED_CPUS + SHARED_CPUS)
    memory_mb = CELLS * CELL_MIB
    local_gb = 2000

    def get_available_resource(self, nodename):
        """Nova's view of the host, with its cells and cards."""
        topology = objects.NUMATopology(cells=[_cell(number) for number in range(CELLS)])
        return {
            **super().get_available_resource(nodename),
            "numa_topology": topology._to_json(),
            "pci_passthrough_devices": jsonutils.dumps(_cards()),
        }

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        """Placement's view of the host: dedicated CPUs beside the shared ones, and its traits."""
        super().update_provider_tree(provider_tree, nodename, allocations)
        inventory = dict(provider_tree.data(nodename).inventory)
        shared, dedicated = CELLS * SHARED_CPUS, CELLS * DEDICATED_CPUS
        vcpus = inventory[os_resource_classes.VCPU]
        inventory[os_resource_classes.VCPU] = {**vcpus, "total": shared, "max_unit": shared}
        inventory[os_resource_classes.PCPU] = {
            "total": dedicated,
            "max_unit": dedicated,
            "min_unit": 1,
            "step_size": 1,
            "reserved": 0,
            "allocation_ratio": 1.0,
        }
        provider_tree.update_inventory(nodename, inventory)
        provider_tree.add_traits(nodename, "HW_CPU_HYPERTHREADING", "COMPUTE_NET_VIF_MODEL_VIRTIO")

    def get_console_output(self, context, instance):
        """No guest runs, so there is nothing but this."""
        return f"simulated console of {instance.uuid}\nlogin: ".encode()


# Nova asks sysfs about cards; these are not there.
pci_utils.get_mac_by_pci_address = lambda address, pf_interface=False: f"52:54:00:{address[5:7]}:00:0{address[-1]}"
pci_utils.get_vf_num_by_pci_address = lambda address: int(address[-1]) - 1
pci_utils.get_ifname_by_pci_address = lambda address, pf_interface=False: f"ens{int(address[5:7], 16)}"

if __name__ == "__main__":
    fake.SimulatedDriver = SimulatedDriver  # Nova loads drivers from its own package only
    sys.argv[0] = "nova-compute"
    compute.main()
