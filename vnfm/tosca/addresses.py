"""Addresses that a connection point is to be given (SOL001 9.3.9 CpProtocolData, 9.3.10 AddressData)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from vnfm.model.connectivity import AddressSpec
from vnfm.tosca.view import View

MAX_ADDRESSES = 1024


def address_specs(cp: View) -> tuple[AddressSpec, ...]:
    """What the `protocol` of a CP says of its addresses; several of one family and dual stack are several entries."""
    if "ip_address" in cp and "protocol" not in cp:  # as TOSCA's own ports have it
        fixed = cp.text("ip_address")
        return (AddressSpec("ipv6" if ":" in fixed else "ipv4", fixed=(fixed,)),) if _is_address(cp, fixed, "") else ()
    return tuple(
        spec
        for protocol in cp.entries("protocol", "associated_layer_protocol", "address_data")
        for data in protocol.entries("address_data", "address_type", "l2_address_data", "l3_address_data")
        for spec in _specs(data, protocol.text("associated_layer_protocol").lower())
    )


def _specs(data: View, protocol: str) -> Iterator[AddressSpec]:
    layer2, layer3 = data.sub("l2_address_data"), data.sub("l3_address_data")
    if layer2.body or data.text("address_type") == "mac_address":
        yield AddressSpec("mac", managed=layer2.flag("mac_address_assignment", default=True))
    if not layer3.body and data.text("address_type") != "ip_address":
        return
    family = layer3.text("ip_address_type").lower() or (protocol if protocol in ("ipv4", "ipv6") else "")
    fixed = tuple(a for a in layer3.texts("fixed_ip_address") if _is_address(layer3, a, family))
    count = layer3.whole("number_of_ip_address", max(1, len(fixed)))
    if not 0 < count <= MAX_ADDRESSES:
        layer3.notes.warn(
            "value-range",
            f"{layer3.path}.number_of_ip_address: expected 1 to {MAX_ADDRESSES}, found {count}",
            layer3.at("number_of_ip_address"),
        )
        count = 1
    yield AddressSpec(
        kind=family or "ipv4",
        managed=layer3.flag("ip_address_assignment", default=True),
        floating=layer3.flag("floating_ip_activated"),
        count=count,
        fixed=fixed,
    )


def _is_address(layer3: View, text: str, family: str) -> bool:
    try:
        if family in ("", f"ipv{ipaddress.ip_interface(text).version}"):
            return True
    except ValueError:
        pass
    layer3.notes.warn(
        "value-address",
        f"{layer3.path}.fixed_ip_address: {text!r} is no {family or 'IP'} address",
        layer3.at("fixed_ip_address"),
    )
    return False
