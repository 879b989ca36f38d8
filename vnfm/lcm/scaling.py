"""How many instances a scaling asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.routes import Position
from vnfm.model.policies import ScalingAspect
from vnfm.model.problem import problem
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour


@dataclass(frozen=True, slots=True)
class Scaled:
    """Instances by VDU, of those VDUs that change, and the level of the aspect afterwards."""

    counts: Mapping[str, int]
    levels: Mapping[str, int]


def scaled_hop(lane: Lane, positions: Iterable[Position], replicas: int) -> dict[str, int]:
    """That many instances of the VDU behind the VNF's chain-facing connection points. Raises ProblemError
    `unsupported`, `bad-value`."""
    facing = lane.facing(positions)
    if not facing:
        raise problem(
            "unsupported",
            f"scale.alias: VNF {lane.alias} is entered and left by one port, or by ports of two VDUs: a flow cannot be "
            "kept with one of several instances of it",
            instance=lane.alias,
        )
    vdu = next(v for v in lane.flavour.vdus if v.id == facing)
    check_bounds(lane.alias, "scale.replicas", vdu, replicas)
    return {facing: replicas}


def scaled_by_aspect(
    alias: str, flavour: Flavour, counts: Mapping[str, int], levels: Mapping[str, int], params: Mapping[str, Any]
) -> Scaled:
    """SOL003 5.5.2.5: number_of_steps of an aspect, out or in. Raises ProblemError `unsupported`, `bad-value`."""
    aspect = _aspect(alias, flavour, str(params.get("aspect_id", "")))
    steps, out = int(params.get("number_of_steps", 1)), params.get("type") == "SCALE_OUT"
    now = levels.get(aspect.id, initial_level(flavour, aspect.id))
    wanted = now + steps if out else now - steps
    if not 0 <= wanted <= aspect.max_level:
        raise problem(
            "bad-value",
            f"number_of_steps: aspect {aspect.id} of VNF {alias} is at level {now} of 0 to {aspect.max_level}; "
            f"{steps} steps {'out' if out else 'in'} would lead to {wanted}",
            instance=alias,
        )
    low, high = sorted((now, wanted))
    changed = {}
    for vdu_id, deltas in aspect.step_deltas.items():
        vdu = next((v for v in flavour.vdus if v.id == vdu_id), None)
        if vdu is None:
            continue
        delta = sum(_delta(deltas, step) for step in range(low, high))
        changed[vdu_id] = counts.get(vdu_id, vdu.initial_instances) + (delta if out else -delta)
        check_bounds(alias, "number_of_steps", vdu, changed[vdu_id])
    return Scaled(changed, {**levels, aspect.id: wanted})


def initial_level(flavour: Flavour, aspect_id: str, level_id: str = "") -> int:
    """Of an aspect at an instantiation level; at the default one for an empty id."""
    levels = flavour.instantiation_levels
    chosen = next((x for x in levels if (x.id == level_id if level_id else x.default)), levels[0] if levels else None)
    return chosen.scale_levels.get(aspect_id, 0) if chosen else 0


def check_bounds(alias: str, field: str, vdu: Vdu, count: int) -> None:
    """The vdu_profile's numbers hold. Raises ProblemError `bad-value`."""
    if not vdu.min_instances <= count <= max(vdu.max_instances, vdu.min_instances):
        raise problem(
            "bad-value",
            f"{field}: VDU {vdu.id} of VNF {alias} would have {count} instances; its vdu_profile admits "
            f"{vdu.min_instances} to {vdu.max_instances}",
            instance=alias,
        )


def _delta(deltas: tuple[int, ...], step: int) -> int:
    """SOL001 6.8.4: the last delta holds for the steps behind it."""
    return deltas[min(step, len(deltas) - 1)] if deltas else 0


def _aspect(alias: str, flavour: Flavour, aspect_id: str) -> ScalingAspect:
    known = ", ".join(a.id for a in flavour.scaling_aspects) or "none"
    if not flavour.scaling_aspects:
        raise problem("unsupported", f"VNF {alias}: its VNFD has no scaling aspects", instance=alias)
    if not aspect_id and len(flavour.scaling_aspects) == 1:
        return flavour.scaling_aspects[0]
    found = next((a for a in flavour.scaling_aspects if a.id == aspect_id), None)
    if found is None:
        raise problem(
            "bad-value", f"aspect_id: VNF {alias} has no aspect {aspect_id!r}; it has: {known}", instance=alias
        )
    return found
