"""A VNFD after reading: ETSI GS NFV-SOL 001's node and policy types in plain values. Nobody downstream sees YAML again.

Units: memory and storage in bytes, CPU in milli-CPU, bandwidth in bit/s, latency in microseconds, start-up in
milliseconds. Ids are the names of the node templates, unique within a flavour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vnfm.model.connectivity import Cpd, ExtCpd, VirtualLinkDesc
from vnfm.model.policies import (
    AffinityRule,
    InstantiationLevel,
    PlacementGroup,
    ScalingAspect,
    SecurityGroupRule,
    VnfIndicator,
    VnfPackageChange,
)
from vnfm.model.vdu import MonitoringParameter, StorageDesc, Vdu


@dataclass(frozen=True, slots=True)
class LcmOperation:
    """An operation of an interface of the VNF (SOL001 6.7): its script or playbook, where there is one."""

    interface: str
    operation: str
    implementation: str = ""
    dependencies: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a node names. `path` is the package's name of it, empty where it is elsewhere."""

    id: str
    type: str
    file: str
    path: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Mciop:
    """SOL001 Mciop: a Helm chart, or manifests, with the VDUs that it deploys."""

    id: str
    vdus: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Flavour:
    """One deployment flavour, whole and on its own."""

    id: str
    description: str = ""
    vdus: tuple[Vdu, ...] = ()
    cps: tuple[Cpd, ...] = ()
    virtual_links: tuple[VirtualLinkDesc, ...] = ()
    storages: tuple[StorageDesc, ...] = ()
    external_cps: tuple[ExtCpd, ...] = ()
    scaling_aspects: tuple[ScalingAspect, ...] = ()
    instantiation_levels: tuple[InstantiationLevel, ...] = ()
    affinity: tuple[AffinityRule, ...] = ()
    placement_groups: tuple[PlacementGroup, ...] = ()
    security_rules: tuple[SecurityGroupRule, ...] = ()
    indicators: tuple[VnfIndicator, ...] = ()
    package_changes: tuple[VnfPackageChange, ...] = ()
    operations: tuple[LcmOperation, ...] = ()
    mciops: tuple[Mciop, ...] = ()
    artifacts: tuple[Artifact, ...] = ()  # of the VNF itself and its VDUs, besides software images
    configurable: Mapping[str, str] = field(default_factory=dict)
    modifiable: Mapping[str, str] = field(default_factory=dict)
    monitoring: tuple[MonitoringParameter, ...] = ()
    instances: tuple[int, int] = (0, 0)  # vnf_profile: least and most of them


@dataclass(frozen=True, slots=True)
class Vnfd:
    """A VNFD: SOL001 tosca.nodes.nfv.VNF with its flavours. `id` is descriptor_id."""

    id: str
    provider: str
    product: str
    version: str
    software_version: str
    flavours: tuple[Flavour, ...]
    product_info: str = ""
    vnfm_info: tuple[str, ...] = ()

    def flavour(self, flavour_id: str = "") -> Flavour | None:
        """The flavour of that id; the first for an empty id."""
        if not flavour_id:
            return self.flavours[0] if self.flavours else None
        return next((f for f in self.flavours if f.id == flavour_id), None)
