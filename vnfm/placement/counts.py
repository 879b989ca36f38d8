"""How many nodes each need of a VNF filters out, in a fixed order: each node is counted at the first that it fails."""

from __future__ import annotations

import numpy as np

from vnfm.placement.book import Book
from vnfm.placement.estate import RESOURCES, Bools
from vnfm.placement.kinds import Kind
from vnfm.placement.statement import Vnf
from vnfm.placement.ways import Ground, unmet


def ground_of(book: Book) -> Ground:
    """A ground for looking closer; the search has its own."""
    return Ground(book.estate)


def variants_refused(book: Book, vnf: Vnf) -> dict[str, str]:
    """By realization: why it cannot serve the VNF on any node."""
    return {real.name: why for real in book.estate.variants if (why := unmet(real, vnf))}


def filter_counts(book: Book, vnf: Vnf, tenant: int) -> dict[str, int]:
    """`nodes`, then by cause how many it takes away, at last how many are `left`."""
    estate = book.estate
    out: dict[str, int] = {"nodes": estate.size}
    left: Bools = np.ones(estate.size, dtype=np.bool_)

    def keep(cause: str, mask: Bools) -> None:
        nonlocal left
        gone = int(np.count_nonzero(left & ~mask))
        if gone:
            out[cause] = out.get(cause, 0) + gone
        left = left & mask

    keep("trust", estate.trust >= vnf.trust)
    keep("tenant", (estate.owner == -1) | (estate.owner == tenant))
    for cause, names, codes, known in (
        ("site", vnf.sites, estate.site_at, estate.sites),
        ("zone", vnf.zones, estate.zone_at, estate.zones),
    ):
        if names is not None:
            keep(cause, np.isin(codes, [known[x] for x in names if x in known]))
    ground = ground_of(book)
    kind = Kind(vnf, ground.stance(vnf, tenant), book, ground)
    some: Bools = np.zeros(estate.size, dtype=np.bool_)
    for way in kind.ways:
        some = some | way.allowed
    keep("runtime", some)
    least = [min((w.amounts[r] for w in kind.ways), default=0) for r in range(len(RESOURCES))]
    for r, name in reversed(list(enumerate(RESOURCES))):
        if least[r]:
            keep(f"insufficient {name}", book.free[r] >= least[r])
    kind.refresh(book)
    fits: Bools = np.asarray(kind.score < kind.never)
    keep("NUMA cell or kernel shared" if vnf.numa_strict else "kernel shared with another tenant", fits)
    out["left"] = int(np.count_nonzero(left))
    return out
