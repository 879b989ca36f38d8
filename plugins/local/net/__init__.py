"""Networking of one Linux host: namespaces, links, ports, steered paths and probes. A library: no gRPC in it."""

from plugins.local.net.doctor import checks
from plugins.local.net.errors import (
    AlreadyExistsError,
    HostRefusedError,
    InvalidSpecError,
    NetError,
    NotThereError,
    StaleGenerationError,
)
from plugins.local.net.host import HostNetwork
from plugins.local.net.naming import derive_mac, interface_name, namespace_name, port_name
from plugins.local.net.specs import (
    Check,
    Hop,
    HopCount,
    Link,
    LinkSpec,
    Match,
    Member,
    MemberKind,
    Observed,
    PathSpec,
    PortSpec,
    ProbeResult,
    Replica,
    ResourceKind,
    Route,
    State,
    Wiring,
)

__all__ = [
    "AlreadyExistsError",
    "Check",
    "Hop",
    "HopCount",
    "HostNetwork",
    "HostRefusedError",
    "InvalidSpecError",
    "Link",
    "LinkSpec",
    "Match",
    "Member",
    "MemberKind",
    "NetError",
    "NotThereError",
    "Observed",
    "PathSpec",
    "PortSpec",
    "ProbeResult",
    "Replica",
    "ResourceKind",
    "Route",
    "StaleGenerationError",
    "State",
    "Wiring",
    "checks",
    "derive_mac",
    "interface_name",
    "namespace_name",
    "port_name",
]
