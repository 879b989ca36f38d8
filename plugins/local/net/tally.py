"""Which probe packets crossed which hops, and in what time: pure accounting over sightings."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from plugins.local.net.specs import HopCount, Passing, ProbeResult


class Pass(Enum):
    """How a packet was seen at a hop: (is it the reply, is it leaving the hop)."""

    REQUEST_IN = (False, False)
    REQUEST_OUT = (False, True)
    REPLY_IN = (True, False)
    REPLY_OUT = (True, True)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Packet `sequence` seen at the hop with this index, at a time of one clock; where there are replicas, at which."""

    hop: int
    passing: Pass
    sequence: int
    time_ns: int
    resource_id: str = ""
    cp_id: str = ""


Journey = Mapping[tuple[int, Pass], Sighting]  # where and how -> when first


def course(hops: int, edges: Container[int] = ()) -> tuple[tuple[int, Pass], ...]:
    """All that must be seen of a packet that goes to the last hop and back, in order; nothing is seen at `edges`."""
    there: list[tuple[int, Pass]] = [(0, Pass.REQUEST_OUT)]
    back: list[tuple[int, Pass]] = [(0, Pass.REPLY_IN)]
    for hop in range(1, hops - 1):
        there += [(hop, Pass.REQUEST_IN), (hop, Pass.REQUEST_OUT)]
        back = [(hop, Pass.REPLY_IN), (hop, Pass.REPLY_OUT), *back]
    whole = (*there, (hops - 1, Pass.REQUEST_IN), (hops - 1, Pass.REPLY_OUT), *back)
    return tuple(one for one in whole if one[0] not in edges)


def journeys(sightings: Iterable[Sighting]) -> dict[int, Journey]:
    """The sightings by packet; of one seen twice in the same place the first counts."""
    found: dict[int, dict[tuple[int, Pass], Sighting]] = {}
    for sighting in sightings:
        journey = found.setdefault(sighting.sequence, {})
        key = (sighting.hop, sighting.passing)
        if key not in journey or sighting.time_ns < journey[key].time_ns:
            journey[key] = sighting
    return dict(found)


def is_whole(journey: Journey, expected: Sequence[tuple[int, Pass]]) -> bool:
    """Whether a packet was seen everywhere, in order, and met the same replica of a hop wherever it was seen there."""
    seen = [journey[key] for key in expected if key in journey]
    in_order = all(one.time_ns <= other.time_ns for one, other in itertools.pairwise(seen))
    instances = {(one.hop, one.resource_id) for one in seen}
    return len(seen) == len(expected) and in_order and len(instances) == len({hop for hop, _ in instances})


def result(
    names: Sequence[str], packets: int, sightings: Iterable[Sighting], edges: Container[int] = ()
) -> ProbeResult:
    """Counts for each pair of neighbours, and the course of one packet.

    The time of a pair is the median from leaving its first hop until the reply is back there, less the same at its
    second hop: it holds the wire between them and the second hop itself, both ways, and all pairs add up to the
    end-to-end median. Only whole journeys are timed; 0 where there is none. From an edge, and to one, as many went as
    the hop beside it has seen, and the time up to an edge is that of all that lies beyond.
    """
    found = journeys(sightings)
    expected = course(len(names), edges)
    whole = [journey for journey in found.values() if is_whole(journey, expected)]
    beyond = [0 if hop in edges else _beyond_us(whole, hop) for hop in range(len(names) - 1)] + [0]

    def seen(hop: int, passing: Pass, at_edge: tuple[int, Pass]) -> int:
        key = at_edge if hop in edges else (hop, passing)
        return sum(key in journey for journey in found.values())

    hops = tuple(
        HopCount(
            one,
            other,
            sent=seen(index, Pass.REQUEST_OUT, (index + 1, Pass.REQUEST_IN)),
            received=seen(index + 1, Pass.REQUEST_IN, (index, Pass.REQUEST_OUT)),
            rtt_us=0 if index in edges else beyond[index] - beyond[index + 1],
        )
        for index, (one, other) in enumerate(itertools.pairwise(names))
    )
    complete = packets > 0 and len(whole) == packets
    trace = _trace(names, whole or list(found.values()))
    return ProbeResult(hops, complete, rtt_us=beyond[1 if 0 in edges else 0], passings=trace)


def _trace(names: Sequence[str], candidates: Sequence[Journey]) -> tuple[Passing, ...]:
    """Of the packet that came furthest, and among such of the one that took the middle time."""
    furthest = max(map(len, candidates), default=0)
    rivals = sorted((one for one in candidates if len(one) == furthest), key=_duration_ns)
    if not rivals:
        return ()
    seen = sorted(rivals[len(rivals) // 2].values(), key=lambda one: one.time_ns)
    return tuple(
        Passing(
            hop=names[one.hop],
            cp_id=one.cp_id,
            resource_id=one.resource_id,
            reply=one.passing.value[0],
            leaving=one.passing.value[1],
            at_ns=one.time_ns - seen[0].time_ns,
        )
        for one in seen
    )


def _duration_ns(journey: Journey) -> int:
    times = [one.time_ns for one in journey.values()]
    return max(times) - min(times)


def _beyond_us(whole: Sequence[Journey], hop: int) -> int:
    if not whole:
        return 0
    spans = [journey[hop, Pass.REPLY_IN].time_ns - journey[hop, Pass.REQUEST_OUT].time_ns for journey in whole]
    return round(median(spans) / 1000)
