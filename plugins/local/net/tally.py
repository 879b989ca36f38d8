"""Which probe packets crossed which hops, and in what time: pure accounting over sightings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from plugins.local.net.specs import HopCount, ProbeResult


class Pass(Enum):
    """How a packet was seen at a hop: (is it the reply, is it leaving the hop)."""

    REQUEST_IN = (False, False)
    REQUEST_OUT = (False, True)
    REPLY_IN = (True, False)
    REPLY_OUT = (True, True)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Packet `sequence` seen at the hop with this index, at a time of one clock."""

    hop: int
    passing: Pass
    sequence: int
    time_ns: int


Journey = dict[tuple[int, Pass], int]  # where and how -> when first


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
    found: dict[int, Journey] = {}
    for sighting in sightings:
        journey = found.setdefault(sighting.sequence, {})
        key = (sighting.hop, sighting.passing)
        journey[key] = min(journey.get(key, sighting.time_ns), sighting.time_ns)
    return found


def is_whole(journey: Journey, expected: Sequence[tuple[int, Pass]]) -> bool:
    """Whether a packet was seen everywhere, in order."""
    times = [journey[key] for key in expected if key in journey]
    return len(times) == len(expected) and all(one <= other for one, other in itertools.pairwise(times))


def result(names: Sequence[str], packets: int, sightings: Iterable[Sighting]) -> ProbeResult:
    """Counts for each pair of neighbours.

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
    return ProbeResult(hops, complete=packets > 0 and len(whole) == packets, rtt_us=beyond[0])


def _beyond_us(whole: Sequence[Journey], hop: int) -> int:
    if not whole:
        return 0
    spans = [journey[hop, Pass.REPLY_IN] - journey[hop, Pass.REQUEST_OUT] for journey in whole]
    return round(median(spans) / 1000)
