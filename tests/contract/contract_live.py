"""What lives: chains that change, watches that are followed, captures that are read."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
from contract_client import CALL_S, Caller, new_id
from contract_world import World, port

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MAGICS = (0xA1B2C3D4, 0xA1B23C4D)  # microseconds, nanoseconds
ICMP, UDP = 1, 17

WATCH_S = 280.0  # what happens meanwhile may take a cloud long


def altered(request: pb.AllocatePathRequest, generation: int, *hops: pb.Hop) -> pb.AllocatePathRequest:
    """The same path at another generation, over other hops where some are given."""
    other = pb.AllocatePathRequest()
    other.CopyFrom(request)
    other.generation = generation
    if hops:
        del other.hops[:]
        other.hops.extend(hops)
    return other


def inserted(world: World, path: pb.AllocatePathRequest, name: str = "two") -> pb.Hop:
    """A compute that joins the chain's right link late, with both its ports; its hop, to stand before the server.

    Its addresses are blocks of the link's own network, its gateways are nobody's: the path leads to and from it.
    """
    right = _link_of(world, path, "s0")
    request = world.compute_request(
        port("in", right, "10.99.2.5/30", via="10.99.2.6", to="10.99.1.0/24"),
        port("out", right, "10.99.2.9/30", via="10.99.2.10", to="10.99.2.0/30"),
        name=name,
    )
    world.compute(request)
    return hop(request.resource_id, name)


def another_instance(world: World, path: pb.AllocatePathRequest) -> Handle:
    """A further instance of the chain's one compute: the same ports, on the same links, joined late."""
    request = world.compute_request(
        port("in", _link_of(world, path, "c0"), "10.99.1.5/30", via="10.99.1.6", to="10.99.1.0/30"),
        port("out", _link_of(world, path, "s0"), "10.99.2.5/30", via="10.99.2.6", to="10.99.2.0/30"),
        name="one-b",
    )
    world.compute(request)
    return Handle(resource_id=request.resource_id)


def hop(resource_id: str, name: str) -> pb.Hop:
    """A compute on a path, entered at `in` and left at `out`."""
    return pb.Hop(compute=Handle(resource_id=resource_id), ingress_cp_id="in", egress_cp_id="out", name=name)


def _link_of(world: World, path: pb.AllocatePathRequest, cp_id: str) -> str:
    return world.links[path.resource_id, cp_id]


def sibling(path: pb.AllocatePathRequest, match: pb.Classifier, *hops: pb.Hop) -> pb.AllocatePathRequest:
    """Another path between the same ends, for what `match` picks."""
    other = altered(path, 1, *hops)
    other.resource_id = new_id()
    other.match.CopyFrom(match)
    return other


@dataclass
class Watch:
    """WatchResources, followed in a thread: what came, in order."""

    caller: Caller
    kinds: Sequence[pb.Kind.ValueType] = ()
    gathered: bool = False
    seen: list[pb.Resource] = field(default_factory=list)

    def __post_init__(self) -> None:
        owner = Owner(manager_id=self.caller.manager_id)
        asked = pb.QueryRequest(owner=owner, kinds=self.kinds, gathered=self.gathered)
        self._stream = self.caller.resources.WatchResources(asked, timeout=WATCH_S)
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        self.wait(lambda resource: resource.listed)

    def _follow(self) -> None:
        try:
            for resource in self._stream:
                with self._news:
                    self.seen += [resource, *resource.later]
                    self._news.notify_all()
        except grpc.RpcError:
            return

    def wait(self, wanted: Callable[[pb.Resource], bool], timeout_s: float = 20.0) -> pb.Resource:
        """The first that is wanted, from the beginning of the watch."""
        with self._news:
            found = self._news.wait_for(lambda: next(filter(wanted, self.seen), None), timeout_s)
        assert found is not None, f"never told; what was: {[(r.handle.resource_id, r.state) for r in self.seen]}"
        return found

    def states(self, resource_id: str) -> list[int]:
        """What was told of one resource."""
        return [each.state for each in self.seen if each.handle.resource_id == resource_id]

    def close(self) -> None:
        """Hear no more."""
        self._stream.cancel()
        self._thread.join(10)


