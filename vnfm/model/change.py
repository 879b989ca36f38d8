"""What may be asked of a running chain (SOL005 6.5.2.12 NsUpdate and 6.5.2.7 NsScale, for chains that are ours)."""

from __future__ import annotations

from dataclasses import dataclass

from vnfm.model.placement import Runtime


@dataclass(frozen=True, slots=True)
class Insert:
    """A further VNF, next to `before` or `after` (an alias or an end; exactly one of them is set), on `path` or, where
    that is empty, on every path that has the neighbour."""

    alias: str
    vnfd_id: str
    flavour_id: str = ""
    before: str = ""
    after: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """The VNF leaves all paths and is terminated."""

    alias: str


@dataclass(frozen=True, slots=True)
class Reorder:
    """The VNFs of `path` in another order: `aliases` are all of them. Empty `path`: the only one."""

    aliases: tuple[str, ...]
    path: str = ""


@dataclass(frozen=True, slots=True)
class Swap:
    """Another VNF takes the position and the addresses of `alias`, and its alias, too."""

    alias: str
    vnfd_id: str
    flavour_id: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how one VNFC is to run."""

    alias: str
    vdu_id: str
    index: int
    vim: str
    host: str
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Replace:
    """The same VNF, placed anew by what is asked of it now: another realization or host, or the same again. `also`:
    further VNFs, together with it. With `places` that is where their VNFCs go, all of them, or it is refused."""

    alias: str
    also: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()

    @property
    def aliases(self) -> tuple[str, ...]:
        """All VNFs that it is about."""
        return (self.alias, *self.also)


@dataclass(frozen=True, slots=True)
class Scale:
    """`replicas` instances of the VDU behind the VNF's chain-facing connection points."""

    alias: str
    replicas: int


ChainChange = Insert | Remove | Reorder | Swap | Replace | Scale
