"""Bringing a fabric from what is in force to what its paths want: patches, one transaction, draining."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from plugins.local.net import courses, naming, netns, nft, patches, rtnl, ruleset, steering
from plugins.local.net.courses import Layout, PathState
from plugins.local.net.errors import HostRefusedError, NotThereError
from plugins.local.net.facts import Facts
from plugins.local.net.links import Checkpoint, remove_namespace
from plugins.local.net.patches import Patch
from plugins.local.net.plan import LinkPlan
from plugins.local.net.ruleset import Found, Ruleset
from plugins.local.net.specs import State, Wiring

_ATTEMPTS = 4
DRAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class View:
    """All that stamps say of a fabric. `beside` names ends of pairs whose frames take the fabric for now, not the wire
    that would do as well."""

    fabric: str
    states: Sequence[PathState]
    plans: Sequence[LinkPlan]
    facts: Facts
    beside: frozenset[str] = frozenset()

    def layout(self, strict: str = "") -> Layout:
        """The courses of all paths; of the `strict` one it is said what cannot be joined."""
        is_strict = {strict}.__contains__
        return courses.layout(self.states, self.plans, self.facts, self.fabric, is_strict, self.beside)

    @property
    def port_names(self) -> frozenset[str]:
        """Every port that is or may be in the fabric."""
        return frozenset(
            naming.port_name(port.member.resource_id, port.member.cp_id)
            for plan in self.plans
            if plan.fabric == self.fabric and plan.wiring is not Wiring.BRIDGE
            for port in plan.ports
        )

    @property
    def is_needed(self) -> bool:
        """Whether a link has ports in the fabric."""
        return any(plan.carrier == self.fabric for plan in self.plans)


@dataclass(frozen=True, slots=True)
class Switched:
    """How long it took: `switch_us` from the first to the last change that traffic sees, `drain_us` waiting then."""

    switch_us: int = 0
    drain_us: int = 0


def devices(namespace: str) -> dict[str, int]:
    """The index of each device in a namespace, by name; none where there is no such namespace."""
    if not netns.exists(namespace):
        return {}
    with netns.route_socket(namespace) as route:
        listed = [rtnl.parse_device(answer) for answer in route.dump(rtnl.dump_devices())]
    return {device.name: device.index for device in listed}


def found_in(fabric: str) -> Found:
    """The fabric's table as the kernel has it."""
    listing = nft.list_table(fabric, naming.TABLE) if netns.exists(fabric) else None
    return ruleset.parse(listing) if listing is not None else Found()


def turn(before: View, wanted: View, checkpoint: Checkpoint) -> Switched:
    """Switch from the paths as they were to what is wanted of them, all ports at once.

    Ends of pairs leave their wires one by one, and come back to them one by one. While they do, the fabric leads where
    the wires lead: were the ways different, frames could go round in circles until the last end has followed.
    """
    old, new = frozenset(before.layout().patched), frozenset(wanted.layout().patched)
    if new - old:
        reconcile(replace(before, beside=new), checkpoint)
    if not old - new:
        return reconcile(wanted, checkpoint, drain=True)
    switched = reconcile(replace(wanted, beside=old), checkpoint, drain=True)
    back = reconcile(wanted, checkpoint, drain=True)
    return replace(switched, drain_us=switched.drain_us + back.drain_us)


