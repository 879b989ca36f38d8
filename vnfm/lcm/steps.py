"""What an operation is made of: steps with parameters that are stored at its start, every minted id included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

from vnfm.lcm.machine import Node
from vnfm.model.resources import ComputeSpec, LinkSpec, PathSpec, ResourceKind, SapSpec

_REMEMBERED = 4096  # ids: each of a chain is asked for several times while it is planned


class StepKind(StrEnum):
    """What a step does; the doing and undoing of each stands in actions.py."""

    PUT_IMAGE = "PUT_IMAGE"
    LINK = "LINK"
    JOIN = "JOIN"
    SAP = "SAP"
    COMPUTE = "COMPUTE"
    PATH = "PATH"
    PROBE = "PROBE"
    TERMINATE = "TERMINATE"


ALLOCATED = {
    StepKind.LINK: ResourceKind.LINK,
    StepKind.SAP: ResourceKind.SAP,
    StepKind.COMPUTE: ResourceKind.COMPUTE,
    StepKind.PATH: ResourceKind.PATH,
}


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A software image in the blob store."""

    sha256: str
    format: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A resource to be terminated."""

    resource_id: str
    kind: ResourceKind


@dataclass(frozen=True, slots=True)
class PiecesOfLink:
    """A link that has a piece in each of several VIMs, by the pieces' ids. The VIM that leads says by its answer which
    segment all of them have."""

    leads: str
    others: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """The one that leads first."""
        return (self.leads, *self.others)


@dataclass(frozen=True, slots=True)
class JoinOrder:
    """One piece of a link, to be joined with the others."""

    link_id: str
    pieces: PiecesOfLink


@dataclass(frozen=True, slots=True)
class PathPiece:
    """The part of a path that lies in one VIM."""

    vim: str
    path_id: str


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """A path to be probed, and how long its guests may take to answer. `beyond`: its further pieces, in order;
    `destination`: the address of the last end, where there are any."""

    path_id: str
    packets: int
    patience_s: float
    beyond: tuple[PathPiece, ...] = ()
    destination: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Exactly the parameter that belongs to `kind` is set. `lane` is the VNF's alias, empty for the chain's
    own steps.

    `keep`: what it allocates stands already and is only asked for again, so that what was lost of it is mended; it is
    never undone. `former`: what the path was before, which is what undoing leads back to. A path's generation is the
    base of the operation; how often the step was started is added when it runs (see actions.py)."""

    key: str
    kind: StepKind
    title: str
    vim: str
    needs: tuple[str, ...] = ()
    lane: str = ""
    vnf_instance_id: str = ""
    vdu_id: str = ""
    index: int = 0  # which of the VDU's instances
    forward_only: bool = False
    keep: bool = False
    image: ImageRef | None = None
    link: LinkSpec | None = None
    join: JoinOrder | None = None
    sap: SapSpec | None = None
    compute: ComputeSpec | None = None
    path: PathSpec | None = None
    former: PathSpec | None = None
    probe: ProbeOrder | None = None
    removal: Removal | None = None

    @property
    def node(self) -> Node:
        """What the machine needs to know."""
        return Node(self.key, self.needs, self.forward_only)

    @property
    def allocates(self) -> str:
        """The id of the resource that this step allocates, or empty."""
        spec = self.link or self.sap or self.compute or self.path
        return spec.resource_id if spec else ""

    @property
    def makes(self) -> str:
        """The id of the resource that this step brings into the world, and its undoing out of it again, or empty."""
        return "" if self.keep or self.former else self.allocates

    @property
    def resource_kind(self) -> ResourceKind | None:
        """The kind of what this step allocates."""
        return ALLOCATED.get(self.kind)


@lru_cache(_REMEMBERED)
def mint(operation_id: str, *parts: str) -> str:
    """A resource id that is known before any call, the same however often it is asked for."""
    digest = bytearray(sha1(_space(operation_id) + "/".join(parts).encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # version 5 of RFC 4122, put together by hand: a chain has dozens of ids
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(_REMEMBERED)
def _space(operation_id: str) -> bytes:
    return UUID(operation_id).bytes


def nodes(steps: Iterable[Step]) -> tuple[Node, ...]:
    """The machine's view of the steps."""
    return tuple(s.node for s in steps)
