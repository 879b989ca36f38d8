"""What the plugin is put together from, by its configuration."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from plugins.local import cgroups, doctor, outward, runtimes
from plugins.local.computes import Computes
from plugins.local.containers import Containers
from plugins.local.exec import ExecRunner
from plugins.local.host import HostFacts
from plugins.local.images.store import ImageStore
from plugins.local.net import HostNetwork
from plugins.local.net.counters import PortCounters
from plugins.local.net.devices import DeviceView
from plugins.local.netpart import NetPart
from plugins.local.settings import Settings
from plugins.local.stats import Sampler
from plugins.local.vms import Vms
from vnfm.pb.vim.v1 import vim_pb2 as pb


@dataclass(frozen=True, slots=True)
class Parts:
    """What a configuration makes."""

    settings: Settings
    facts: HostFacts
    images: ImageStore
    network: HostNetwork
    computes: Computes
    net: NetPart
    sampler: Sampler
    runner: ExecRunner
    building: asyncio.Semaphore

    def reaches(self) -> list[pb.Reach]:
        """The networks outside, as they are now."""
        return [outward.reach(one) for one in self.settings.networks]


def make_parts(settings: Settings) -> Parts:
    """Looks at the host and composes; blocking."""
    hierarchy = cgroups.detect_here()
    facts = HostFacts(settings, hierarchy, doctor.refusals(settings, hierarchy))
    images = ImageStore(settings.state_dir)
    images.prepare()
    network = HostNetwork(settings.run_dir, outsides=settings.networks)
    found = {
        int(pb.RUNTIME_CONTAINER): runtimes.crun(hierarchy, settings.run_dir / "crun"),
        int(pb.RUNTIME_KATA): runtimes.microvm(settings.run_dir / "microvm", settings.microvm_command),
    }
    containers = Containers(found, hierarchy, images, settings)
    vms = Vms(settings, hierarchy, images)
    computes = Computes(settings, facts, network, containers, vms, images)

    return Parts(
        settings,
        facts,
        images,
        network,
        computes,
        computes.net,
        Sampler(hierarchy, settings.cgroup_of, network, PortCounters(DeviceView())),
        ExecRunner(containers, vms, computes.stamps),
        asyncio.Semaphore(settings.parallel or 2 * (os.cpu_count() or 1)),
    )
