"""Steps that bring software images to the VIMs: before anything else, so that what can fail early does."""

from __future__ import annotations

from collections.abc import Container, Iterable

from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.steps import ImageRef, Step, StepKind
from vnfm.placement.plan import Plan


def image_steps(
    lanes: Iterable[Lane], plan: Plan, present: Container[tuple[str, str]] = frozenset()
) -> tuple[Step, ...]:
    """One step an image and VIM, of the VDUs that the plan places. `present` are pairs of VIM and digest of which is
    known that they are there: something runs from them."""
    placed: dict[str, dict[str, set[str]]] = {}  # alias -> VIM -> VDUs
    for assignment in plan.assignments:
        placed.setdefault(assignment.alias, {}).setdefault(assignment.vim, set()).add(assignment.vdu)
    steps: dict[tuple[str, str], Step] = {}
    for lane in lanes:
        for vim, vdus in sorted(placed.get(lane.alias, {}).items()):
            for image in lane.images(vdus):
                sha256 = lane.blob(image)
                if (vim, sha256) in present:
                    continue
                steps.setdefault(
                    (vim, sha256),
                    Step(
                        key=f"image {sha256[:12]} on {vim}",
                        kind=StepKind.PUT_IMAGE,
                        title=f"image {image.name}",
                        vim=vim,
                        lane=lane.alias,
                        vnf_instance_id=lane.instance_id,
                        image=ImageRef(sha256, image.format.value),
                    ),
                )
    return tuple(steps.values())
