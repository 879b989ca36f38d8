"""What makes one guest differ from another of its kind, as requests to the agent.  A clone is treated alike."""

from __future__ import annotations

import os
import struct

from plugins.microvm.patch import Patch
from plugins.microvm.protocol import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    Request = tuple[Kind, bytes, str]
    """Kind, payload, and what it is about in words."""

_ENTROPY_BYTES = 64


def entropy() -> Request:
    """Always the first: nothing in a clone may use the randomness that it shares with its template."""
    return Kind.ENTROPY, os.urandom(_ENTROPY_BYTES), "entropy"


def requests(plan: dict[str, object], numbers: dict[int, int], now_ns: int) -> list[Request]:
    """The others, in order; `numbers` are the guest's interface numbers by the host's."""
    found: list[Request] = [(Kind.DATE, struct.pack("<QQ", now_ns // 10**9, now_ns % 10**9), "date")]
    if plan["hostname"]:
        found.append((Kind.HOSTNAME, str(plan["hostname"]).encode(), "hostname"))
    found += [(Kind.NETLINK, patch.fill(numbers), "interface") for patch in patches(plan["interfaces"])]
    for path, value in pairs(plan["sysctl"]):
        found.append((Kind.SYSCTL, f"{path}\0{value}".encode(), f"sysctl {path} = {value}"))
    found += [(Kind.NETLINK, patch.fill(numbers), "network set-up") for patch in patches(plan["setup"])]
    found.append((Kind.CREATE, bytes.fromhex(str(plan["spec"])), "container"))
    return found


def number(value: object) -> int:
    """A whole number out of the plan."""
    return int(str(value))


def items(value: object) -> list[object]:
    """A list out of the plan."""
    assert isinstance(value, list)
    return value


def texts(value: object) -> list[str]:
    """A list of texts out of the plan."""
    return [str(item) for item in items(value)]


def pairs(value: object) -> list[tuple[object, object]]:
    """A list of pairs out of the plan."""
    return [(items(item)[0], items(item)[1]) for item in items(value)]


def patches(value: object) -> list[Patch]:
    """A list of rtnetlink requests out of the plan."""
    return [
        Patch(bytes.fromhex(str(request)), tuple((number(a), number(b)) for a, b in pairs(places)))
        for request, places in pairs(value)
    ]
