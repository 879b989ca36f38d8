"""Patches: how an end of a pair is joined to a fabric while a path needs that, unseen by what uses the end.

Beside the end, in its namespace, stands one end of another veth whose far end is a port of the fabric. What comes in by
the patch is redirected into the end (so it bears the end's MAC); `divert` sends what goes out of the end by the patch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from plugins.local.net import bpf, naming, netns, rtnl, tc
from plugins.local.net.courses import End
from plugins.local.net.errors import HostRefusedError, NotThereError
from plugins.local.net.links import Checkpoint, find_device, patch_alias, quiet_carrier
from plugins.local.net.netlink import NetlinkError, Request, RouteSocket

_PASSING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Patch:
    """The patch of a port: `interface` is the pair's end, `beside` the patch's end in the same namespace."""

    namespace: str
    interface: str
    beside: str
    fabric: str
    far: str
    alias: str


def patch_of(end: End) -> Patch:
    """The names of an end's patch."""
    port = end.port
    beside = naming.patch_name(port.member.cp_id)
    return Patch(port.namespace, port.interface, beside, end.plan.fabric, end.name, patch_alias(port))


def prepare(patch: Patch, checkpoint: Checkpoint) -> None:
    """Make what is missing of the patch: what the fabric sends comes in, what goes out still takes the pair's wire."""
    netns.ensure(patch.fabric, quiet_carrier)
    try:
        with netns.route_socket(patch.namespace) as member, netns.route_socket(patch.fabric) as fabric:
            end = find_device(member, patch.interface)
            if end is None:
                raise NotThereError(f"port {patch.namespace}/{patch.interface} is not there: allocate its link again")
            far = find_device(fabric, patch.far)
            beside = find_device(member, patch.beside)
            if not (beside and far and far.is_up and far.alias == patch.alias and beside.is_up):
                member.send([rtnl.delete_device(patch.beside)])
                fabric.send([rtnl.delete_device(patch.far)])
                _make(patch, end.mac, end.mtu_bytes, member, fabric, checkpoint)
                beside = find_device(member, patch.beside)
            if beside is None:
                raise HostRefusedError(f"patch {patch.namespace}/{patch.beside} is gone right after it was made")
            member.send(_redirected(member, beside.index, tc.INGRESS, end.index))
            checkpoint("patch.ingress")
            _inside(patch, partial(_attach, patch))
            checkpoint("patch.attached")
            _wait_until_it_passes(member, patch.beside)
            _wait_until_it_passes(fabric, patch.far)
    except NetlinkError as error:
        raise HostRefusedError(f"patch of {patch.namespace}/{patch.interface}: {error.strerror}") from error


def _make(
    patch: Patch, mac: str, mtu_bytes: int, member: RouteSocket, fabric: RouteSocket, checkpoint: Checkpoint
) -> None:
    descriptor = netns.open_fd(patch.fabric)
    try:
        request = rtnl.new_pair(patch.beside, mac, mtu_bytes, patch.far, "", descriptor)
        member.send([request, rtnl.set_alias(patch.beside, patch.alias)])
    finally:
        os.close(descriptor)
    checkpoint("patch.pair")
    beside = find_device(member, patch.beside)
    if beside is None:
        raise HostRefusedError(f"patch {patch.namespace}/{patch.beside} is gone right after it was made")
    member.send([rtnl.set_device(beside.index), rtnl.set_up(index=beside.index)])
    fabric.send([rtnl.set_up(patch.far), rtnl.set_alias(patch.far, patch.alias)])
    checkpoint("patch.stamped")


def _wait_until_it_passes(route: RouteSocket, name: str) -> None:
    # The kernel takes note of a new wire a little later; until then it drops what is sent by it.
    deadline = time.monotonic() + _PASSING_SECONDS
    while (device := find_device(route, name)) and not device.passes and time.monotonic() < deadline:
        time.sleep(0.001)


