"""Paths by their stamps: put in force, settled, restored, taken out of force, counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from plugins.local.net import balance, facts, naming, netns, nft, pathstamps, steering, switch
from plugins.local.net.courses import PathState
from plugins.local.net.errors import NotThereError
from plugins.local.net.links import Checkpoint, remove_namespace
from plugins.local.net.plan import LinkPlan, Port, link_from_stamp, plans_of
from plugins.local.net.specs import PathSpec, State
from plugins.local.net.stamps import Stamps
from plugins.local.net.switch import Switched, View

LEARN_SECONDS = 1.0
FLOWS_DRAIN_SECONDS = 10.0
FLOW_IDLE_SECONDS = 1.0


def fabric_of(spec: PathSpec) -> str:
    """The namespace of a path's steered ports."""
    return naming.fabric_name(spec.chain_id)


def fabric_of_stamp(path_id: str, stamp: Mapping[str, Any]) -> str:
    """The same out of a stamp; one that names no chain stands in no fabric that exists."""
    return naming.fabric_name(str(stamp.get("chain_id") or path_id))


def state_of(stamps: Stamps, path_id: str) -> PathState | None:
    """The path as stamped; None where there is none, or its stamp is unreadable."""
    stamp = stamps.paths.read(path_id)
    return None if stamp is None else pathstamps.from_stamp(stamp)


def known(stamps: Stamps, path_id: str) -> PathSpec:
    """The path as asked for; NotThereError for an unknown one."""
    state = state_of(stamps, path_id)
    if state is None:
        raise NotThereError(f"path {path_id} is not there: allocate it", word="not-found")
    return state.spec


def plans(stamps: Stamps) -> list[LinkPlan]:
    """All links by their parts."""
    found = (link_from_stamp(stamp) for stamp in stamps.links.all().values())
    return [plan for spec in found if spec is not None for plan in plans_of(spec)]


def _states_in(stamps: Stamps, fabric: str) -> list[PathState]:
    found = (pathstamps.from_stamp(stamp) for stamp in stamps.paths.all().values())
    return [one for one in found if one and fabric_of(one.spec) == fabric]


def view(stamps: Stamps, fabric: str, *, without_path: str = "", without_link: str = "") -> View:
    """All that the stamps say of a fabric."""
    states = [one for one in _states_in(stamps, fabric) if one.spec.id != without_path]
    links = [plan for plan in plans(stamps) if plan.id != without_link]
    return View(fabric, states, links, facts.gathered(stamps.ports.all()))


def as_seen(stamps: Stamps, spec: PathSpec) -> list[LinkPlan]:
    """All links by their parts, a patched port with the interface by which its frames come and go."""
    patched = view(stamps, fabric_of(spec)).layout().patched
    return [
        replace(plan, ports=tuple(_as_seen(port) if _name_of(port) in patched else port for port in plan.ports))
        for plan in plans(stamps)
    ]


def _as_seen(port: Port) -> Port:
    return replace(port, interface=naming.patch_name(port.member.cp_id))


def _name_of(port: Port) -> str:
    return naming.port_name(port.member.resource_id, port.member.cp_id)


def version_of(stamps: Stamps, spec: PathSpec) -> int:
    """The IP version that the ports of a path's hops speak: 6 where all with an address have IPv6 ones only."""
    known = facts.gathered(stamps.ports.all())
    names = [naming.port_name(h.resource_id, cp) for h in spec.hops for cp in (h.ingress_cp, h.egress_cp) if cp]
    found = [known[name] for name in names if name in known]
    return 6 if found and all(one.has_ipv6 and not one.addresses for one in found) else 4


def begin(stamps: Stamps, spec: PathSpec, checkpoint: Checkpoint) -> Switched:
    """Put the path in force; its locks are held. Replicas that change are settled by `settle` then."""
    old = state_of(stamps, spec.id)
    pathstamps.check_generation(old.spec if old else None, spec)
    state = pathstamps.turned(old, spec)
    fabric = fabric_of(spec)
    others = view(stamps, fabric, without_path=spec.id)
    wanted = replace(others, states=[*others.states, state])
    switch.check_present(wanted, spec.id)
    stamps.paths.write(spec.id, pathstamps.to_stamp(state))
    checkpoint("path.specified")
    before = replace(others, states=[*others.states, old]) if old else wanted
    done = switch.turn(before, wanted, checkpoint)
    checkpoint("path.switched")
    return done


