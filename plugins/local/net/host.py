"""All networking of the local VIM on this host, behind one class without state of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from plugins.local.net import links, naming, netns, observe, paths, ports, probe, tap
from plugins.local.net.errors import AlreadyExistsError, InvalidSpecError, NotThereError
from plugins.local.net.locks import NamedLocks
from plugins.local.net.plan import LinkPlan, link_from_stamp, link_to_stamp, plan_link, same_wiring
from plugins.local.net.specs import (
    Link,
    LinkSpec,
    Observed,
    PathSpec,
    PortSpec,
    ProbeResult,
    ResourceKind,
    Wiring,
)
from plugins.local.net.stamps import Stamps


def no_checkpoint(_step: str) -> None:
    """What happens between two steps in production: nothing."""


class HostNetwork:
    """Namespaces, links, ports, paths and probes of one run folder.

    Blocking; safe to call from several threads. Calls about one resource wait for each other. Every call may be
    repeated, also after the process was killed in the middle of it: the same call completes the work. `checkpoint` is
    called with a name after each step that changes the host; `random_bytes` makes the token that marks probe packets.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        checkpoint: Callable[[str], None] = no_checkpoint,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._stamps = Stamps(run_dir)
        self._locks = NamedLocks()
        self._checkpoint = checkpoint
        self._random_bytes = random_bytes

    # -- namespaces of computes and SAPs

    def ensure_namespace(self, resource_id: str, owner: Mapping[str, str] | None = None) -> str:
        """The namespace of a CONTAINER, KATA or SAP, made if it is not there; it stays until `remove_namespace`."""
        naming.check_id("resource id", resource_id)
        name = naming.namespace_name(resource_id)
        with self._locks.hold(name):
            self._stamps.namespaces.write(resource_id, {"id": resource_id, "owner": dict(owner or {})})
            self._checkpoint("namespace.stamped")
            netns.ensure(name)
        return name

    def remove_namespace(self, resource_id: str) -> None:
        """Remove it with its ports, also where processes still run inside. An unknown id is fine."""
        naming.check_id("resource id", resource_id)
        name = naming.namespace_name(resource_id)
        with self._locks.hold(name):
            if self._stamps.namespaces.read(resource_id) is None and not self._is_member(resource_id):
                return
            links.remove_namespace(name)
            self._checkpoint("namespace.removed")
            self._stamps.namespaces.remove(resource_id)

    def _is_member(self, resource_id: str, *, besides: str = "") -> bool:
        return any(
            member.resource_id == resource_id
            for link_id, spec in self._links().items()
            if link_id != besides
            for member in spec.members
        )

    # -- links

    def _links(self) -> dict[str, LinkSpec]:
        found = {link_id: link_from_stamp(stamp) for link_id, stamp in self._stamps.links.all().items()}
        return {link_id: spec for link_id, spec in found.items() if spec is not None}

    @contextmanager
    def _hold_link(self, plan: LinkPlan) -> Iterator[None]:
        carrier = (plan.carrier,) if plan.carrier else ()
        with self._locks.hold(f"link {plan.id}", *plan.namespaces, *carrier):
            yield

    def allocate_link(self, spec: LinkSpec) -> Link:
        """Make the link. AlreadyExistsError where the id stands for another wiring or a port's name is taken."""
        plan = plan_link(spec)
        with self._hold_link(plan):
            stamp = self._stamps.links.read(spec.id)
            known = link_from_stamp(stamp) if stamp is not None else None
            if known and not same_wiring(known, spec):
                raise AlreadyExistsError(f"link {spec.id} is there with another wiring: terminate it first")
            self._stamps.links.write(spec.id, link_to_stamp(spec))
            self._checkpoint("link.specified")
            links.build(plan, self._checkpoint)
            if plan.wiring is Wiring.FABRIC:
                paths.restore(self._stamps, plan.carrier, self._checkpoint)
        return Link(spec.id, plan.wiring, plan.native_id)

    def link(self, link_id: str) -> LinkSpec | None:
        """The link as it was asked for; None where there is none."""
        stamp = self._stamps.links.read(link_id)
        return None if stamp is None else link_from_stamp(stamp)

    def _terminate_link(self, link_id: str) -> None:
        stamp = self._stamps.links.read(link_id)
        if stamp is None:
            return
        spec = link_from_stamp(stamp)
        if spec is None:
            self._stamps.links.remove(link_id)
            return
        plan = plan_link(spec)
        with self._hold_link(plan):
            if self._stamps.links.read(link_id) is None:
                return  # another call terminated it meanwhile
            shared = plan.wiring is Wiring.FABRIC and paths.fabric_in_use(self._stamps, plan.carrier, besides=link_id)
            links.demolish(plan, carrier_too=not shared)
            self._checkpoint("link.demolished")
            if shared:
                paths.restore(self._stamps, plan.carrier, self._checkpoint)
            for member in spec.members:
                self._release(member.resource_id, link_id)
            self._checkpoint("link.released")
            self._stamps.links.remove(link_id)

    def _release(self, resource_id: str, link_id: str) -> None:
        """Remove a member's namespace where neither its compute nor another link needs it; its lock is held."""
        if self._stamps.namespaces.read(resource_id) is None and not self._is_member(resource_id, besides=link_id):
            links.remove_namespace(naming.namespace_name(resource_id))

    # -- ports

    def configure_port(self, resource_id: str, spec: PortSpec) -> None:
        """Addresses, MAC, MTU and routes of a port of a CONTAINER, KATA or SAP; the port is up afterwards.

        Another specification than before replaces it, what is new first. NotThereError before its link is allocated.
        """
        with self._locks.hold(naming.namespace_name(resource_id)):
            ports.configure(resource_id, spec)

    def open_tap(self, resource_id: str, cp_id: str) -> int:
        """A descriptor of a VM's port (with virtio-net headers) for qemu; the caller closes it once qemu has it.

        The device lives as long as a descriptor is open. Opening it again after qemu died restores its place in the
        path. NotThereError before the link is allocated.
        """
        plan = self._plan_of_port(resource_id, cp_id)
        port = next(port for port in plan.ports if (port.member.resource_id, port.member.cp_id) == (resource_id, cp_id))
        if port.namespace or not plan.carrier:
            raise InvalidSpecError(f"port {resource_id}/{cp_id}: a {port.member.kind} has no tap")
        master = links.BRIDGE if plan.wiring is Wiring.BRIDGE else ""
        with self._hold_link(plan):
            descriptor = tap.open_tap(plan.carrier, port.far, port.alias, plan.mtu_bytes, master)
            try:
                if plan.wiring is Wiring.FABRIC:
                    paths.restore(self._stamps, plan.carrier, self._checkpoint)
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor

    def _plan_of_port(self, resource_id: str, cp_id: str) -> LinkPlan:
        for spec in self._links().values():
            if any((member.resource_id, member.cp_id) == (resource_id, cp_id) for member in spec.members):
                return plan_link(spec)
        raise NotThereError(f"port {resource_id}/{cp_id} is on no link: allocate its link first")

    def guest_mac(self, resource_id: str, cp_id: str) -> str:
        """The MAC that a port has where none is asked for: a guest is told by it which of its devices is which."""
        return naming.derive_mac(resource_id, cp_id)

    def places(self, resource_ids: Container[str]) -> dict[str, list[observe.Place]]:
        """Where the ports of these computes and SAPs are on this host."""
        return observe.places(map(plan_link, self._links().values()), resource_ids)

    # -- paths

    def allocate_path(self, spec: PathSpec) -> None:
        """Steer along the hops, both ways, in one switch; a higher generation replaces the hops of a lower one.

        NotThereError where a hop has no port yet, StaleGenerationError where a higher generation is in force.
        """
        paths.check(spec)
        with self._locks.hold(f"path {spec.id}", paths.fabric_of(spec)):
            paths.allocate(self._stamps, spec, self._checkpoint)

    def probe_path(self, path_id: str, packets: int, patience_seconds: float) -> ProbeResult:
        """Send echo requests from the first SAP to the last one and count these very packets at every hop.

        Rounds are repeated until one is complete or the patience is over. NotThereError for an unknown path.
        """
        spec = paths.known(self._stamps, path_id)
        plans = [plan_link(link) for link in self._links().values()]
        return probe.run(spec, plans, packets, patience_seconds, self._random_bytes)

    def count_packets(self, chain_id: str) -> dict[tuple[str, str], tuple[int, int]]:
        """(packets, bytes) that came in by each steered port of the chain, by (resource id, cp id)."""
        return paths.counters(self._stamps, chain_id)

    def _terminate_path(self, path_id: str) -> None:
        stamp = self._stamps.paths.read(path_id)
        if stamp is None:
            return
        fabric = paths.fabric_of_stamp(path_id, stamp)
        with self._locks.hold(f"path {path_id}", fabric):
            paths.remove(self._stamps, path_id, fabric, self._checkpoint)

    # -- all of them

    def terminate(self, resource_id: str, kind: ResourceKind) -> None:
        """Remove what the id stands for; an unknown id is fine."""
        naming.check_id("resource id", resource_id)
        if kind is ResourceKind.LINK:
            self._terminate_link(resource_id)
        elif kind is ResourceKind.PATH:
            self._terminate_path(resource_id)
        else:
            self.remove_namespace(resource_id)

    def query(self) -> list[Observed]:
        """Every stamped object with its state as found on the host."""
        return observe.observe(self._stamps, self._links())
