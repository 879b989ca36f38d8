"""What a change makes of a chain as ordered: descriptor and change to the next descriptor. Pure.

Raises ProblemError whose detail begins with the change's field, such as `insert.before`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vnfm.graph.draft import NAME
from vnfm.model.chain import ChainVnf, ForwardingPath, PathHop, ServiceChain
from vnfm.model.change import ChainChange, Insert, Remove, Reorder, Replace, Scale, Swap
from vnfm.model.problem import ProblemError, problem


def edited(chain: ServiceChain, change: ChainChange) -> ServiceChain:
    """The chain as it is to be. Replace and Scale leave it as it is: what they ask for needs the VNFD, too (see
    `with_instances`). Raises ProblemError `unknown-vnf`, `unknown-hop`, `unknown-path`, `duplicate-name`, `bad-name`,
    `bad-value`, `bad-path`."""
    match change:
        case Insert():
            return _inserted(chain, change)
        case Remove():
            return _removed(chain, change)
        case Reorder():
            return _reordered(chain, change)
        case Swap():
            return _swapped(chain, change)
        case Replace():
            for alias in change.aliases:
                _known(chain, "replace.alias" if alias == change.alias else "replace.also", alias)
            for place in change.places:
                if place.alias not in change.aliases:
                    raise _bad("bad-value", chain, f"replace.places: VNF {place.alias!r} is not among those replaced")
            return chain
        case Scale():
            _known(chain, "scale.alias", change.alias)
            if change.replicas < 1:
                raise _bad("bad-value", chain, f"scale.replicas: is {change.replicas}; expected 1 or more")
            return chain


def with_instances(chain: ServiceChain, alias: str, counts: Mapping[str, int]) -> ServiceChain:
    """The chain with those numbers of instances, by VDU, of one VNF."""
    vnfs = tuple(replace(v, instances={**v.instances, **counts}) if v.alias == alias else v for v in chain.vnfs)
    return replace(chain, vnfs=vnfs)


def touched(change: ChainChange) -> str:
    """The alias of the one VNF that the change is about, or empty: a reorder is about several."""
    return "" if isinstance(change, Reorder) else change.alias


def _inserted(chain: ServiceChain, change: Insert) -> ServiceChain:
    if not NAME.fullmatch(change.alias):
        mend = "expected letters, digits, dash, dot and underscore, at most 63, a letter or digit first"
        raise _bad("bad-name", chain, f"insert.alias: {change.alias!r} is no name; {mend}")
    if chain.vnf(change.alias) or chain.end(change.alias):
        what = "a VNF" if chain.vnf(change.alias) else "an end"
        raise _bad(
            "duplicate-name", chain, f"insert.alias: {what} of the chain is called {change.alias!r}; choose another"
        )
    if bool(change.before) == bool(change.after):
        raise _bad("bad-value", chain, "insert: expected either before or after, the name of a VNF or an end")
    field = "insert.before" if change.before else "insert.after"
    beside = change.before or change.after
    if chain.vnf(beside) is None and chain.end(beside) is None:
        known = ", ".join([*(e.name for e in chain.ends), *(v.alias for v in chain.vnfs)])
        raise _bad("unknown-hop", chain, f"{field}: {beside!r} is neither a VNF nor an end; expected one of {known}")
    chosen = [p for p in _paths(chain, "insert.path", change.path) if any(h.name == beside for h in p.hops)]
    if not chosen:
        raise _bad("unknown-hop", chain, f"{field}: {beside!r} is not on path {change.path!r}")
    changed = {p.name: _with_hop(chain, p, change, field, beside) for p in chosen}
    vnf = ChainVnf(change.alias, change.vnfd_id, change.flavour_id)
    return replace(chain, vnfs=(*chain.vnfs, vnf), paths=tuple(changed.get(p.name, p) for p in chain.paths))


def _with_hop(chain: ServiceChain, path: ForwardingPath, change: Insert, field: str, beside: str) -> ForwardingPath:
    at = next(n for n, h in enumerate(path.hops) if h.name == beside) + bool(change.after)
    if not 0 < at < len(path.hops):
        side = "before" if at == 0 else "behind"
        raise _bad("bad-path", chain, f"{field}: path {path.name!r} has nothing {side} its end {beside!r}")
    return replace(path, hops=(*path.hops[:at], PathHop(change.alias), *path.hops[at:]))


def _removed(chain: ServiceChain, change: Remove) -> ServiceChain:
    _known(chain, "remove.alias", change.alias)
    paths = []
    for path in chain.paths:
        hops = tuple(h for h in path.hops if h.name != change.alias)
        if len(hops) < 3:
            raise _bad(
                "bad-path",
                chain,
                f"remove.alias: without {change.alias!r} the ends of path {path.name!r} would meet; "
                "insert another VNF first, or terminate the chain",
            )
        paths.append(replace(path, hops=hops))
    rules = tuple(replace(r, vnfs=tuple(v for v in r.vnfs if v != change.alias)) for r in chain.rules)
    return replace(
        chain,
        vnfs=tuple(v for v in chain.vnfs if v.alias != change.alias),
        paths=tuple(paths),
        rules=tuple(r for r in rules if len(r.vnfs) > 1),
    )


def _reordered(chain: ServiceChain, change: Reorder) -> ServiceChain:
    if not change.path and len(chain.paths) > 1:
        names = ", ".join(p.name for p in chain.paths)
        raise _bad("unknown-path", chain, f"reorder.path: the chain has several; expected one of {names}")
    (path,) = _paths(chain, "reorder.path", change.path)
    now = [h.name for h in path.hops[1:-1]]
    if sorted(change.aliases) != sorted(now):
        raise _bad(
            "unknown-vnf",
            chain,
            f"reorder.aliases: expected each VNF of path {path.name!r} once ({', '.join(now)}), "
            f"found {', '.join(change.aliases) or 'none'}",
        )
    if list(change.aliases) == now:
        raise _bad("bad-value", chain, f"reorder.aliases: path {path.name!r} has that order already")
    by_name = {h.name: h for h in path.hops}
    hops = (path.hops[0], *(by_name[a] for a in change.aliases), path.hops[-1])
    return replace(chain, paths=tuple(replace(p, hops=hops) if p.name == path.name else p for p in chain.paths))


def _swapped(chain: ServiceChain, change: Swap) -> ServiceChain:
    """The new VNFD's own order of CPs decides; what was said of isolation and places stays said."""
    _known(chain, "swap.alias", change.alias)
    if not change.vnfd_id:
        raise _bad("bad-value", chain, "swap.vnfd_id: expected the id of an onboarded VNFD")

    def vnf(old: ChainVnf) -> ChainVnf:
        return ChainVnf(
            old.alias,
            change.vnfd_id,
            change.flavour_id,
            isolation=old.isolation,
            sites=old.sites,
            zones=old.zones,
            vim=old.vim,
        )

    def hop(old: PathHop) -> PathHop:
        return PathHop(old.name) if old.name == change.alias else old

    return replace(
        chain,
        vnfs=tuple(vnf(v) if v.alias == change.alias else v for v in chain.vnfs),
        paths=tuple(replace(p, hops=tuple(hop(h) for h in p.hops)) for p in chain.paths),
    )


def _paths(chain: ServiceChain, field: str, name: str) -> tuple[ForwardingPath, ...]:
    """That path, or all for an empty name."""
    found = tuple(p for p in chain.paths if not name or p.name == name)
    if not found:
        known = ", ".join(p.name for p in chain.paths)
        raise _bad("unknown-path", chain, f"{field}: there is no path {name!r}; expected one of {known}")
    return found


def _known(chain: ServiceChain, field: str, alias: str) -> ChainVnf:
    vnf = chain.vnf(alias)
    if vnf is None:
        known = ", ".join(v.alias for v in chain.vnfs)
        raise _bad("unknown-vnf", chain, f"{field}: there is no VNF {alias!r} in the chain; expected one of {known}")
    return vnf


def _bad(word: str, chain: ServiceChain, detail: str) -> ProblemError:
    return problem(word, detail, instance=chain.name)
