"""Networks outside and the segments on them: the contract's and the configuration's words turned into those of
plugins.local.net."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from plugins.local.net import Encap, Outside, Remote, Segment, segments
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import invalid

_ENCAPS = {Encap.VXLAN: pb.Segment.VXLAN, Encap.VLAN: pb.Segment.VLAN, Encap.FLAT: pb.Segment.FLAT}
_ENCAP_OF = {out: encap for encap, out in _ENCAPS.items()}


def networks(config: object) -> tuple[Outside, ...]:
    """From what the schema has let through; INVALID_ARGUMENT names the field that has no sense."""
    if not isinstance(config, Mapping):
        return ()
    return tuple(_outside(str(name), told) for name, told in config.items())


def _outside(name: str, told: Mapping[str, object]) -> Outside:
    where = f"config.networks.{name}"
    address, group = str(told.get("address", "")), str(told.get("group", ""))
    _check_address(f"{where}.address", address, multicast=False)
    _check_address(f"{where}.group", group, multicast=True)
    encaps, ids = told["encaps"], told.get("vlan_ids")
    assert isinstance(encaps, list)
    vlan_ids = (int(ids[0]), int(ids[1])) if isinstance(ids, list) else None
    if vlan_ids and vlan_ids[0] > vlan_ids[1]:
        raise invalid(f"{where}.vlan_ids", f"begins with {vlan_ids[0]} and ends with {vlan_ids[1]}")
    return Outside(
        network=name,
        interface=str(told["interface"]),
        encaps=tuple(dict.fromkeys(Encap(str(one)) for one in encaps)),
        address=address,
        udp_port=int(str(told.get("udp_port", 0))),
        group=group,
        vlan_ids=vlan_ids,
        namespace=str(told.get("namespace", "")),
        one_way_us=int(str(told.get("one_way_us", 0))),
        bandwidth_bps=int(str(told.get("bandwidth_bps", 0))),
    )


def _check_address(field: str, text: str, *, multicast: bool) -> None:
    if not text:
        return
    try:
        sane = ipaddress.ip_address(text).is_multicast == multicast
    except ValueError:
        sane = False
    if not sane:
        raise invalid(field, f"{text!r} is not {'a multicast group' if multicast else 'an address of this host'}")


def reach(outside: Outside) -> pb.Reach:
    """What of a network can be offered now, and why the rest cannot; the kernel is asked by trying."""
    told = pb.Reach(network=outside.network, one_way_us=outside.one_way_us, bandwidth_bps=outside.bandwidth_bps)
    carried = []
    for encap in outside.encaps:
        if reason := segments.refusal(outside, encap):
            told.refused.add(encap=_ENCAPS[encap], reason=reason)
            continue
        told.encaps.append(_ENCAPS[encap])
        carried.append(segments.mtu_bytes(outside, encap))
    told.mtu_bytes = min(carried, default=0)
    return told


def segment_in(message: pb.Segment) -> Segment:
    """A segment as asked for; INVALID_ARGUMENT where this VIM knows no such encapsulation."""
    encap = _ENCAP_OF.get(message.encap)
    if encap is None:
        raise invalid("segment.encap", f"{pb.Segment.Encap.Name(message.encap)} is not made here: VXLAN, VLAN or FLAT")
    return Segment(encap, message.physical_network, message.id, message.udp_port, message.group)


def joined(ends: Iterable[pb.LinkEnd], own: Segment) -> tuple[Segment, tuple[Remote, ...]]:
    """The segment that a link is joined by, and who is there. A group that one end names is everybody's."""
    told = [(segment_in(end.segment), end) for end in ends]
    first = told[0][0]
    flooding = next((segment for segment, _ in told if segment.group), None)
    remotes = tuple(Remote(address, segment.udp_port) for segment, end in told for address in end.endpoints)
    if flooding is not None:
        return Segment(first.encap, first.network, first.id, flooding.udp_port, flooding.group), ()
    return Segment(first.encap, first.network, first.id, own.udp_port), remotes


def link_end(segment: Segment, outside: Outside) -> pb.LinkEnd:
    """How others join a link of ours; raises NetError where the network is out of reach."""
    told = pb.Segment(
        encap=_ENCAPS[segment.encap],
        id=segment.id,
        physical_network=segment.network,
        udp_port=segment.udp_port,
        group=segment.group,
    )
    endpoints = [segments.address(outside)] if segment.encap is Encap.VXLAN else []
    return pb.LinkEnd(segment=told, endpoints=endpoints, mtu_bytes=segments.mtu_bytes(outside, segment.encap))
