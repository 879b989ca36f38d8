"""How far a probe's packets come in the mock, and when they pass which port. Pure but for reading the world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from plugins.mock import frames, rules
from plugins.mock.world import Thing, World
from vnfm.pb.vim.v1 import vim_pb2 as pb

WIRE_US = 1  # one crossing of a link
Passing = pb.ProbePathResponse.Passing
Between = Callable[[str, str], int]
"""Microseconds from one host to another, one way."""
_PROBE_PORT = 33434


@dataclass(frozen=True, slots=True)
class Instance:
    """A compute or SAP as a path enters and leaves it; `link`s are "" where they have failed or are lost."""

    resource_id: str
    runs: bool
    ingress_cp: str
    egress_cp: str
    ingress_link: str
    egress_link: str
    hop_us: int
    host_id: str = ""


@dataclass(frozen=True, slots=True)
class Station:
    """A hop with its replicas; an edge leads on into another VIM, of which nothing is known here."""

    name: str
    instances: tuple[Instance, ...]
    edge: bool = False


@dataclass(frozen=True, slots=True)
class Trip:
    """One packet's way: the instances it reached, in order, and whether these were all (then it came back, too)."""

    reached: tuple[tuple[Station, Instance], ...]
    whole: bool


def stations(world: World, hosts: Mapping[str, pb.Host], path: Thing) -> list[Station]:
    """A path's hops as they are now."""
    assert isinstance(path.spec, pb.AllocatePathRequest)
    manager_id = path.key[0]
    found = []
    for hop in path.spec.hops:
        if hop.WhichOneof("at") == "edge":
            found.append(Station(hop.name or "edge", (Instance("", True, "", "", "", "", 0),), edge=True))
            continue
        handles = list(hop.replicas) or [hop.compute if hop.HasField("compute") else hop.sap]
        instances = tuple(_instance(world, hosts, manager_id, hop, handle.resource_id) for handle in handles)
        found.append(Station(hop.name or instances[0].resource_id, instances))
    return found


def _instance(world: World, hosts: Mapping[str, pb.Host], manager_id: str, hop: pb.Hop, resource_id: str) -> Instance:
    thing = world.get(manager_id, resource_id)
    if thing is None:
        return Instance(resource_id, False, hop.ingress_cp_id, hop.egress_cp_id, "", "", 0)
    links = {port.cp_id: _sound_link(world, manager_id, port, thing) for port in rules.ports(thing)}
    only = next(iter(links), "") if hop.HasField("sap") else ""
    ingress, egress = hop.ingress_cp_id or only, hop.egress_cp_id or only
    runs = thing.resource.state == pb.STATE_RUNNING
    return Instance(
        resource_id,
        runs,
        ingress,
        egress,
        links.get(ingress, ""),
        links.get(egress, ""),
        _hop_us(hosts, thing),
        thing.resource.host_id,
    )


def _sound_link(world: World, manager_id: str, port: pb.Port, thing: Thing) -> str:
    fate = world.fates.get(thing.key)
    if fate is not None and fate.done and fate.cp_id == port.cp_id:
        return ""
    link = world.get(manager_id, port.link.resource_id)
    return port.link.resource_id if link is not None and link.resource.state == pb.STATE_RUNNING else ""


def _hop_us(hosts: Mapping[str, pb.Host], thing: Thing) -> int:
    spec = thing.spec
    if not isinstance(spec, pb.AllocateComputeRequest):
        return 0
    host = hosts.get(spec.host_id)
    return next((cost.hop_us for cost in host.costs if cost.runtime == spec.runtime), 0) if host else 0


def travel(way: Sequence[Station], number: int, most: int) -> Trip:
    """The `number`th packet, a flow of its own: replicas take turns. It comes no further than `most` stations."""
    reached: list[tuple[Station, Instance]] = []
    for station in way[:most]:
        instance = station.instances[number % len(station.instances)]
        if not instance.runs or (reached and not _joined(*reached[-1], station, instance)):
            break
        reached.append((station, instance))
    return Trip(tuple(reached), len(reached) == len(way))


def _joined(before: Station, left: Instance, station: Station, entered: Instance) -> bool:
    return before.edge or station.edge or (left.egress_link != "" != entered.ingress_link)


def _nowhere_far(host_a: str, host_b: str) -> int:
    return 0


