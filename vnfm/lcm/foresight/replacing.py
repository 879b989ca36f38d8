"""Where VNFs of one chain would go if they were moved now, under wishes, and what would carry it out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from vnfm.lcm.changing import Renewal
from vnfm.lcm.foresight.moving import Gauge, Measure, Moved, No, Shift, Sight, moved
from vnfm.lcm.foresight.running import Running
from vnfm.model.change import Place
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.model.realization import VnfcThere
from vnfm.placement.inventory import HostKey
from vnfm.placement.naming import host_named
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import closed, detached, only

MOST_WAYS = 27
"""Choices of realizations that are tried where each VNF is told its host."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`to`: HOST for all of them, or ALIAS=HOST for each; or `avoid`: hosts; or `vim`. At most one of the three."""

    to: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    vim: str = ""


@dataclass(frozen=True, slots=True)
class Replacement:
    """`no`: why it cannot be. `warnings`: what is lost on the way although no packet is. `places`: what the operation
    is told, so that it does this or nothing."""

    running: Running
    aliases: tuple[str, ...]
    shifts: tuple[Shift, ...] = ()
    no: No | None = None
    before: Measure | None = None
    after: Measure | None = None
    warnings: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """Of each VNFC."""
        return tuple(Place(s.alias, s.vdu_id, s.index, s.after.vim, s.after.host, s.after.runtime) for s in self.shifts)

    @property
    def stays(self) -> bool:
        """Whether nothing would go anywhere else."""
        return bool(self.shifts) and all(s.stays for s in self.shifts)


def replacement(one: Running, aliases: Sequence[str], wish: Wish, now: Snapshot, sight: Sight) -> Replacement:
    """Raises ProblemError `bad-request` for wishes that contradict each other, `not-found`, `unsupported` for what is
    in no chain, `conflict` while an operation is open on the chain."""
    if sum((bool(wish.to), bool(wish.avoid), bool(wish.vim))) > 1:
        raise problem("bad-request", "to, avoid, vim: expected at most one of them")
    if one.chain is None:
        raise problem(
            "unsupported",
            f"VNF {one.name} stands alone, and no operation moves such a VNF while it runs: `vnfm vnf terminate` and "
            "`vnfm vnf instantiate` place it anew, with other addresses",
            instance=one.id,
        )
    if one.busy:
        raise problem(
            "conflict",
            f"an operation on chain {one.name} is open, and what it does decides what can be moved: `vnfm op show "
            f"{one.busy[:8]}`",
            instance=one.id,
        )
    chosen = tuple(dict.fromkeys(aliases))
    renewal = Renewal(one.of(chosen))
    to = _to(wish, chosen, now)
    forced = _forced(one, renewal, to, now, sight) if len(set(to.values())) > 1 else None
    found = forced or moved(one, renewal, _open(one, wish, to, now), sight, told=True)
    gauge = Gauge.of(detached(now))
    before = gauge.measured(one)
    if isinstance(found, No):
        return Replacement(one, chosen, no=found, before=before)
    if to and (astray := [s for s in found.shifts if s.alias in to and s.after.key != to[s.alias]]):
        where = ", ".join(f"{s.alias} to {s.after.host}" for s in astray)
        no = No("combination", f"not all of them find room where they are told to go; possible would be: {where}")
        return Replacement(one, chosen, no=no, before=before)
    return Replacement(
        one,
        chosen,
        found.shifts,
        before=before,
        after=gauge.measured(found.running),
        warnings=warnings(one, found.shifts),
    )


def _to(wish: Wish, aliases: Sequence[str], now: Snapshot) -> dict[str, HostKey]:
    """By alias."""
    found: dict[str, HostKey] = {}
    for word in wish.to:
        alias, equals, host = word.partition("=")
        if not equals:
            found.update(dict.fromkeys(aliases, host_named(now, word, "to")))
        elif alias in aliases:
            found[alias] = host_named(now, host, "to")
        else:
            raise problem("bad-value", f"to: {alias!r} is none of the VNFs to be moved: {', '.join(aliases)}")
    if found and (missing := [a for a in aliases if a not in found]):
        raise problem("bad-value", f"to: says nothing of {', '.join(missing)}; name a host for each, or one for all")
    return found


def _open(one: Running, wish: Wish, to: Mapping[str, HostKey], now: Snapshot) -> Snapshot:
    """What the wishes leave, and the hosts that the rest of the chain is on, closed."""
    hosts = {h.key for h in now.hosts}
    if wish.avoid:
        avoided = {now.machine[host_named(now, name, "avoid")] for name in wish.avoid}
        on_it = {k for k in hosts if any(now.machine[x] in avoided for x in now.lineage[k])}
        return closed(now, on_it, "it is to be avoided")
    if to:
        wanted, why = set(to.values()), f"only {', '.join(sorted({k[1] for k in to.values()}))} is asked for"
    elif wish.vim:
        wanted, why = {k for k in hosts if k[0] == wish.vim}, f"only VIM {wish.vim} is asked for"
        if not wanted:
            known = ", ".join(sorted({k[0] for k in hosts})) or "none"
            raise problem("not-found", f"vim: no VIM {wish.vim!r} tells hosts; there are: {known}", instance=wish.vim)
    else:
        return detached(now)
    used = {(v.vim, v.spec.host) for v in one.stands.vnfcs} | {(s.vim, s.spec.host) for s in one.stands.saps}
    stage = {below for k in (wanted | used) & hosts for below in now.lineage[k]}
    return closed(only(now, stage), stage - wanted, why)


def _forced(one: Running, renewal: Renewal, to: Mapping[str, HostKey], now: Snapshot, sight: Sight) -> Moved | None:
    """Each VNF told its host: as realizations that they have now, then as others."""
    snapshot = detached(now)
    mine = [v for v in one.stands.vnfcs if v.alias in to]
    for runtimes in islice(product(*(_runtimes(v, to[v.alias], now) for v in mine)), MOST_WAYS):
        places = tuple(
            Place(v.alias, v.vdu_id, v.index, *to[v.alias], runtime) for v, runtime in zip(mine, runtimes, strict=True)
        )
        found = moved(one, replace(renewal, places=places), snapshot, sight, told=True)
        if isinstance(found, Moved):
            return found
    return None


def _runtimes(vnfc: VnfcThere, key: HostKey, now: Snapshot) -> list[Runtime]:
    """The present one first."""
    offered = now.by_key[key].runtimes
    return sorted(offered, key=lambda r: (r is not vnfc.spec.runtime, r.value))


def warnings(one: Running, shifts: Sequence[Shift]) -> tuple[str, ...]:
    """What a move does not carry over."""
    said = []
    for alias in dict.fromkeys(s.alias for s in shifts if not s.stays):
        lane = one.wanted.lanes[alias]
        moving = {s.vdu_id for s in shifts if s.alias == alias}
        kept = sorted({name for v in lane.flavour.vdus if v.id in moving for name in v.storages})
        said.append(
            f"{alias} starts anew from its image: what it keeps in memory or on its disk is not carried over, and "
            "connections that it tracks or translates go on only where the VNF picks them up from the middle"
        )
        if kept:
            said.append(f"{alias}: its storage {', '.join(kept)} begins empty")
    return tuple(said)
