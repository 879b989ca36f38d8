"""What was foreseen, as documents (docs/surface.md, "placement")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vnfm.lcm.foresight.moving import Measure, No, Shift, Spot
from vnfm.lcm.foresight.replacing import Replacement, warnings
from vnfm.lcm.foresight.running import Running
from vnfm.lcm.foresight.supposing import Fate, Outcome, Outlook
from vnfm.lcm.foresight.tidying import Improvement, Tidied
from vnfm.placement.headroom import Headroom, headroom
from vnfm.placement.inventory import HostKey
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import Supposed, Supposition

Document = dict[str, Any]
AMOUNTS = ("cpu_milli", "memory_bytes", "hugepage_bytes", "vfs", "gpus", "disk_bytes")
FEW = 20


def outlook_document(
    asked: Supposition,
    now: Snapshot,
    then: Supposed,
    seen: Outlook,
    better: Sequence[Improvement],
    admitted: Document | None,
) -> Document:
    """All of it; its lists are `chains` and `moves`."""
    fates = seen.fates
    counts = {o: sum(f.outcome is o for f in fates) for o in Outcome}
    return {
        "supposed": _supposed(asked, then),
        "running": {
            "chains": sum(1 for r in seen.running if r.chain),
            "vnfs_alone": sum(1 for r in seen.running if not r.chain),
        },
        "summary": {
            "touched": len(fates),
            "moved": counts[Outcome.MOVED],
            "healed": counts[Outcome.HEALED],
            "recreated": counts[Outcome.RECREATED],
            "lost": counts[Outcome.LOST],
            "better": len(better),
            "moves": sum(len(f.shifts) for f in fates),
            "cost": _change([(f.before, f.after) for f in fates if f.outcome is not Outcome.LOST]),
        },
        "headroom": {"now": _headroom(headroom(now)), "then": _headroom(headroom(seen.snapshot, then.away))},
        "then": admitted,
        "untold": [{"tenant": r.tenant, "name": r.name, "why": why} for r, why in seen.untold],
        "chains": [*map(_fate, fates), *(_improved(m, Outcome.BETTER.value) for m in better)],
        "moves": [
            *(_shift(f.running, s) for f in fates for s in f.shifts),
            *(_shift(m.running, s) for m in better for s in m.shifts if not s.stays),
        ],
    }


def tidied_document(now: Snapshot, found: Tidied) -> Document:
    """Its list is `moves`, in order."""
    return {
        "summary": {
            "moves": len(found.moves),
            "vnfcs": sum(len(m.shifts) for m in found.moves),
            "servers_emptied": len({s for m in found.moves for s in m.empties}),
            "servers_pinned": found.pinned,
            "servers_without_refuge": found.tried,
            "chains_left_out": found.unlooked,
            "cost": _change([(m.before, m.after) for m in found.moves]),
        },
        "headroom": {"now": _headroom(headroom(now)), "then": _headroom(headroom(found.snapshot))},
        "moves": [{"order": at + 1, **_improved(m, "MOVED")} for at, m in enumerate(found.moves)],
    }


def replacement_document(found: Replacement) -> Document:
    """Of one chain; `operation` says what carries it out."""
    one = found.running
    return {
        "tenant": one.tenant,
        "chain": one.name,
        "chain_id": one.id,
        "aliases": list(found.aliases),
        "feasible": found.no is None,
        "stays": found.stays,
        "moves": [_shift(one, s) for s in found.shifts],
        "before": _measure(found.before),
        "after": _measure(found.after),
        "saved": _saved(found.before, found.after),
        "warnings": list(found.warnings),
        "operation": "CHAIN_UPDATE",
        "command": _command(one, found.shifts) if found.shifts and not found.stays else None,
        "refused": _no(found.no),
    }


# ---- parts ----


def _supposed(asked: Supposition, then: Supposed) -> Document:
    told: Document = {k: list(v) for k, v in asdict(asked).items() if k != "add"}
    models: dict[HostKey, list[str]] = {}
    for new, model in then.like.items():
        models.setdefault(model, []).append(new[1])
    told["add_hosts"] = [
        {"like": model[1], "vim": model[0], "count": len(ids), "ids": ids[:FEW]} for model, ids in models.items()
    ]
    return {**told, "hosts_drained": len(then.drained), "hosts_failed": len(then.failed)}


def _fate(fate: Fate) -> Document:
    return {
        **_who(fate.running),
        "outcome": fate.outcome.value,
        "why": fate.why,
        "ends": list(fate.ends),
        "before": _measure(fate.before),
        "after": _measure(fate.after),
        "saved": _saved(fate.before, fate.after),
        "command": _way(fate),
        "warnings": list(warnings(fate.running, fate.shifts)) if fate.outcome is Outcome.MOVED else [],
        "refused": _no(fate.no),
    }


def _way(fate: Fate) -> str | None:
    one = fate.running
    match fate.outcome:
        case Outcome.MOVED:
            return _command(one, fate.shifts)
        case Outcome.RECREATED if one.chain:
            return f"vnfm chain terminate {one.name}; vnfm chain delete {one.name}; vnfm chain create FILE"
        case Outcome.RECREATED:
            return f"vnfm vnf terminate {one.name}; vnfm vnf instantiate {one.name}"
        case _:
            return None  # dead VNFs are healed by themselves; of what is lost nothing is left to do


def _improved(move: Improvement, outcome: str) -> Document:
    shifts = [s for s in move.shifts if not s.stays]
    return {
        **_who(move.running),
        "outcome": outcome,
        "moves": [_shift(move.running, s) for s in shifts],
        "empties": [{"vim": vim, "host": host} for vim, host in move.empties],
        "before": _measure(move.before),
        "after": _measure(move.after),
        "saved": _saved(move.before, move.after),
        "command": _command(move.running, move.shifts),
        "warnings": list(warnings(move.running, move.shifts)),
    }


def _who(one: Running) -> Document:
    kind = {"chain": one.name, "vnf": None} if one.chain else {"chain": None, "vnf": one.name}
    return {"tenant": one.tenant, **kind, "id": one.id}


def _command(one: Running, shifts: Sequence[Shift]) -> str:
    """The command that does exactly this, as far as one host a VNF says it."""
    hosts: dict[str, set[HostKey]] = {}
    for s in shifts:
        hosts.setdefault(s.alias, set()).add(s.after.key)
    names = " ".join(one.word(alias) for alias in hosts)
    if all(len(h) == 1 for h in hosts.values()):
        where = {alias: next(iter(h)) for alias, h in hosts.items()}
        if len(set(where.values())) == 1:
            vim, host = next(iter(where.values()))
            wish = f" --to {vim}/{host}"
        else:
            wish = "".join(f" --to {alias}={vim}/{host}" for alias, (vim, host) in where.items())
    else:  # a VNF that spreads over hosts: its own host is left, the placement chooses the rest
        left = sorted({s.before.key for s in shifts if not s.stays})
        wish = "".join(f" --avoid {vim}/{host}" for vim, host in left)
    return f"vnfm placement replace {names}{wish} --apply"


def _shift(one: Running, s: Shift) -> Document:
    told = {
        **_who(one),
        "alias": s.alias,
        "vnf_instance_id": one.instance_of(s.alias) or next((i.id for i in one.instances if i.alias == s.alias), ""),
        "vdu_id": s.vdu_id,
        "index": s.index,
        "vnfc_id": s.vnfc_id,
        "from": _spot(s.before),
        "to": _spot(s.after),
    }
    if s.why is not None:
        told["reasons"] = list(s.why.reasons)
        second = s.why.runner_up
        told["runner_up"] = None
        if second is not None:
            told["runner_up"] = {
                "vim": second.vim,
                "host": second.host,
                "runtime": str(second.runtime),
                "nested": second.nested,
                "because": second.because,
            }
        told["rejected"] = [
            {"runtime": str(r.runtime), "nested": r.nested, "host": r.host, "reason": r.reason} for r in s.why.rejected
        ]
    return told


def _spot(spot: Spot) -> Document:
    return {"vim": spot.vim, "host": spot.host, "runtime": str(spot.runtime), "nested": spot.nested}


def _measure(m: Measure | None) -> Document | None:
    return None if m is None else {"price": m.price, "hops": m.hops, "latency_us": m.latency_us}


def _saved(before: Measure | None, after: Measure | None) -> Document | None:
    """Negative where it gets dearer, longer or slower."""
    if before is None or after is None:
        return None
    known = before.latency_us is not None and after.latency_us is not None
    return {
        "price": round(before.price - after.price, 4),
        "hops": before.hops - after.hops,
        "latency_us": (before.latency_us or 0) - (after.latency_us or 0) if known else None,
    }


def _change(pairs: Sequence[tuple[Measure | None, Measure | None]]) -> Document:
    """Of all of them together, as far as they are known."""
    known = [(b, a) for b, a in pairs if b is not None and a is not None]
    return {
        "price": {
            "before": round(sum(b.price for b, _ in known), 4),
            "after": round(sum(a.price for _, a in known), 4),
        },
        "hops": {"before": sum(b.hops for b, _ in known), "after": sum(a.hops for _, a in known)},
    }


def _no(no: No | None) -> Document | None:
    return None if no is None else no.as_dict()


def _headroom(room: Headroom) -> Document:
    told: Document = {"servers": room.servers, "servers_in_use": room.ours}
    for at, name in enumerate(AMOUNTS[:5]):  # a disk may be without a limit
        told[name] = {"total": room.total[at], "free": room.free[at], "most_on_one_host": room.largest[at]}
    return told
