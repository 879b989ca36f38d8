"""The host's half of a guest's network: a tap beside every interface, crossed over with it by traffic control.

Frames that come in on the interface leave by the tap, and the other way round, before anything else of the namespace
sees them.  The addresses may therefore stay on the interface, where others look for them: no ARP request, no packet
reaches the namespace's own stack.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm import rtnl
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.netns import inside, open_tap

PREFERENCE = 49
"""Of our filter at an interface, so that it is told from others'."""

_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_AF_SPEC = 1, 3, 4, 26
_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE = 8, 1
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_U32_SEL, _TCA_U32_ACT = 5, 7
_TCA_ACT_KIND, _TCA_ACT_OPTIONS = 1, 2
_TCA_MIRRED_PARMS, _TC_ACT_STOLEN, _TCA_EGRESS_REDIR = 2, 4, 1
_CLSACT, _CLSACT_PARENT, _INGRESS = 0xFFFF0000, 0xFFFFFFF1, 0xFFFFFFF2
_ETH_P_ALL = 3
_IFINFO = struct.Struct("=BxHiII")
_TCMSG = struct.Struct("=BxxxiIII")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface of the namespace."""

    name: str
    index: int
    mac: str
    mtu: int
    up: bool
    loopback: bool = False

    @property
    def tap(self) -> str:
        """Name of the tap beside it."""
        return f"mvt{self.index}"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a namespace holds; addresses, routes and neighbours as the kernel's own messages."""

    links: tuple[Link, ...] = ()
    addresses: tuple[bytes, ...] = ()
    routes: tuple[bytes, ...] = ()
    neighbours: tuple[bytes, ...] = ()

    @property
    def nics(self) -> tuple[Link, ...]:
        """The interfaces that the guest gets as NICs."""
        return tuple(link for link in self.links if not link.loopback)


def survey(path: Path | None) -> Survey:
    """Read the namespace at `path`; nothing at all without one."""
    if path is None:
        return Survey()
    with inside(path):
        kernel = rtnl.Rtnl()
    with contextlib.closing(kernel):
        links = _links(kernel)
        stale = [link.name for link in links if link.name.startswith("mvt") and link.name[3:].isdigit()]
        if stale:
            raise RuntimeFailure(f"network namespace {path} is used by another microVM already (tap {stale[0]})")
        family = struct.pack("=Bxxx", 0)
        return Survey(
            links=tuple(sorted(links, key=lambda link: link.index)),
            addresses=tuple(kernel.dump(rtnl.RTM_GETADDR, family + b"\0" * 4)),
            routes=tuple(kernel.dump(rtnl.RTM_GETROUTE, b"\0" * 12)),
            neighbours=tuple(kernel.dump(rtnl.RTM_GETNEIGH, b"\0" * 12)),
        )


def connect(path: Path, links: tuple[Link, ...]) -> list[int]:
    """Give every link its tap, crossed over; the descriptors are for qemu."""
    taps: list[int] = []
    try:
        with inside(path):
            kernel = rtnl.Rtnl()
            for link in links:
                taps.append(open_tap(link.tap))
            indexes = [socket.if_nametoindex(link.tap) for link in links]
        with contextlib.closing(kernel):
            for link, tap in zip(links, indexes, strict=True):
                _raise_tap(kernel, tap, link.mtu)
                for source, target in ((link.index, tap), (tap, link.index)):
                    _add_clsact(kernel, source)
                    _drop_stale(kernel, source, ours=0)
                    _redirect(kernel, source, target)
    except BaseException as error:
        for tap in taps:
            os.close(tap)
        if isinstance(error, OSError):
            raise RuntimeFailure(f"connecting the interfaces of {path}: {error.strerror}") from error
        raise
    return taps


def disconnect(path: Path, links: tuple[Link, ...]) -> None:
    """Take the redirects away again; what has gone with its namespace or interface is no error."""
    if not path.exists():
        return
    try:
        with inside(path):
            kernel = rtnl.Rtnl()
    except RuntimeFailure:
        return
    with contextlib.closing(kernel):
        present = {link.index: link for link in _links(kernel)}
        taps = {link.name: link.index for link in present.values()}
        for link in links:
            found = present.get(link.index)
            if found and found.mac == link.mac:
                _drop_stale(kernel, link.index, ours=taps.get(link.tap, 0))
                _drop_empty_clsact(kernel, link.index)


def _links(kernel: rtnl.Rtnl) -> list[Link]:
    found = (_link(body) for body in kernel.dump(rtnl.RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0)))
    return [link for link in found if link]


def _link(body: bytes) -> Link | None:
    _, kind, index, flags, _ = _IFINFO.unpack_from(body)
    if kind not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
        return None
    found = dict(rtnl.attributes(body[16:]))
    return Link(
        name=found[_IFLA_IFNAME].rstrip(b"\0").decode(),
        index=index,
        mac=":".join(f"{byte:02x}" for byte in found.get(_IFLA_ADDRESS, b"")),
        mtu=struct.unpack("=I", found[_IFLA_MTU])[0],
        up=bool(flags & _IFF_UP),
        loopback=kind == _ARPHRD_LOOPBACK,
    )


