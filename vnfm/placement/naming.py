"""Which hosts are meant: one by its id, or by VIM/ID where several VIMs have one of that id; a zone by its name, or by
SITE/ZONE."""

from __future__ import annotations

from collections.abc import Iterable

from vnfm.model.problem import problem
from vnfm.placement.inventory import HostKey
from vnfm.placement.snapshot import Snapshot


def host_named(snapshot: Snapshot, name: str, field_name: str) -> HostKey:
    """Raises ProblemError `not-found`, `ambiguous`; `field_name` begins its detail."""
    found = [h.key for h in snapshot.hosts if h.id == name]
    vim, slash, rest = name.partition("/")
    if not found and slash:
        found = [h.key for h in snapshot.hosts if h.key == (vim, rest)]
    if len(found) == 1:
        return found[0]
    if found:
        known = ", ".join(f"{v}/{h}" for v, h in found)
        raise problem("ambiguous", f"{field_name}: {name!r} may be any of {known}: name it with its VIM", instance=name)
    raise problem(
        "not-found",
        f"{field_name}: no VIM tells a host {name!r}; `vnfm vim inventory NAME --all` lists a VIM's hosts",
        instance=name,
    )


def machines_of(snapshot: Snapshot, keys: Iterable[HostKey]) -> Iterable[HostKey]:
    """With all that is on top of these machines, and under every name that they have."""
    gone = {snapshot.machine[k] for k in keys}
    if not gone:
        return ()
    return [h.key for h in snapshot.hosts if any(snapshot.machine[k] in gone for k in snapshot.lineage[h.key])]


def zone_named(snapshot: Snapshot, name: str) -> list[HostKey]:
    """A zone's hosts. Raises ProblemError `not-found`, `ambiguous`."""
    found = [h for h in snapshot.hosts if h.zone == name]
    site, slash, rest = name.partition("/")
    if not found and slash:
        found = [h for h in snapshot.hosts if (h.site, h.zone) == (site, rest)]
    sites = sorted({h.site for h in found})
    if len(sites) > 1:
        known = ", ".join(f"{s}/{name}" for s in sites)
        raise problem("ambiguous", f"fail_zones: {name!r} may be any of {known}: name it with its site", instance=name)
    return _found([h.key for h in found], "fail_zones", "zone", name, (h.zone for h in snapshot.hosts))


def site_named(snapshot: Snapshot, name: str) -> list[HostKey]:
    """A site's hosts. Raises ProblemError `not-found`."""
    found = [h.key for h in snapshot.hosts if h.site == name]
    return _found(found, "fail_sites", "site", name, (h.site for h in snapshot.hosts))


def vim_named(snapshot: Snapshot, name: str) -> list[HostKey]:
    """A VIM's hosts. Raises ProblemError `not-found`."""
    found = [h.key for h in snapshot.hosts if h.vim == name]
    return _found(found, "fail_vims", "VIM", name, (h.vim for h in snapshot.hosts))


def _found(keys: list[HostKey], field_name: str, what: str, name: str, known: Iterable[str]) -> list[HostKey]:
    if keys and name:
        return keys
    told = ", ".join(sorted({k for k in known if k})[:12]) or "none"
    raise problem("not-found", f"{field_name}: no host is in {what} {name!r}; there are: {told}", instance=name)
