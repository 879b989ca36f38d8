"""What a path's stamp holds, and what a new generation of a path changes: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from plugins.local.net import matching, naming
from plugins.local.net.courses import PathState, Turn
from plugins.local.net.errors import AlreadyExistsError, InvalidSpecError, StaleGenerationError
from plugins.local.net.specs import Hop, Match, MemberKind, PathSpec, Replica


def check(spec: PathSpec) -> None:
    """InvalidSpecError naming the first field that has no sense."""
    naming.check_id("path id", spec.id)
    naming.check_id("chain id", spec.chain_id)
    if len(spec.hops) < 2:
        raise InvalidSpecError(f"hops: expected two at least, got {len(spec.hops)}")
    names = [hop.name for hop in spec.hops]
    if len(set(names)) != len(names) or not all(names):
        raise InvalidSpecError(f"hops: expected names of their own, got {names}")
    for hop in spec.hops[:-1]:
        if not hop.egress_cp:
            raise InvalidSpecError(f"hop {hop.name}: egress_cp is missing")
    for hop in spec.hops[1:]:
        if not hop.ingress_cp:
            raise InvalidSpecError(f"hop {hop.name}: ingress_cp is missing")
    for hop in spec.hops:
        ids = [one.resource_id for one in hop.instances]
        if hop.resource_id not in ids or len(set(ids)) != len(ids):
            raise InvalidSpecError(f"hop {hop.name}: replicas: expected each once, {hop.resource_id} among them")
    for hop in (spec.hops[0], spec.hops[-1]):
        if len(hop.instances) > 1:
            raise InvalidSpecError(f"hop {hop.name}: replicas: a path begins and ends at one place")
    matching.check(spec.match)


def to_stamp(state: PathState) -> dict[str, Any]:
    """The stamp of a path."""
    spec = state.spec
    return {
        "id": spec.id,
        "chain_id": spec.chain_id,
        "generation": spec.generation,
        "hops": [
            [hop.resource_id, hop.kind.value, hop.ingress_cp, hop.egress_cp, hop.name, _replicas(hop.replicas)]
            for hop in spec.hops
        ],
        "match": asdict(spec.match),
        "turns": {
            name: {"owners": list(turn.owners), "leaving": _replicas(turn.leaving)}
            for name, turn in state.turns.items()
        },
        "owner": dict(spec.owner),
    }


def _replicas(found: tuple[Replica, ...]) -> list[list[str]]:
    return [[one.resource_id, one.kind.value] for one in found]


def _read_replicas(listed: Any) -> tuple[Replica, ...]:
    return tuple(Replica(str(resource_id), MemberKind(kind)) for resource_id, kind in listed)


def from_stamp(stamp: Mapping[str, Any]) -> PathState | None:
    """The path out of its stamp; None where the stamp is unreadable."""
    try:
        hops = tuple(
            Hop(resource, MemberKind(kind), ingress, egress, name, _read_replicas(more[0] if more else ()))
            for resource, kind, ingress, egress, name, *more in stamp["hops"]
        )
        spec = PathSpec(
            str(stamp["id"]),
            hops,
            str(stamp["chain_id"]),
            int(stamp["generation"]),
            dict(stamp["owner"]),
            Match(**stamp.get("match", {})),
        )
        turns = {
            str(name): Turn(tuple(turn["owners"]), _read_replicas(turn["leaving"]))
            for name, turn in stamp.get("turns", {}).items()
        }
        return PathState(spec, turns)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def check_generation(old: PathSpec | None, spec: PathSpec) -> None:
    """AlreadyExistsError or StaleGenerationError where the new one may not replace the old one."""
    if old is None:
        return
    if old.chain_id != spec.chain_id:
        raise AlreadyExistsError(f"path {spec.id} is there for another chain: terminate it first")
    if spec.generation < old.generation:
        raise StaleGenerationError(f"path {spec.id} is at generation {old.generation}, {spec.generation} is older")
    if spec.generation == old.generation and (spec.hops, spec.match) != (old.hops, old.match):
        raise StaleGenerationError(
            f"path {spec.id} has other hops at generation {old.generation}: the generation must rise with the hops"
        )


def turned(old: PathState | None, spec: PathSpec) -> PathState:
    """The path on its way from the old hops to the new ones.

    Where one instance becomes several, its flows are learnt before others get any. Where some of several leave and
    none comes, they keep the flows that they know; one that is replaced is taken for dead.
    """
    if old is None:
        return PathState(spec)
    if old.spec.generation == spec.generation:
        return PathState(spec, old.turns)
    before = {hop.name: hop for hop in old.spec.hops}
    turns = {hop.name: _turn(old, before[hop.name], hop) for hop in spec.hops if hop.name in before}
    return PathState(spec, {name: turn for name, turn in turns.items() if turn != Turn()})


def _turn(old: PathState, before: Hop, hop: Hop) -> Turn:
    if (before.ingress_cp, before.egress_cp) != (hop.ingress_cp, hop.egress_cp):
        return Turn()
    was, now = before.instances, hop.instances
    pending = old.turns.get(hop.name, Turn())
    if len(was) == 1 and len(now) > 1 and was[0] in now and not pending.leaving:
        return Turn(owners=(was[0].resource_id,))
    if any(one not in was for one in now) or len(was) + len(pending.leaving) == 1:
        return Turn()
    return Turn(leaving=tuple(one for one in (*was, *pending.leaving) if one not in now))
