"""What ports may do: addresses that several answer for (a VipCp of SOL001 is no port of its own), and the traffic
that a VNFD's security rules let pass."""

from __future__ import annotations

from vnfm.model.connectivity import Cpd, CpKind
from vnfm.model.resources import TrafficRule
from vnfm.model.vnfd import Flavour


def has_port(cpd: Cpd) -> bool:
    """Whether a VNFC gets a port for it. A VipCp that leads outside has one, by which a chain may go."""
    return cpd.kind is not CpKind.VIP or not cpd.virtual_link


def shared_ips(flavour: Flavour, cpd: Cpd) -> tuple[str, ...]:
    """The fixed addresses of those VipCps on its link that stand for it, by itself or by its VDU. One whose address is
    nobody's to know beforehand shares none."""
    shared = (
        address
        for vip in flavour.cps
        if vip.kind is CpKind.VIP and vip.virtual_link == cpd.virtual_link and {cpd.id, cpd.vdu_id} & set(vip.targets)
        for spec in vip.addresses
        if spec.kind != "mac"
        for address in (fixed.partition("/")[0] for fixed in spec.fixed)
    )
    return tuple(dict.fromkeys(shared))


def admitted(flavour: Flavour, cp_id: str) -> tuple[TrafficRule, ...]:
    """By the rules whose targets name the CP, by itself or by the external CP before it."""
    names = {cp_id, *(e.id for e in flavour.external_cps if e.cpd_id == cp_id)}
    return tuple(
        TrafficRule(
            egress=rule.direction.lower() == "egress",
            ipv6=rule.ether_type.lower() == "ipv6",
            protocol=rule.protocol.lower(),
            port_min=rule.port_min,
            port_max=rule.port_max,
        )
        for rule in flavour.security_rules
        if names & set(rule.targets)
    )