def _raise_tap(kernel: rtnl.Rtnl, index: int, mtu: int) -> None:
    """Up, with the link's MTU, and without IPv6 addresses, so that the namespace says nothing to the guest."""
    mode = rtnl.attribute(_IFLA_INET6_ADDR_GEN_MODE, struct.pack("=B", _IN6_ADDR_GEN_MODE_NONE))
    spec = rtnl.attribute(_IFLA_AF_SPEC, rtnl.attribute(socket.AF_INET6, mode))
    # A kernel without IPv6 refuses this, and needs it not.
    with contextlib.suppress(OSError):
        kernel.change(rtnl.RTM_SETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + spec)
    body = _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP) + rtnl.attribute(_IFLA_MTU, struct.pack("=I", mtu))
    kernel.change(rtnl.RTM_SETLINK, 0, body)


def _add_clsact(kernel: rtnl.Rtnl, index: int) -> None:
    body = _TCMSG.pack(0, index, _CLSACT, _CLSACT_PARENT, 0) + rtnl.attribute(_TCA_KIND, b"clsact\0")
    try:
        kernel.change(rtnl.RTM_NEWQDISC, rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL, body)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


def _redirect(kernel: rtnl.Rtnl, source: int, target: int) -> None:
    """All that comes in on `source` leaves by `target`."""
    mirred = struct.pack("=IIiiiiI", 0, 0, _TC_ACT_STOLEN, 0, 0, _TCA_EGRESS_REDIR, target)
    action = rtnl.attribute(_TCA_ACT_KIND, b"mirred\0") + rtnl.attribute(
        _TCA_ACT_OPTIONS, rtnl.attribute(_TCA_MIRRED_PARMS, mirred)
    )
    # Selector: one key whose mask is 0 matches everything; TC_U32_TERMINAL ends the search there.
    selector = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
    options = rtnl.attribute(_TCA_U32_SEL, selector) + rtnl.attribute(_TCA_U32_ACT, rtnl.attribute(1, action))
    info = PREFERENCE << 16 | socket.htons(_ETH_P_ALL)
    body = _TCMSG.pack(0, source, 0, _INGRESS, info) + rtnl.attribute(_TCA_KIND, b"u32\0")
    kernel.change(
        rtnl.RTM_NEWTFILTER, rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL, body + rtnl.attribute(_TCA_OPTIONS, options)
    )


def _drop_stale(kernel: rtnl.Rtnl, index: int, ours: int) -> None:
    """Remove our filter if it leads nowhere any more, or to the tap `ours`."""
    target = _redirect_target(kernel, index)
    if target is None:
        return
    if target not in (0, ours):
        if ours == 0:
            raise RuntimeFailure(f"interface {index} is redirected by another microVM already")
        return
    info = PREFERENCE << 16
    with contextlib.suppress(OSError):
        kernel.change(rtnl.RTM_DELTFILTER, 0, _TCMSG.pack(0, index, 0, _INGRESS, info))


def _redirect_target(kernel: rtnl.Rtnl, index: int) -> int | None:
    """Index of the interface that our filter leads to; None without such a filter."""
    for body in _filters(kernel, index, _INGRESS):
        info = _TCMSG.unpack_from(body)[4]
        options = dict(rtnl.attributes(dict(rtnl.attributes(body[20:])).get(_TCA_OPTIONS, b"")))
        if info >> 16 != PREFERENCE or _TCA_U32_ACT not in options:
            continue
        for _, action in rtnl.attributes(options[_TCA_U32_ACT]):
            parts = dict(rtnl.attributes(dict(rtnl.attributes(action)).get(_TCA_ACT_OPTIONS, b"")))
            if _TCA_MIRRED_PARMS in parts:
                return int(struct.unpack_from("=IIiiiiI", parts[_TCA_MIRRED_PARMS])[6])
    return None


def _filters(kernel: rtnl.Rtnl, index: int, parent: int) -> list[bytes]:
    try:
        return kernel.dump(rtnl.RTM_GETTFILTER, _TCMSG.pack(0, index, 0, parent, 0))
    except OSError:
        return []


def _drop_empty_clsact(kernel: rtnl.Rtnl, index: int) -> None:
    """The queueing discipline goes when no filter of anyone hangs on it."""
    if any(_filters(kernel, index, parent) for parent in (_INGRESS, _INGRESS + 1)):
        return
    with contextlib.suppress(OSError):
        kernel.change(rtnl.RTM_DELQDISC, 0, _TCMSG.pack(0, index, _CLSACT, _CLSACT_PARENT, 0))
