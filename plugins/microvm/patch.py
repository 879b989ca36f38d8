"""rtnetlink requests that are made on the host before the guest's interface numbers are known."""

from __future__ import annotations

import struct
from typing import NamedTuple

from plugins.microvm import rtnl

_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3


class Patch(NamedTuple):
    """A request, and where in it a host interface's number (4 bytes) has to become the guest's."""

    request: bytes
    places: tuple[tuple[int, int], ...]

    def fill(self, guest: dict[int, int]) -> bytes:
        """The request for a guest whose interfaces have these numbers (by the host's)."""
        data = bytearray(self.request)
        for offset, host in self.places:
            struct.pack_into("=i", data, offset, guest[host])
        return bytes(data)


def list_links() -> bytes:
    """Ask the guest for its interfaces."""
    return rtnl.message(rtnl.RTM_GETLINK, rtnl.NLM_F_DUMP, b"\0" * 16)


def link_name(number: int, name: str) -> bytes:
    """Name the guest's interface of that number."""
    head = struct.pack("=BxHiII", 0, 0, number, 0, 0)
    return rtnl.message(rtnl.RTM_SETLINK, rtnl.NLM_F_ACK, head + rtnl.attribute(_IFLA_IFNAME, name.encode() + b"\0"))


def match_links(answer: bytes, links: list[tuple[int, str]]) -> dict[int, int]:
    """Numbers of the guest's interfaces by the host's, matched by MAC; the loopback (no MAC given) is 1 everywhere."""
    by_mac = {}
    for kind, body in rtnl.replies(answer):
        if kind == rtnl.RTM_NEWLINK:
            mac = dict(rtnl.attributes(body[16:])).get(_IFLA_ADDRESS, b"")
            by_mac[":".join(f"{byte:02x}" for byte in mac)] = struct.unpack_from("=i", body, 4)[0]
    return {index: by_mac[mac] if mac else 1 for index, mac in links}
