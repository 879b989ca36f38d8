"""What stands once an operation has ended: a fold over its steps. Pure.

COMPLETED: what was allocated is there, what was removed is gone. ROLLED_BACK: as before. FAILED, given up half-way: as
far as it came. There the switch of the paths decides what serves: once one was begun, the new is in service and the
old is left over, as far as it was not removed; before that it is the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from vnfm.lcm.actions import generation
from vnfm.lcm.healing import Expected
from vnfm.lcm.machine import CLEAN, IN_FLIGHT, St
from vnfm.lcm.operation import Operation
from vnfm.lcm.steps import Step
from vnfm.model.realization import (
    Leftover,
    LinkThere,
    PathThere,
    Realization,
    SapThere,
    VnfcThere,
)


def realized(before: Realization, operation: Operation) -> Realization:
    """What stands now that the operation is in a final state."""
    starts: dict[str, int] = {}
    for entry in operation.log:
        starts[entry.step] = starts.get(entry.step, 0) + (entry.to in IN_FLIGHT)
    return _after(before, operation.steps, operation.status, starts)


def expected(before: Realization, steps: Sequence[Step]) -> Realization:
    """What stands if every step succeeds."""
    return _after(before, steps, dict.fromkeys((s.key for s in steps), St.DONE), {})


def brought(operation: Operation) -> tuple[Expected, ...]:
    """The VNFCs that a chain's creation, which is COMPLETED, has brought into service, as they are on record."""
    found: list[Expected] = []
    counts: dict[tuple[str, str], int] = {}
    for s in sorted((s for s in operation.steps if s.compute), key=lambda s: (s.vdu_id, s.index)):
        number = counts[s.vnf_instance_id, s.vdu_id] = counts.get((s.vnf_instance_id, s.vdu_id), -1) + 1
        found.append(
            Expected(
                vnfc_id=s.allocates,
                vdu_id=s.vdu_id,
                vim=s.vim,
                tenant=operation.tenant,
                vnf_instance_id=s.vnf_instance_id,
                vnf=f"{operation.target}/{operation.subjects[s.vnf_instance_id]}",
                chain_id=operation.chain_id,
                position=f"{s.vnf_instance_id}/{s.vdu_id}/{number}",
            )
        )
    return tuple(found)


def switched(steps: Iterable[Step], status: Mapping[str, St]) -> bool:
    """Whether the new is in service: a path began to switch; where none is concerned, all that is new is there, or a
    removal has begun."""
    states = {s.key: status[s.key] for s in steps}
    paths = [states[s.key] for s in steps if s.path]
    made = [states[s.key] for s in steps if s.makes]
    if paths:
        return any(state not in CLEAN for state in paths)
    gone = [states[s.key] for s in steps if s.removal]
    return (bool(made) and all(state is St.DONE for state in made)) or any(state is not St.PENDING for state in gone)


def _after(
    before: Realization, steps: Sequence[Step], status: Mapping[str, St], starts: Mapping[str, int]
) -> Realization:
    changing = any(s.former for s in steps) or before != Realization()
    serves = switched(steps, status) or not changing
    links = {x.spec.resource_id: x for x in before.links}
    vnfcs = {x.resource_id: x for x in before.vnfcs}
    saps = {x.spec.resource_id: x for x in before.saps}
    paths = {x.spec.resource_id: x for x in before.paths}
    left = {x.resource_id: x for x in before.leftovers}
    for step in steps:
        state = status[step.key]
        if step.path:
            if path := _path(step, state, paths.get(step.allocates), starts.get(step.key, 1)):
                paths[step.allocates] = path
        elif step.makes and state not in CLEAN:
            if not serves or state is not St.DONE:
                assert step.resource_kind
                left[step.makes] = Leftover(step.makes, step.resource_kind, step.vim, step.title, step.vnf_instance_id)
            elif step.link:
                links[step.makes] = _link(step)
            elif step.sap:
                saps[step.makes] = SapThere(step.vim, step.sap)
            elif step.compute:
                vnfcs[step.makes] = _vnfc(step)
        elif step.removal and (serves or state is St.DONE):
            gone = step.removal.resource_id
            vnfc = vnfcs.pop(gone, None)
            for kind in (links, saps, paths, left):
                kind.pop(gone, None)
            if state is not St.DONE:
                name = step.title.removeprefix("remove ")
                ports = vnfc.spec.ports if vnfc else ()
                left[gone] = Leftover(gone, step.removal.kind, step.vim, name, step.vnf_instance_id, ports)
    return Realization(
        tuple(links.values()),
        tuple(vnfcs.values()),
        tuple(saps.values()),
        tuple(paths.values()),
        tuple(left.values()),
    )


def _path(step: Step, state: St, before: PathThere | None, starts: int) -> PathThere | None:
    assert step.path
    name = step.key.removeprefix("path ")
    number = generation(step, starts)
    if state is St.PENDING:
        return before
    if state is St.UNDONE:
        if before is None or step.former is None:
            return None
        return replace(before, spec=replace(step.former, generation=number), in_doubt=False)
    return PathThere(name, step.vim, replace(step.path, generation=number), in_doubt=state is not St.DONE)


def _link(step: Step) -> LinkThere:
    assert step.link
    key = step.key.removeprefix("link ").removeprefix(f"{step.lane}/" if step.lane else "")
    return LinkThere(key, step.vim, step.link, step.lane, step.vnf_instance_id)


def _vnfc(step: Step) -> VnfcThere:
    assert step.compute
    index = step.index or int(step.key.rpartition("/")[2])  # steps of before they had an index end in it
    return VnfcThere(step.lane, step.vnf_instance_id, step.vdu_id, index, step.vim, step.compute)
