"""A VNFD and what was noticed in its package as documents for people and programs: every field is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from vnfm.model.codec import encode
from vnfm.model.package import Finding
from vnfm.model.vnfd import Flavour, Vnfd


def finding_document(finding: Finding) -> dict[str, Any]:
    """One finding with all its fields."""
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "hint": finding.hint,
    }


def vnfd_document(vnfd: Vnfd) -> dict[str, Any]:
    """A VNFD for people and programs: every list is there, also where it is empty."""
    return {
        "id": vnfd.id,
        "provider": vnfd.provider,
        "product": vnfd.product,
        "version": vnfd.version,
        "software_version": vnfd.software_version,
        "product_info": vnfd.product_info,
        "vnfm_info": list(vnfd.vnfm_info),
        "flavours": [_flavour_json(f) for f in vnfd.flavours],
    }


def _flavour_json(flavour: Flavour) -> dict[str, Any]:
    return {
        "id": flavour.id,
        "description": flavour.description,
        "vdus": full(flavour.vdus),
        "cps": full(flavour.cps),
        "virtual_links": full(flavour.virtual_links),
        "storages": full(flavour.storages),
        "external_cps": full([e for e in flavour.external_cps if not e.implied]),
        "implied_external_cps": full([e for e in flavour.external_cps if e.implied]),
        "scaling_aspects": full(flavour.scaling_aspects),
        "instantiation_levels": full(flavour.instantiation_levels),
        "affinity": full(flavour.affinity),
        "placement_groups": full(flavour.placement_groups),
        "security_rules": full(flavour.security_rules),
        "indicators": full(flavour.indicators),
        "package_changes": full(flavour.package_changes),
        "operations": full(flavour.operations),
        "mciops": full(flavour.mciops),
        "artifacts": full(flavour.artifacts),
        "configurable_properties": full(flavour.configurable),
        "modifiable_attributes": full(flavour.modifiable),
        "monitoring_parameters": full(flavour.monitoring),
        "vnf_profile": {"min_instances": flavour.instances[0], "max_instances": flavour.instances[1]},
    }


def full(value: object) -> Any:
    """A value with all its fields, defaults too; what is stored leaves those out (vnfm.model.codec)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: full(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, Mapping):
        return {str(k): full(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [full(v) for v in value]
    return encode(value)
