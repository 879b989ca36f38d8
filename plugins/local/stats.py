"""Counters of computes, SAPs and paths at one time. Blocking; no process is started for a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from plugins.local.cgroups import Hierarchy
from plugins.local.net import HostNetwork
from plugins.local.net.counters import PortCounters
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped

_GUESTS = ("kata:", "vm:")


@dataclass(frozen=True, slots=True)
class Sampler:
    """`group_of` names a compute's control group."""

    cgroups: Hierarchy
    group_of: Callable[[str], str]
    network: HostNetwork
    ports: PortCounters

    def sample(self, objects: Iterable[Stamped]) -> pb.StatsSample:
        """Of what is there of these."""
        sample = pb.StatsSample()
        members: set[str] = set()
        paths: set[str] = set()
        for stamped in objects:
            resource = stamped.resource
            (paths if resource.kind == pb.KIND_PATH else members).add(resource.handle.resource_id)
            if resource.kind == pb.KIND_COMPUTE:
                self._add_compute(sample, resource)
        self._add_ports(sample, members)
        for count in self.network.path_counts(paths):
            sample.paths.add(
                path_id=count.path_id,
                resource_id=count.resource_id,
                cp_id=count.cp_id,
                packets=count.packets,
                bytes=count.bytes,
            )
        return sample

    def _add_compute(self, sample: pb.StatsSample, resource: pb.Resource) -> None:
        usage = self.cgroups.usage(self.group_of(resource.handle.resource_id))
        if usage is not None:
            # What runs inside a guest is not seen from here: its host processes would say nothing.
            guest = resource.handle.native_id.startswith(_GUESTS)
            sample.computes.add(
                resource_id=resource.handle.resource_id,
                cpu_ns=usage.cpu_ns,
                memory_bytes=usage.memory_bytes,
                memory_limit_bytes=usage.memory_limit_bytes,
                processes=0 if guest else usage.processes,
            )

    def _add_ports(self, sample: pb.StatsSample, members: set[str]) -> None:
        for port in self.ports.read(self.network.places(members)):
            sample.ports.add(
                resource_id=port.resource_id,
                cp_id=port.cp_id,
                in_packets=port.in_packets,
                in_bytes=port.in_bytes,
                in_dropped=port.in_dropped,
                out_packets=port.out_packets,
                out_bytes=port.out_bytes,
                out_dropped=port.out_dropped,
            )
