"""Which probe packets crossed which hops, and in what time: pure accounting over sightings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
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


def course(hops: int) -> tuple[tuple[int, Pass], ...]:
    """All that must be seen of a packet that goes to the last hop and back, in order."""
    there: list[tuple[int, Pass]] = [(0, Pass.REQUEST_OUT)]
    back: list[tuple[int, Pass]] = [(0, Pass.REPLY_IN)]
    for hop in range(1, hops - 1):
        there += [(hop, Pass.REQUEST_IN), (hop, Pass.REQUEST_OUT)]
        back = [(hop, Pass.REPLY_IN), (hop, Pass.REPLY_OUT), *back]
    return (*there, (hops - 1, Pass.REQUEST_IN), (hops - 1, Pass.REPLY_OUT), *back)


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


def result(names: Sequence[str], packets: int, sightings: Iterable[Sighting]) -> ProbeResult:
    """Counts for each pair of neighbours, and the course of one packet.

    The time of a pair is the median from leaving its first hop until the reply is back there, less the same at its
    second hop: it holds the wire between them and the second hop itself, both ways, and all pairs add up to the
    end-to-end median. Only whole journeys are timed; 0 where there is none.
    """
    found = journeys(sightings)
    expected = course(len(names))
    whole = [journey for journey in found.values() if is_whole(journey, expected)]
    beyond = [_beyond_us(whole, hop) for hop in range(len(names) - 1)] + [0]
    hops = tuple(
        HopCount(
            one,
            other,
            sent=sum((index, Pass.REQUEST_OUT) in journey for journey in found.values()),
            received=sum((index + 1, Pass.REQUEST_IN) in journey for journey in found.values()),
            rtt_us=beyond[index] - beyond[index + 1],
        )
        for index, (one, other) in enumerate(itertools.pairwise(names))
    )
    complete = packets > 0 and len(whole) == packets
    return ProbeResult(hops, complete, rtt_us=beyond[0], passings=_trace(names, whole or list(found.values())))


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
