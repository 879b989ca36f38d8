"""Steps that bring software images to the VIMs: before anything else, so that what can fail early does."""

from __future__ import annotations

from collections.abc import Iterable

from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.steps import ImageRef, Step, StepKind
from vnfm.placement.types import Plan


def image_steps(lanes: Iterable[Lane], plan: Plan) -> tuple[Step, ...]:
    """One step an image and VIM."""
    vims_of: dict[str, set[str]] = {}
    for assignment in plan.assignments:
        vims_of.setdefault(assignment.alias, set()).add(assignment.vim)
    steps: dict[tuple[str, str], Step] = {}
    for lane in lanes:
        for image in lane.images():
            for vim in sorted(vims_of.get(lane.alias, ())):
                sha256 = lane.blob(image)
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
