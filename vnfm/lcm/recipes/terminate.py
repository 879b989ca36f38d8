"""CHAIN_TERMINATE and TERMINATE: paths away, then VNFCs and ends, then links. No way back once it has begun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vnfm.lcm.steps import Removal, Step, StepKind
from vnfm.model.resources import ResourceKind

_ORDER = (
    (ResourceKind.PATH,),
    (ResourceKind.COMPUTE, ResourceKind.SAP),
    (ResourceKind.LINK, ResourceKind.VOLUME),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Something that may exist on a VIM."""

    resource_id: str
    kind: ResourceKind
    vim: str
    name: str
    lane: str = ""
    vnf_instance_id: str = ""


def terminate(resources: Iterable[Standing]) -> tuple[Step, ...]:
    """A removal for each, wave by wave."""
    standing = list(resources)
    steps: list[Step] = []
    before: tuple[str, ...] = ()
    for kinds in _ORDER:
        wave = [_removal(r, before) for r in standing if r.kind in kinds]
        steps += wave
        before = tuple(s.key for s in wave) or before
    return tuple(steps)


def _removal(resource: Standing, needs: tuple[str, ...]) -> Step:
    return Step(
        key=f"remove {resource.name} {resource.resource_id[:8]}",
        kind=StepKind.TERMINATE,
        title=f"remove {resource.name}",
        vim=resource.vim,
        needs=needs,
        lane=resource.lane,
        vnf_instance_id=resource.vnf_instance_id,
        forward_only=True,
        removal=Removal(resource.resource_id, resource.kind),
    )
