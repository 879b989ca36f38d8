"""All networking of the local VIM on this host, behind one class without state of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from plugins.local.net import (
    counter,
    facts,
    links,
    membership,
    naming,
    netns,
    observe,
    paths,
    pathstamps,
    ports,
    probe,
    segments,
    tap,
)
from plugins.local.net.courses import find_port
from plugins.local.net.errors import AlreadyExistsError, InvalidSpecError, NotThereError
from plugins.local.net.index import Index, PathCount
from plugins.local.net.locks import NamedLocks
from plugins.local.net.plan import LinkPlan, Port, link_from_stamp, link_to_stamp, plan_link, plans_of, same_wiring
from plugins.local.net.specs import (
    Link,
    LinkSpec,
    Member,
    Observed,
    Outside,
    PathSpec,
    PortSpec,
    ProbeResult,
    Remote,
    ResourceKind,
    Segment,
    Wiring,
)
from plugins.local.net.stamps import Stamps
from plugins.local.net.switch import Switched


def no_checkpoint(_step: str) -> None:
    """What happens between two steps in production: nothing."""


class HostNetwork:
    """Namespaces, links, ports, paths and probes of one run folder.

    Blocking; safe to call from several threads. Calls about one resource wait for each other. Every call may be
    repeated, also after the process was killed in the middle of it: the same call completes the work. `checkpoint` is
    called with a name after each step that changes the host; `outsides` are the networks by which links go on
    elsewhere; `random_bytes` makes the token that marks probe packets.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        outsides: Sequence[Outside] = (),
        checkpoint: Callable[[str], None] = no_checkpoint,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._stamps = Stamps(run_dir)
        self._outsides = tuple(outsides)
        self._locks = NamedLocks()
        self._checkpoint = checkpoint
        self._random_bytes = random_bytes
        self._index = Index(self._stamps)

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
        """Remove it with its ports, also where processes still run inside. An unknown id is fine.

        Where it holds an end of a pair whose other end is in use, a husk of it stays until that link is terminated:
        the neighbour's interface would vanish with it.
        """
        naming.check_id("resource id", resource_id)
        name = naming.namespace_name(resource_id)
        with self._locks.hold(name):
            known = self._links()
            if self._stamps.namespaces.read(resource_id) is None and not membership.is_member(known, resource_id):
                return
            ends = membership.ends_in_use(known, resource_id, self._is_in_use)
            if ends:
                links.make_husk(name, ends)
            else:
                links.remove_namespace(name)
            self._checkpoint("namespace.removed")
            self._stamps.namespaces.remove(resource_id)

    def _is_in_use(self, resource_id: str) -> bool:
        return self._stamps.namespaces.read(resource_id) is not None

    # -- links

    def _links(self) -> dict[str, LinkSpec]:
        found = {link_id: link_from_stamp(stamp) for link_id, stamp in self._stamps.links.all().items()}
        return {link_id: spec for link_id, spec in found.items() if spec is not None}

    @contextmanager
    def _hold_link(self, spec: LinkSpec, *more: str) -> Iterator[None]:
        names = [name for plan in plans_of(spec) for name in (*plan.namespaces, plan.carrier) if name]
        with self._locks.hold(f"link {spec.id}", *names, *more):
            yield

    def allocate_link(self, spec: LinkSpec) -> Link:
        """Make the link. AlreadyExistsError where the id stands for another wiring or a port's name is taken."""
        plan = plan_link(spec)
        with self._hold_link(spec):
            stamp = self._stamps.links.read(spec.id)
            known = link_from_stamp(stamp) if stamp is not None else None
            if known and not same_wiring(known, spec):
                raise AlreadyExistsError(f"link {spec.id} is there with another wiring: terminate it first")
            if known:
                spec = replace(spec, late=known.late, gone=known.gone, segment=known.segment, remotes=known.remotes)
            self._write_link(spec)
            links.build(plan_link(spec), self._checkpoint)
            self._build_edge(spec)
        self._restore(plan.fabric)
        return Link(spec.id, plan.wiring, plan.native_id)

    def extend_link(self, link_id: str, segment: Segment, remotes: tuple[Remote, ...]) -> LinkSpec:
        """Have a link that was made with a segment go on outside by this one, to exactly these remotes.

        NotThereError without the link or its network, SegmentTakenError where the segment is in use here.
        """
        spec = self._known_link(link_id)
        with self._hold_link(spec):
            spec = self._known_link(link_id)
            if spec.segment is None or (spec.segment.encap, spec.segment.network) != (segment.encap, segment.network):
                raise InvalidSpecError(f"link {link_id} was not made to be joined by {segment.encap} {segment.network}")
            segments.check_free(link_id, segment, self._links())
            spec = replace(spec, segment=segment, remotes=remotes)
            self._write_link(spec)
            self._build_edge(spec)
        self._restore(plan_link(spec).fabric)
        return spec

    def _build_edge(self, spec: LinkSpec) -> None:
        if spec.segment is not None and spec.remotes is not None:
            outside = self.outside(spec.segment.network)
            segments.build(plan_link(spec), spec.segment, spec.remotes, outside, self._checkpoint)

    def outside(self, network: str) -> Outside:
        """How a network outside is reached; NotThereError where nobody said so."""
        found = next((one for one in self._outsides if one.network == network), None)
        if found is None:
            raise NotThereError(f"network {network!r} is not among those that the configuration names")
        return found

    def free_segment(self, link_id: str, wish: Segment) -> Segment:
        """The segment that a link is to have: as wished, else one that no other link of this host has."""
        outside = self.outside(wish.network)
        number = wish.id or segments.choose_id(outside, wish, link_id, self._links())
        return replace(wish, id=number, udp_port=outside.udp_port, group=outside.group)

    def _write_link(self, spec: LinkSpec) -> None:
        self._stamps.links.write(spec.id, link_to_stamp(spec))
        self._checkpoint("link.specified")

    def _restore(self, fabric: str) -> None:
        """Have the fabric, where there is one, steer what came or changed."""
        if netns.exists(fabric):
            with self._locks.hold(fabric):
                paths.restore(self._stamps, fabric, self._checkpoint)

    def join_link(self, link_id: str, member: Member) -> None:
        """Be on a link from now on, as one more than it was made for; one of those comes back.

        On a link of two, or a steered one, it is reached once a path leads through it. NotThereError without the link.
        """
        spec = self._known_link(link_id)
        with self._hold_link(membership.joined(spec, member)):
            spec = membership.joined(self._known_link(link_id), member)
            self._write_link(spec)
            for plan in plans_of(spec):
                links.build(plan, self._checkpoint)
        self._restore(plan_link(spec).fabric)

    def leave_link(self, link_id: str, resource_id: str) -> None:
        """Be on a link no more; one that is not on it, or no such link, is fine."""
        spec = self.link(link_id)
        if spec is None or not membership.is_on(spec, resource_id):
            return
        fabric = plan_link(spec).fabric
        with self._hold_link(spec, naming.namespace_name(resource_id), fabric):
            spec = self.link(link_id)
            if spec is None:
                return
            links.demolish_ports(membership.ports_that_go(spec, resource_id))
            self._checkpoint("link.left")
            if all(member.resource_id != resource_id for member in spec.members):
                self._release(resource_id, link_id)
            self._forget_ports(spec, resource_id)
            self._write_link(membership.left(spec, resource_id))
            paths.restore(self._stamps, fabric, self._checkpoint)

    def _known_link(self, link_id: str) -> LinkSpec:
        spec = self.link(link_id)
        if spec is None:
            raise NotThereError(f"link {link_id} is not there: allocate it first")
        return spec

    def _forget_ports(self, spec: LinkSpec, resource_id: str = "") -> None:
        for member in (*spec.members, *spec.late):
            if resource_id in ("", member.resource_id):
                self._stamps.ports.remove(naming.port_name(member.resource_id, member.cp_id))

    def link(self, link_id: str) -> LinkSpec | None:
        """The link as it was asked for; None where there is none."""
        stamp = self._stamps.links.read(link_id)
        return None if stamp is None else link_from_stamp(stamp)

    def has_chain(self, chain_id: str) -> bool:
        """Whether there is a link of it."""
        return any(spec.chain_id == chain_id for spec in self._links().values())

    def _terminate_link(self, link_id: str) -> None:
        stamp = self._stamps.links.read(link_id)
        if stamp is None:
            return
        spec = link_from_stamp(stamp)
        if spec is None:
            self._stamps.links.remove(link_id)
            return
        fabric = plan_link(spec).fabric
        with self._hold_link(spec, fabric):
            spec = self.link(link_id)
            if spec is None:
                return  # another call terminated it meanwhile
            for plan in plans_of(spec):
                links.demolish(plan)
            self._checkpoint("link.demolished")
            paths.restore(self._stamps, fabric, self._checkpoint, without_link=link_id)
            for member in (*spec.members, *spec.late):
                self._release(member.resource_id, link_id)
            self._checkpoint("link.released")
            self._forget_ports(spec)
            self._stamps.links.remove(link_id)

    def _release(self, resource_id: str, link_id: str) -> None:
        """Remove a member's namespace where neither its compute nor another link needs it; its lock is held."""
        others = {other: spec for other, spec in self._links().items() if other != link_id}
        if self._stamps.namespaces.read(resource_id) is None and not membership.is_member(others, resource_id):
            links.remove_namespace(naming.namespace_name(resource_id))

    # -- ports

    def configure_port(self, resource_id: str, spec: PortSpec) -> None:
        """Addresses, MAC, MTU and routes of a port of a CONTAINER, KATA or SAP; the port is up afterwards.

        Another specification than before replaces it, what is new first. NotThereError before its link is allocated.
        """
        ports.check(resource_id, spec)
        with self._locks.hold(naming.namespace_name(resource_id)):
            ports.configure(resource_id, spec)
            changed = self._note_port(resource_id, spec)
        if changed and self._stamps.paths.is_any():
            self._restore(self._plan_of_port(resource_id, spec.cp_id)[0].fabric)

    def _note_port(self, resource_id: str, spec: PortSpec) -> bool:
        """Keep what a port was given, for steering has to know it; whether it is other than before."""
        name, stamp = naming.port_name(resource_id, spec.cp_id), facts.to_stamp(resource_id, spec)
        if self._stamps.ports.read(name) == stamp:
            return False
        self._stamps.ports.write(name, stamp)
        self._checkpoint("port.noted")
        return True

    def open_tap(self, resource_id: str, cp_id: str, spec: PortSpec | None = None) -> int:
        """A descriptor of a VM's port (with virtio-net headers) for qemu; the caller closes it once qemu has it.

        `spec` says what the guest has behind it; without one, frames pass as they are. The device lives as long as a
        descriptor is open. Opening it again after qemu died restores its place in the path. NotThereError before the
        link is allocated.
        """
        plan, port = self._plan_of_port(resource_id, cp_id)
        if port.namespace or not plan.carrier:
            raise InvalidSpecError(f"port {resource_id}/{cp_id}: a {port.member.kind} has no tap")
        master = links.BRIDGE if plan.wiring is Wiring.BRIDGE else ""
        if spec is not None:
            ports.check(resource_id, spec)
        with self._locks.hold(f"link {plan.id}", plan.carrier):
            if spec is not None:
                self._note_port(resource_id, spec)
            descriptor = tap.open_tap(plan.carrier, port.far, port.alias, plan.mtu_bytes, master)
            try:
                if plan.wiring is Wiring.FABRIC:
                    paths.restore(self._stamps, plan.carrier, self._checkpoint)
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor

    def _plan_of_port(self, resource_id: str, cp_id: str) -> tuple[LinkPlan, Port]:
        every = (plan for spec in self._links().values() for plan in plans_of(spec))
        found = find_port(every, resource_id, cp_id)
        if found is None:
            raise NotThereError(f"port {resource_id}/{cp_id} is on no link: allocate its link first")
        return found

    def guest_mac(self, resource_id: str, cp_id: str) -> str:
        """The MAC that a port has where none is asked for: a guest is told by it which of its devices is which."""
        return naming.derive_mac(resource_id, cp_id)

    def places(self, resource_ids: Container[str]) -> dict[str, list[observe.Place]]:
        """Where the ports of these computes and SAPs are on this host."""
        return self._index.places(resource_ids)

    # -- paths

    def allocate_path(self, spec: PathSpec) -> Switched:
        """Steer along the hops, both ways, in one switch; a higher generation replaces the hops of a lower one.

        Returns once what left the path is drained: a moment where a hop was removed; where replicas were, when their
        flows are idle or `paths.FLOWS_DRAIN_SECONDS` are over. NotThereError where a hop has no port yet,
        StaleGenerationError where a higher generation is in force, InvalidSpecError for what cannot be steered.
        """
        pathstamps.check(spec)
        names = (f"path {spec.id}", paths.fabric_of(spec))
        with self._locks.hold(*names):
            done = paths.begin(self._stamps, spec, self._checkpoint)
        if paths.is_turning(self._stamps, spec):
            # Nobody has to wait for that but the caller.
            paths.await_turns(self._stamps, spec)
            with self._locks.hold(*names):
                paths.settle(self._stamps, spec, self._checkpoint)
        return done

    def probe_path(
        self, path_id: str, packets: int, patience_seconds: float, token: bytes = b"", destination: str = ""
    ) -> ProbeResult:
        """Send echo requests from the first SAP to the last one and count these very packets at every hop.

        Rounds are repeated until one is complete or the patience is over. NotThereError for an unknown path. Where the
        path goes on in another VIM, `destination` is the last end's address there.
        """
        spec = paths.known(self._stamps, path_id)
        token = token or self._random_bytes(probe.TOKEN_BYTES)
        order = probe.Order(packets, patience_seconds, token, destination)
        return probe.run(spec, paths.as_seen(self._stamps, spec), order)

    def count_probe(self, path_id: str, token: bytes) -> counter.Counter:
        """Count the packets with this token at the path's hops, from now on until it is closed; they come from another
        VIM. NotThereError for an unknown path."""
        spec = paths.known(self._stamps, path_id)
        version = paths.version_of(self._stamps, spec)
        return counter.Counter(spec, paths.as_seen(self._stamps, spec), token, version)

    def count_packets(self, chain_id: str) -> dict[tuple[str, str], tuple[int, int]]:
        """(packets, bytes) that came in by each steered port of the chain, by (resource id, cp id)."""
        return paths.counters(self._stamps, chain_id)

    def count_path_packets(self, chain_id: str) -> dict[tuple[str, str, str], tuple[int, int]]:
        """(packets, bytes) that each path took in by each steered port, by (path id, resource id, cp id)."""
        return paths.path_counters(self._stamps, chain_id)

    def path_counts(self, path_ids: Container[str]) -> list[PathCount]:
        """What each of these paths took in by each steered port; no process is started for it."""
        return self._index.path_counts(path_ids)

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

    def query(self, only: Container[str] | None = None) -> list[Observed]:
        """Every stamped object (of these ids) with its state as found on the host."""
        return observe.observe(self._stamps, self._links(), only)