@dataclass(frozen=True)
class Frame:
    """A packet of a pcap file."""

    at_s: float
    data: bytes
    wire_bytes: int

    @property
    def protocol(self) -> int:
        """The IP protocol; -1 where it is no IPv4."""
        return self.data[23] if self.data[12:14] == b"\x08\x00" and len(self.data) > 23 else -1

    @property
    def icmp_type(self) -> int:
        """8 asks, 0 answers; -1 where it is no ICMP."""
        at = 14 + 4 * (self.data[14] & 0x0F) if self.protocol == ICMP else len(self.data)
        return self.data[at] if at < len(self.data) else -1


@dataclass(frozen=True)
class Pcap:
    """A whole pcap file, read as any tool would."""

    snap_bytes: int
    link_type: int
    frames: tuple[Frame, ...]


def read_pcap(data: bytes) -> Pcap:
    """Every byte of the file has its place."""
    magic, major, minor, _, _, snap_bytes, link_type = _FILE.unpack_from(data)
    assert magic in _MAGICS, hex(magic)
    assert (major, minor) == (2, 4)
    parts_per_s = 1e9 if magic == _MAGICS[1] else 1e6
    frames, at = [], _FILE.size
    while at < len(data):
        seconds, parts, length, wire_bytes = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        assert length <= wire_bytes
        assert at + length <= len(data), "the last packet is cut off"
        frames.append(Frame(seconds + parts / parts_per_s, data[at : at + length], wire_bytes))
        at += length
    return Pcap(snap_bytes, link_type, tuple(frames))


class Capture:
    """A capture, followed in a thread; it has begun once its header is there."""

    def __init__(self, caller: Caller, request: pb.CaptureRequest) -> None:
        self._stream = caller.observation.Capture(request, timeout=CALL_S)
        self._data = bytearray()
        self._news = threading.Condition()
        self.ended_by: grpc.StatusCode | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        with self._news:
            assert self._news.wait_for(lambda: len(self._data) >= _FILE.size or self.ended_by, 20)

    def _follow(self) -> None:
        try:
            for chunk in self._stream:
                with self._news:
                    self._data += chunk.pcap
                    self._news.notify_all()
        except grpc.RpcError:
            pass
        self.ended_by = self._stream.code()
        with self._news:
            self._news.notify_all()

    def until(self, enough: Callable[[Pcap], bool], timeout_s: float = 10.0) -> Pcap:
        """The file as soon as it holds enough."""
        with self._news:
            assert self._news.wait_for(lambda: enough(read_pcap(bytes(self._data))), timeout_s), (
                f"only {len(read_pcap(bytes(self._data)).frames)} packets came"
            )
            return read_pcap(bytes(self._data))

    def whole(self, timeout_s: float = 20.0) -> bytes:
        """The file when the capture has ended by itself."""
        self._thread.join(timeout_s)
        assert self.ended_by is grpc.StatusCode.OK, self.ended_by
        return bytes(self._data)

    def close(self) -> None:
        """Leave."""
        self._stream.cancel()
        self._thread.join(10)


def samples(caller: Caller, *resource_ids: str, count: int = 1, interval_ms: int = 100) -> list[pb.StatsSample]:
    """So many samples of these."""
    request = pb.WatchStatsRequest(
        owner=Owner(manager_id=caller.manager_id), resource_ids=resource_ids, interval_ms=interval_ms, count=count
    )
    return list(caller.observation.WatchStats(request, timeout=CALL_S))


def counted_at(sample: pb.StatsSample, resource_id: str, cp_id: str) -> pb.PortStats:
    """The counters of one port."""
    (found,) = [each for each in sample.ports if (each.resource_id, each.cp_id) == (resource_id, cp_id)]
    return found


def by_path(sample: pb.StatsSample) -> dict[tuple[str, str, str], int]:
    """Packets that a path's match sent into a port, by (path_id, resource_id, cp_id)."""
    return {(each.path_id, each.resource_id, each.cp_id): each.packets for each in sample.paths}


def eventually(seen: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    """Whether it comes to be so; counters may be read a moment late."""
    end_s = time.monotonic() + timeout_s
    while not seen():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.1)
    return True
