"""Names on the host, derived from ids alone, so that any later process finds the same object again."""

from __future__ import annotations

import hashlib
import re

from plugins.local.net.errors import InvalidSpecError

TABLE = "vnfm"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_IFNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_RESERVED = frozenset({"lo", "all", "default"})


def check_id(what: str, value: str) -> str:
    """`value` where it can stand in a file's name and an alias; InvalidSpecError otherwise."""
    if not _ID.fullmatch(value):
        raise InvalidSpecError(
            f"{what}: expected 1-128 letters, digits or ._:- beginning with a letter or digit; got {value!r}"
        )
    return value


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def short(*parts: str) -> str:
    """Twelve hex digits for any ids: what names are made of."""
    return _digest(*parts)[:12]


def namespace_name(resource_id: str) -> str:
    """The namespace of a compute or SAP."""
    return "vnfm-" + _digest(resource_id)[:12]


def fabric_name(chain_id: str) -> str:
    """The namespace that holds all steered ports of a chain."""
    return "vnfm-f-" + _digest(chain_id)[:12]


def bridge_namespace_name(link_id: str) -> str:
    """The namespace of a link with more than two members."""
    return "vnfm-l-" + _digest(link_id)[:12]


def interface_name(cp_id: str) -> str:
    """The interface inside a namespace: the cp_id where the kernel takes it, else a readable part and a digest."""
    if not 1 <= len(cp_id) <= 128:
        raise InvalidSpecError(f"cp_id: expected 1-128 characters, got {len(cp_id)}")
    if _IFNAME.fullmatch(cp_id) and cp_id not in _RESERVED:
        return cp_id
    readable = re.sub(r"[^A-Za-z0-9_]", "_", cp_id)[:8]
    return f"{readable}-{_digest(cp_id)[:6]}"


def port_name(resource_id: str, cp_id: str) -> str:
    """The port of a member inside a fabric or beside a bridge: a veth's far end, or a VM's tap."""
    return "p" + _digest(resource_id, cp_id)[:12]


def patch_name(cp_id: str) -> str:
    """The interface beside a port of a pair, by which the port is joined to a fabric while a path needs that."""
    return f"{interface_name(cp_id)[:9]}~{_digest(cp_id)[:4]}"


def answer_mac(resource_id: str, cp_id: str) -> str:
    """What a steered port is told when it asks for a neighbour's address and has no neighbour of its own."""
    return derive_mac(f"answer {resource_id}", cp_id)


def derive_mac(resource_id: str, cp_id: str) -> str:
    """A locally administered unicast address that is the same at every call."""
    octets = bytearray(bytes.fromhex(_digest("mac", resource_id, cp_id)[:12]))
    octets[0] = (octets[0] & 0xFC) | 0x02
    return ":".join(f"{octet:02x}" for octet in octets)


def alias(link_id: str, resource_id: str, cp_id: str) -> str:
    """The stamp on an interface, for eyes and for recognition (at most 255 characters)."""
    return f"vnfm {_digest(link_id)[:12]} {resource_id} {cp_id}"[:255]