def _link_us(left: Instance, entered: Instance, between: Between) -> int:
    """An instance adds its latency at each end of a link, as on a real wire."""
    return left.hop_us + max(WIRE_US, between(left.host_id, entered.host_id)) + entered.hop_us


def _walk(trip: Trip) -> Iterator[tuple[Station, Instance, Instance | None, str, bool, bool]]:
    """Each port that the packet passes: station, instance, whence it came where it arrives, the port, whether it is the
    reply, whether it leaves by that port."""
    ways = [(False, trip.reached)] + ([(True, trip.reached[::-1])] if trip.whole else [])
    for reply, stops in ways:
        last, before = len(stops) - 1, None
        for index, (station, instance) in enumerate(stops):
            arriving, leaving = instance.ingress_cp, instance.egress_cp
            if reply:
                arriving, leaving = leaving, arriving
            if before is not None:
                yield station, instance, before, arriving, reply, False
            if index < last or not (trip.whole or reply):
                yield station, instance, None, leaving, reply, True
            before = instance


def passings(trip: Trip, between: Between = _nowhere_far) -> list[pb.ProbePathResponse.Passing]:
    """Where and when the packet was seen."""
    seen: list[pb.ProbePathResponse.Passing] = []
    at_us = 0
    for station, instance, before, cp_id, reply, leaving in _walk(trip):
        if before is not None:
            at_us += _link_us(before, instance, between)
        seen.append(_passing(station, instance, cp_id, at_us, reply=reply, leaving=leaving))
    return seen


def _passing(
    station: Station, instance: Instance, cp_id: str, at_us: int, *, reply: bool, leaving: bool
) -> pb.ProbePathResponse.Passing:
    return Passing(
        hop=station.name,
        cp_id=cp_id,
        reply=reply,
        leaving=leaving,
        at_ns=at_us * 1000,
        resource_id=instance.resource_id,
    )


def counted(trips: Sequence[Trip]) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Packets into and out of each port, by (resource_id, cp_id)."""
    into: Counter[tuple[str, str]] = Counter()
    out: Counter[tuple[str, str]] = Counter()
    for trip in trips:
        for _, instance, _, cp_id, _, leaving in _walk(trip):
            (out if leaving else into)[instance.resource_id, cp_id] += 1
    return {place: (into[place], out[place]) for place in {*into, *out} if place[0]}


def answer(
    way: Sequence[Station], trips: Sequence[Trip], *, trace: bool, between: Between = _nowhere_far
) -> pb.ProbePathResponse:
    """Counts hop by hop; the median of equal times is any of them."""
    response = pb.ProbePathResponse(complete=all(trip.whole for trip in trips))
    for index in range(len(way) - 1):
        sent = sum(len(trip.reached) > index for trip in trips)
        received = sum(len(trip.reached) > index + 1 for trip in trips)
        if way[index].edge:
            sent = received  # nothing is seen at an edge itself
        hop_us = _link_us(way[index].instances[0], way[index + 1].instances[0], between)
        count = pb.ProbePathResponse.HopCount(
            to=way[index + 1].name, sent=sent, received=received, rtt_us=2 * hop_us if response.complete else 0
        )
        setattr(count, "from", way[index].name)  # a word of Python's own
        response.hops.append(count)
    response.rtt_us = sum(count.rtt_us for count in response.hops)
    whole = next((trip for trip in trips if trip.whole), None)
    if trace and whole is not None:
        response.passings.extend(passings(whole, between))
    return response


def end_addresses(world: World, manager_id: str, path: pb.AllocatePathRequest) -> tuple[str, str]:
    """The first address of a path's first end, and of its last."""
    found = []
    for hop in (path.hops[0], path.hops[-1]):
        thing = world.get(manager_id, hop.sap.resource_id)
        found.append(next(iter(thing.resource.addresses), "") if thing else "")
    return found[0], found[1]


def frame(match: pb.Classifier, ends: tuple[str, str], number: int, *, reply: bool) -> bytes:
    """A probe packet such as the path's match picks, or the answer to it: UDP where ports or UDP are named, else an
    echo."""
    if match.ip_protocol == frames.UDP or match.destination_port or match.source_port:
        ports = (match.source_port or _PROBE_PORT, match.destination_port or _PROBE_PORT)
        payload = number.to_bytes(4)
        return frames.datagram(*ends, *ports, reply=reply, dscp=match.dscp, payload=payload)
    return frames.echo(*ends, number, reply=reply, dscp=match.dscp)
