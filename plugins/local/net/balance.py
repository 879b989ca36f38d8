"""Replicas of a hop: new flows are spread over buckets, known ones stay where they are. Pure functions.

A packet goes (1) to the replica whose own address it is sent to, (2) to the replica that knows its flow, in whichever
direction the flow was seen first, (3) by a symmetric hash of the flow to a bucket, whose owner then knows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from plugins.local.net import matching, naming
from plugins.local.net.courses import Balance, Course, Target
from plugins.local.net.ruleset import Chain

BUCKETS = 64
TCP_SECONDS = 1800
CLOSED_SECONDS = 10


def spread(owners: Sequence[str]) -> tuple[str, ...]:
    """The owner of each bucket: as even as can be, and where an owner comes or goes few others' buckets move."""
    left = list(range(BUCKETS))
    given: dict[int, str] = {}
    room = {owner: BUCKETS // len(owners) for owner in owners}
    for owner in sorted(owners)[: BUCKETS % len(owners)]:
        room[owner] += 1
    # Every bucket likes every owner in an order of its own; it gets the first that has room.
    for bucket in left:
        by_liking = sorted(owners, key=lambda owner: hashlib.sha256(f"{bucket} {owner}".encode()).digest())
        given[bucket] = next(owner for owner in by_liking if room[owner])
        room[given[bucket]] -= 1
    return tuple(given[bucket] for bucket in range(BUCKETS))


def set_names(path_id: str, hop: str, resource_id: str) -> tuple[str, str]:
    """The sets of the flows that a replica knows: those with ports, and all others."""
    key = naming.short("flows", path_id, hop, resource_id)
    return f"f{key}", f"g{key}"


def entry(balance: Balance, *, forward: bool) -> str:
    """The chain to go to for the choice."""
    return "b" + naming.short("balance", balance.path_id, balance.hop, str(forward))


def into(target: Target) -> str:
    """What puts a frame into a port."""
    rewritten = f"ether daddr set {target.mac} " if target.mac else ""
    return f"{rewritten}fwd to {target.port}"


def chains(course: Course, balance: Balance, present: Mapping[str, int]) -> tuple[dict[str, Chain], dict[str, str]]:
    """The chains of a choice, and the sets that they need, by name; for the ports that are there."""
    forward, targets = course.forward, [one for one in course.targets if one.port in present]
    names = {one.resource_id: set_names(balance.path_id, balance.hop, one.resource_id) for one in targets}
    own = [f"ip daddr {{ {', '.join(one.addresses)} }} {into(one)}" for one in targets if one.addresses]
    first = entry(balance, forward=forward)
    with_ports = "c" + first[1:]
    found: dict[str, Chain] = {}
    buckets: list[tuple[str, str]] = []
    lookups5, lookups3 = [], []
    key5, key3 = matching.key5(forward=forward), matching.key3(forward=forward)
    for one in targets:
        five, three = names[one.resource_id]
        known = naming.short(first, one.resource_id)
        found[f"k{known}"] = Chain(
            (
                f"tcp flags & (fin|rst) != 0 update @{five} {{ {key5} timeout {CLOSED_SECONDS}s }} {into(one)}",
                f"meta l4proto tcp update @{five} {{ {key5} timeout {TCP_SECONDS}s }}",
                f"meta l4proto != tcp update @{five} {{ {key5} }}",
                into(one),
            )
        )
        found[f"l{known}"] = Chain((f"update @{three} {{ {key3} }}", into(one)))
        lookups5.append(f"{key5} @{five} goto k{known}")
        lookups3.append(f"{key3} @{three} goto l{known}")
        buckets.append((one.resource_id, known))
    choice5, choice3 = (_choice(balance, dict(buckets), letter) for letter in "kl")
    found[first] = Chain((*own, f"{matching.HAS_PORTS} goto {with_ports}", *lookups3, choice3))
    found[with_ports] = Chain((*lookups5, choice5))
    sets = {name: kind for pair in names.values() for name, kind in zip(pair, _KINDS, strict=True)}
    return found, sets


_KINDS = (matching.FLOWS5, matching.FLOWS3)


def _choice(balance: Balance, known: Mapping[str, str], letter: str) -> str:
    owners = [owner for owner in known if owner in balance.owners] or list(known)
    verdicts = (f"{bucket} : goto {letter}{known[owner]}" for bucket, owner in enumerate(spread(owners)))
    return f"symhash mod {BUCKETS} vmap {{ {', '.join(verdicts)} }}"
