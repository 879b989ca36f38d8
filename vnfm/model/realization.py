"""What stands of a chain or of a VNF: every resource with the words in which it was asked of its VIM.

Kept with the chain (or the VNF that stands alone) and changed when an operation ends. What is in the way of service
stands in the tuples; what may exist and serves nobody any more, since an operation was given up half-way, in
`leftovers`: the next change takes it away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vnfm.model.resources import ComputeSpec, LinkSpec, PathSpec, PortSpec, ResourceKind, SapSpec


@dataclass(frozen=True, slots=True)
class LinkThere:
    """A virtual link. `alias` and `instance_id` are empty for a link of the chain, else it is that VNF's own and `key`
    is the VirtualLinkDesc's id."""

    key: str
    vim: str
    spec: LinkSpec
    alias: str = ""
    instance_id: str = ""

    @property
    def cidr(self) -> str:
        """Its network."""
        return self.spec.cidrs[0] if self.spec.cidrs else ""


@dataclass(frozen=True, slots=True)
class VnfcThere:
    """One instance of a VDU, as allocated."""

    alias: str
    instance_id: str
    vdu_id: str
    index: int
    vim: str
    spec: ComputeSpec

    @property
    def resource_id(self) -> str:
        """Also the VNFC's id."""
        return self.spec.resource_id

    def port(self, cp_id: str) -> PortSpec | None:
        """The port of that connection point."""
        return next((p for p in self.spec.ports if p.cp_id == cp_id), None)


@dataclass(frozen=True, slots=True)
class SapThere:
    """An end of the chain, as allocated."""

    vim: str
    spec: SapSpec


@dataclass(frozen=True, slots=True)
class PathThere:
    """A forwarding path, as last allocated. `in_doubt`: a switch was given up half-way, so that these hops may or may
    not be those that traffic takes: the next change switches again."""

    name: str
    vim: str
    spec: PathSpec
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Leftover:
    """May exist, serves nobody."""

    resource_id: str
    kind: ResourceKind
    vim: str
    name: str
    instance_id: str = ""
    ports: tuple[PortSpec, ...] = ()  # addresses that are in use still


@dataclass(frozen=True, slots=True)
class Realization:
    """All of a chain, or of one VNF that stands alone (no ends and paths then)."""

    links: tuple[LinkThere, ...] = ()
    vnfcs: tuple[VnfcThere, ...] = ()
    saps: tuple[SapThere, ...] = ()
    paths: tuple[PathThere, ...] = ()
    leftovers: tuple[Leftover, ...] = ()

    def link(self, resource_id: str) -> LinkThere | None:
        """The link of that id."""
        return next((x for x in self.links if x.spec.resource_id == resource_id), None)

    def vnfc(self, resource_id: str) -> VnfcThere | None:
        """The VNFC of that id."""
        return next((x for x in self.vnfcs if x.resource_id == resource_id), None)

    def sap(self, name: str) -> SapThere | None:
        """The end of that name."""
        return next((x for x in self.saps if x.spec.name == name), None)

    def path(self, name: str) -> PathThere | None:
        """The path of that name."""
        return next((x for x in self.paths if x.name == name), None)

    def of_instance(self, instance_id: str) -> tuple[VnfcThere, ...]:
        """The VNFCs of a VNF instance."""
        return tuple(x for x in self.vnfcs if x.instance_id == instance_id)

    def ports(self, link_id: str) -> Iterator[tuple[str, PortSpec]]:
        """The ports on a link, each with the id of what it belongs to."""
        for vnfc in self.vnfcs:
            yield from ((vnfc.resource_id, p) for p in vnfc.spec.ports if p.link_id == link_id)
        for sap in self.saps:
            if sap.spec.port.link_id == link_id:
                yield sap.spec.resource_id, sap.spec.port

    def addresses(self, link_id: str) -> dict[tuple[str, str], str]:
        """The address of each port on a link that has one, by (resource id, CP id), without prefix length."""
        return {(owner, p.cp_id): p.ips[0].split("/")[0] for owner, p in self.ports(link_id) if p.ips}


NOTHING_STANDS = Realization()