def reconcile(view: View, checkpoint: Checkpoint, *, drain: bool = False) -> Switched:
    """Switch to what the paths want of the ports that are there.

    With `drain`, what leaves the paths goes on where it went for a moment after the switch, so that what is still
    inside a removed hop is not lost.
    """
    layout = view.layout()
    wanted_patches = _patches_wanted(layout)
    for patch in wanted_patches.values():
        patches.prepare(patch, checkpoint)
    indexes = devices(view.fabric)
    back_to_wire = _patches_unwanted(view, wanted_patches, indexes)
    began, is_leaving = _apply(
        view, layout, checkpoint, lambda: patches.undivert(back_to_wire, checkpoint), keep_all=drain
    )
    patches.divert(wanted_patches.values(), checkpoint)
    switched = time.monotonic_ns()
    if drain and (is_leaving or back_to_wire):
        checkpoint("path.draining")
        time.sleep(DRAIN_SECONDS)
    if drain:
        _apply(view, layout, checkpoint, lambda: None, keep_all=False)
    drained = time.monotonic_ns()
    for patch in back_to_wire:
        patches.remove(patch, checkpoint)
    if not wanted_patches and not view.is_needed and netns.exists(view.fabric):
        remove_namespace(view.fabric)
    return Switched((switched - began) // 1000, (drained - switched) // 1000)


def _patches_wanted(layout: Layout) -> dict[str, Patch]:
    """By port name; an end whose namespace went with its compute needs none."""
    found = {name: patches.patch_of(end) for name, end in layout.patched.items()}
    return {name: patch for name, patch in found.items() if patch.interface in devices(patch.namespace)}


def _patches_unwanted(view: View, wanted: Container[str], indexes: Mapping[str, int]) -> list[Patch]:
    return [
        patches.patch_of(courses.End(port.member.resource_id, plan, port, name))
        for plan in view.plans
        if plan.wiring is Wiring.PAIR and plan.fabric == view.fabric
        for port in plan.ports
        if (name := naming.port_name(port.member.resource_id, port.member.cp_id)) in indexes and name not in wanted
    ]


def _apply(
    view: View, layout: Layout, checkpoint: Checkpoint, first: Callable[[], None], *, keep_all: bool
) -> tuple[int, bool]:
    """One transaction to what is wanted, right after `first`.

    When that began, and whether ports are left in force that are wanted no more.
    """
    failures = 0
    while True:
        indexes = devices(view.fabric)
        wanted = steering.wanted(layout, indexes)
        found = found_in(view.fabric)
        text = ruleset.transaction(found, wanted, indexes, kept_counters=view.port_names, keep_all=keep_all)
        began = time.monotonic_ns()
        first()
        if text and indexes and (wanted.chains or found.exists):
            checkpoint("path.computed")
            try:
                nft.apply(view.fabric, text)
            except HostRefusedError:
                # A tap may have gone between looking and switching: look again.
                failures += 1
                if failures == _ATTEMPTS:
                    raise
                continue
        return began, bool(ruleset.leaving(found, wanted, indexes))


def check_present(view: View, path_id: str) -> None:
    """NotThereError where a port that a path needs is not there."""
    layout = view.layout(path_id)
    steering.check_conflicts(layout, path_id)
    indexes = devices(view.fabric)
    absent = {one.port for one in layout.courses if one.path_id == path_id} - indexes.keys() - layout.patched.keys()
    if not absent:
        return
    for state in view.states:
        if state.spec.id != path_id:
            continue
        for hop in state.spec.hops:
            for one in hop.instances:
                for cp in filter(None, (hop.ingress_cp, hop.egress_cp)):
                    if naming.port_name(one.resource_id, cp) in absent:
                        if one.kind.is_edge:
                            raise NotThereError(f"hop {hop.name}: link {one.resource_id} is not joined: join it first")
                        raise NotThereError(
                            f"hop {hop.name}: port {cp} of {one.resource_id} is not there: is its compute running?"
                        )


def condition(view: View, path_id: str) -> tuple[State, str]:
    """Whether a path is in force as wanted, and if not, why."""
    try:
        layout = view.layout(path_id)
    except NotThereError as error:
        return State.FAILED, error.detail
    own = sorted({course.port for course in layout.courses if course.path_id == path_id})
    if own and not netns.exists(view.fabric):
        return State.FAILED, f"namespace {view.fabric} is missing"
    try:
        indexes, found = devices(view.fabric), found_in(view.fabric)
    except NotThereError as error:
        return State.FAILED, error.detail
    gone = [port for port in own if port not in indexes]
    if gone:
        return State.FAILED, f"port {view.fabric}/{gone[0]} is missing"
    wanted = steering.wanted(layout, indexes)
    wrong = ruleset.amiss(found, _only(wanted, own), indexes)
    if wrong:
        return State.FAILED, f"port {view.fabric}/{min(wrong)} is not steered as wanted"
    return _progress(view, layout, path_id, own, ruleset.leaving(found, wanted, indexes), indexes)


def _progress(
    view: View, layout: Layout, path_id: str, own: Sequence[str], leaving: Iterable[str], indexes: Mapping[str, int]
) -> tuple[State, str]:
    """Whether a path whose rules are in force has more to come."""
    for name in own:
        if name in layout.patched and not patches.is_whole(patches.patch_of(layout.patched[name])):
            return State.CHANGING, f"port {view.fabric}/{name} is not joined to its pair's end yet"
    if any(state.turns for state in view.states if state.spec.id == path_id):
        return State.CHANGING, "flows of replicas are learnt or drained"
    unwanted = _patches_unwanted(view, layout.patched, indexes)
    for name in (*leaving, *(patch.far for patch in unwanted)):
        return State.CHANGING, f"port {view.fabric}/{name} left the paths and is drained"
    return State.RUNNING, ""


def _only(wanted: Ruleset, ports: Sequence[str]) -> Ruleset:
    return Ruleset({name: chain for name, chain in wanted.chains.items() if name in ports})
