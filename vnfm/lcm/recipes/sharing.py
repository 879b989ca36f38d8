"""Addresses that several ports answer for: a VipCp (SOL001 6.8.11) is no port, but what its targets' ports may use."""

from __future__ import annotations

from vnfm.model.connectivity import Cpd, CpKind
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
