"""Frames, and the network's messages for the guest."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from plugins.microvm import rtnl, statefile
from plugins.microvm.guestnet import rename_requests, setup_requests
from plugins.microvm.network import Link, Survey
from plugins.microvm.patch import Patch, match_links
from plugins.microvm.protocol import MAX_PAYLOAD, Decoder, Frame, Kind, ProtocolError, answer, exit_code


def test_frames_survive_any_cut() -> None:
    frames = [Frame(Kind.OUTPUT, 1, b"\1hello"), Frame(Kind.EXITED, 2, struct.pack("<I", 7)), Frame(Kind.READY, 1)]
    data = b"".join(frame.encode() for frame in frames)
    for size in (1, 3, 13, len(data)):
        decoder = Decoder()
        found = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
        assert found == frames
    assert exit_code(frames[1]) == 7


def test_answers() -> None:
    assert answer(Frame(Kind.ANSWER, 3, struct.pack("<i", 2) + b"why")) == (2, b"why")


@pytest.mark.parametrize(
    "data", [b"\x02\x01\0\0" + b"\0" * 8, b"\x01\x63\0\0" + b"\0" * 8, b"\x01\x01\0\0\0\0\0\0\xff\xff\xff\xff"]
)
def test_strange_frames_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


def test_too_large_frames_are_not_sent() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        Frame(Kind.INPUT, 1, b"x" * (MAX_PAYLOAD + 1)).encode()


def test_attributes_come_back() -> None:
    data = rtnl.attribute(1, b"abc") + rtnl.attribute(0x8002, b"")
    assert list(rtnl.attributes(data)) == [(1, b"abc"), (2, b"")]


LEFT = Link("left", 5, "02:00:00:00:00:05", 1450, True)
RIGHT = Link("right", 9, "02:00:00:00:00:09", 1500, False)
LO = Link("lo", 1, "00:00:00:00:00:00", 65536, True, loopback=True)


def _route(
    destination: str, *, oif: int = 0, gateway: str = "", scope: int = 0, table: int = 254, flags: int = 0
) -> bytes:
    data = rtnl.attribute(1, socket.inet_aton(destination))
    if oif:
        data += rtnl.attribute(4, struct.pack("=i", oif))
    if gateway:
        data += rtnl.attribute(5, socket.inet_aton(gateway))
    return struct.pack("=BBBBBBBBI", 2, 32, 0, 0, table, 3, scope, 1, flags) + data


def _destination(patch: Patch) -> str:
    return socket.inet_ntoa(dict(rtnl.attributes(patch.request[28:]))[1])


def test_names_may_be_swapped() -> None:
    requests = rename_requests((LEFT, RIGHT))
    names = [dict(rtnl.attributes(patch.request[32:]))[3].rstrip(b"\0").decode() for patch in requests]
    assert names == ["mvnic5", "mvnic9", "left", "right"]


def test_routes_on_the_link_come_first_and_others_stay_away() -> None:
    routes = (
        _route("10.9.0.0", oif=5, gateway="10.1.0.1"),
        _route("10.8.0.0", oif=5, scope=253, flags=4 | 16),
        _route("10.7.0.0", oif=5, table=255),
        _route("10.6.0.0", oif=77),
    )
    patches = setup_requests(Survey(links=(LO, LEFT, RIGHT), routes=routes))
    found = [patch for patch in patches if struct.unpack_from("=H", patch.request, 4)[0] == rtnl.RTM_NEWROUTE]
    assert [_destination(patch) for patch in found] == ["10.8.0.0", "10.9.0.0"]
    # onlink stays, what the host kernel only remarked goes
    assert struct.unpack_from("=I", found[0].request, 24)[0] == 4


def test_interface_numbers_become_the_guests() -> None:
    multipath = struct.pack("=HBBi", 8, 0, 0, 5) + struct.pack("=HBBi", 8, 0, 1, 9)
    body = (
        struct.pack("=BBBBBBBBI", 2, 8, 0, 0, 254, 3, 0, 1, 0)
        + rtnl.attribute(1, b"\x0a\0\0\0")
        + rtnl.attribute(9, multipath)
    )
    routes = (body, _route("10.9.0.0", oif=9, gateway="10.1.0.1"))
    patches = [
        p for p in setup_requests(Survey(links=(LEFT, RIGHT), routes=routes)) if p.request[4] == rtnl.RTM_NEWROUTE
    ]
    filled = [dict(rtnl.attributes(patch.fill({5: 2, 9: 3})[28:])) for patch in patches]
    assert struct.unpack_from("=i", filled[0][9], 4)[0] == 2
    assert struct.unpack_from("=i", filled[0][9], 12)[0] == 3
    assert struct.unpack("=i", filled[1][4])[0] == 3


def test_loopback_addresses_of_a_service_are_kept_and_the_kernels_own_are_not() -> None:
    def address(text: str, index: int) -> bytes:
        raw = socket.inet_aton(text)
        return struct.pack("=BBBBI", 2, 32, 0x80, 0, index) + rtnl.attribute(1, raw) + rtnl.attribute(2, raw)

    patches = setup_requests(Survey(links=(LO, LEFT), addresses=(address("127.0.0.1", 1), address("10.99.0.1", 1))))
    found = [patch for patch in patches if patch.request[4] == rtnl.RTM_NEWADDR]
    assert len(found) == 1
    assert struct.unpack_from("=I", found[0].fill({1: 1, 5: 2}), 20)[0] == 1


def test_guest_links_are_found_by_mac() -> None:
    def link(index: int, mac: str) -> bytes:
        body = struct.pack("=BxHiII", 0, 1, index, 0, 0) + rtnl.attribute(1, bytes.fromhex(mac.replace(":", "")))
        return rtnl.message(rtnl.RTM_NEWLINK, 0, body)

    listed = link(1, "00:00:00:00:00:00") + link(3, LEFT.mac) + link(2, RIGHT.mac)
    assert match_links(listed, [(1, ""), (5, LEFT.mac), (9, RIGHT.mac)]) == {1: 1, 5: 3, 9: 2}


def test_state_is_changed_whole(tmp_path: Path) -> None:
    statefile.update(str(tmp_path), a=1)
    statefile.update(str(tmp_path), b=2)
    assert statefile.read(str(tmp_path)) == {"a": 1, "b": 2}
    assert [path.name for path in tmp_path.iterdir()] == [statefile.NAME]


def test_a_process_is_known_by_its_start() -> None:
    assert statefile.start_time(os.getpid()) > 0
    assert statefile.start_time(2**22 + 1) == 0