def restore(stamps: Stamps, fabric: str, checkpoint: Checkpoint, *, without_link: str = "") -> None:
    """Bring the fabric to what the stamped paths want of the ports that are there; its lock is held.

    It goes where neither a link (but `without_link`) nor a path needs it.
    """
    if not netns.exists(fabric):
        return
    if _states_in(stamps, fabric):
        switch.reconcile(view(stamps, fabric, without_link=without_link), checkpoint)
    elif without_link and not view(stamps, fabric, without_link=without_link).is_needed:
        remove_namespace(fabric)


def remove(stamps: Stamps, path_id: str, fabric: str, checkpoint: Checkpoint) -> None:
    """Take a path out of force, and the fabric where no link needs it; their locks are held."""
    if netns.exists(fabric):
        switch.reconcile(view(stamps, fabric, without_path=path_id), checkpoint)
    checkpoint("path.darkened")
    stamps.paths.remove(path_id)


# -- replicas on their way


def _turning(stamps: Stamps, spec: PathSpec) -> PathState | None:
    state = state_of(stamps, spec.id)
    return state if state and state.turns and state.spec.generation == spec.generation else None


def is_turning(stamps: Stamps, spec: PathSpec) -> bool:
    """Whether replicas of this generation of the path are still learnt or drained."""
    return _turning(stamps, spec) is not None


def settle(stamps: Stamps, spec: PathSpec, checkpoint: Checkpoint) -> None:
    """Learning and draining are over: switch to what the path asks for; its locks are held."""
    state = _turning(stamps, spec)
    if state is None:
        return
    settled = PathState(state.spec)
    others = view(stamps, fabric_of(spec), without_path=spec.id)
    switch.reconcile(replace(others, states=[*others.states, settled]), checkpoint, drain=True)
    checkpoint("path.settled")
    stamps.paths.write(spec.id, pathstamps.to_stamp(settled))


def await_turns(
    stamps: Stamps, spec: PathSpec, sleep: Callable[[float], None] = time.sleep, patience_seconds: float = 0.0
) -> None:
    """Wait until flows are learnt, and those of replicas that leave are idle or the patience is over. No lock held."""
    state = _turning(stamps, spec)
    if state is None:
        return
    if any(turn.owners for turn in state.turns.values()):
        sleep(LEARN_SECONDS)
    leaving = [
        name
        for hop, turn in state.turns.items()
        for one in turn.leaving
        for name in balance.set_names(spec.id, hop, one.resource_id)
    ]
    deadline = time.monotonic() + (patience_seconds or FLOWS_DRAIN_SECONDS)
    while leaving and time.monotonic() < deadline:
        idle = [nft.idle_seconds(fabric_of(spec), naming.TABLE, name) for name in leaving]
        if all(one > FLOW_IDLE_SECONDS for one in idle):
            return
        sleep(0.1)


# -- counting


def counters(stamps: Stamps, chain_id: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(packets, bytes) that came in by each steered port of a chain, by (resource id, cp id)."""
    fabric = naming.fabric_name(chain_id)
    counted = switch.found_in(fabric).counters
    return {key: counted[name] for key, name in _ports_in(stamps, fabric).items() if name in counted}


def path_counters(stamps: Stamps, chain_id: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    """(packets, bytes) of each path that came in by each steered port, by (path id, resource id, cp id).

    A path that has a port to itself and takes all that comes has there the port's own count.
    """
    fabric = naming.fabric_name(chain_id)
    seen = view(stamps, fabric)
    found = switch.found_in(fabric)
    users: dict[str, set[str]] = {}
    for course in seen.layout().courses:
        users.setdefault(course.port, set()).add(course.path_id)
    counted: dict[tuple[str, str, str], tuple[int, int]] = {}
    for (resource_id, cp_id), name in _ports_in(stamps, fabric).items():
        for path_id in users.get(name, ()):
            own = found.counters.get(steering.path_counter(name, path_id))
            if own is None and len(users[name]) == 1:
                own = found.counters.get(name)
            if own is not None:
                counted[path_id, resource_id, cp_id] = own
    return counted


def _ports_in(stamps: Stamps, fabric: str) -> dict[tuple[str, str], str]:
    return {
        (port.member.resource_id, port.member.cp_id): _name_of(port)
        for plan in plans(stamps)
        if plan.fabric == fabric
        for port in plan.ports
    }


def condition(stamps: Stamps, path_id: str, fabric: str) -> tuple[State, str]:
    """Whether a path is in force as wanted, and if not, why."""
    return switch.condition(view(stamps, fabric), path_id)