def _redirected(route: RouteSocket, index: int, side: int, target: int) -> list[Request]:
    """The requests that redirect a device's frames to the target, whatever is there."""
    found = [one for one in map(tc.parse_redirection, _filters(route, index, side)) if one]
    if [one.target for one in found] == [target]:
        return []
    # One that leads to a device that is gone drops everything, so nothing is lost by taking it away first.
    stale = [tc.delete_redirection(index, side)] if found else []
    return [tc.add_clsact(index), *stale, tc.redirect(index, side, target)]


def _filters(route: RouteSocket, index: int, side: int) -> list[bytes]:
    try:
        return route.dump(tc.dump_filters(index, side))
    except NetlinkError:
        return []  # no queueing discipline that takes filters


def divert(patches: Iterable[Patch], checkpoint: Checkpoint) -> None:
    """What goes out of these ends goes out by their patches from now on; NotThereError where one is gone."""
    for patch in patches:
        _inside(patch, partial(_divert, patch))
        checkpoint("patch.diverted")


def undivert(patches: Iterable[Patch], checkpoint: Checkpoint) -> None:
    """What goes out of these ends takes their pair's wire again."""
    for patch in patches:
        if netns.exists(patch.namespace):
            _inside(patch, partial(_release, patch))
            checkpoint("patch.undiverted")


def is_whole(patch: Patch) -> bool:
    """Whether the patch is there and both ways lead over it."""
    found: list[bool] = []
    try:
        _inside(patch, lambda: found.append(_look(patch)))
    except NotThereError:
        return False
    return found[0]


def _look(patch: Patch) -> bool:
    with RouteSocket() as member:
        end, beside = find_device(member, patch.interface), find_device(member, patch.beside)
        if end is None or beside is None or _redirected(member, beside.index, tc.INGRESS, end.index):
            return False
        try:
            return bpf.target_of(end.index) == beside.index
        except bpf.TcxUnavailable:
            return not _redirected(member, end.index, tc.EGRESS, beside.index)


def _divert(patch: Patch) -> None:
    with RouteSocket() as member:
        end, beside = find_device(member, patch.interface), find_device(member, patch.beside)
        if end is None or beside is None:
            raise NotThereError(f"port {patch.namespace}/{patch.interface} or its patch is gone")
        try:
            bpf.turn(end.index, beside.index)
        except bpf.TcxUnavailable:
            # Older kernels: a packet or two may be lost while the queueing discipline comes.
            member.send(_redirected(member, end.index, tc.EGRESS, beside.index))


def _release(patch: Patch) -> None:
    with RouteSocket() as member:
        end = find_device(member, patch.interface)
        if end is None:
            return
        try:
            bpf.turn(end.index, 0)
        except bpf.TcxUnavailable:
            member.send([tc.delete_redirection(end.index, tc.EGRESS)])


def _attach(patch: Patch) -> None:
    with RouteSocket() as member:
        end = find_device(member, patch.interface)
        if end is not None:
            with suppress(bpf.TcxUnavailable):
                bpf.attach(end.index)


def _detach(patch: Patch) -> None:
    with RouteSocket() as member:
        end = find_device(member, patch.interface)
        if end is not None:
            with suppress(bpf.TcxUnavailable):
                bpf.detach(end.index)


def _inside(patch: Patch, work: Callable[[], None]) -> None:
    try:
        netns.inside(patch.namespace, work)
    except OSError as error:
        raise HostRefusedError(f"port {patch.namespace}/{patch.interface}: {error.strerror}") from error


def remove(patch: Patch, checkpoint: Checkpoint) -> None:
    """Take the patch away; gone already is fine."""
    if netns.exists(patch.namespace):
        _inside(patch, partial(_release, patch))
        _inside(patch, partial(_detach, patch))
        with netns.route_socket(patch.namespace) as member:
            member.send([rtnl.delete_device(patch.beside)])
    if netns.exists(patch.fabric):
        with netns.route_socket(patch.fabric) as fabric:
            fabric.send([rtnl.delete_device(patch.far)])
    checkpoint("patch.removed")
