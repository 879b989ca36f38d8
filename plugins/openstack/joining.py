"""Networks outside, by which links go on in other VIMs: what is offered, and what is told of a joined link. Pure.

A Neutron network has the segment that Neutron chose, for good: others join with that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc

from plugins.openstack.linkhot import ENCAP_OF
from plugins.openstack.settings import Outside
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import NEVER, NEW_PLACEMENT, PluginError

_WORDS = {"VXLAN": pb.Segment.VXLAN, "VLAN": pb.Segment.VLAN, "FLAT": pb.Segment.FLAT}


def reaches(networks: Iterable[Outside], *, provider: bool, endpoints: Sequence[str]) -> list[pb.Reach]:
    """What the inventory tells. `provider`: we may make provider networks and read a network's segment. `endpoints`:
    the tunnels' ends that Neutron tells."""
    found = []
    for outside in networks:
        told = pb.Reach(
            network=outside.network,
            chooses=True,
            mtu_bytes=outside.mtu_bytes,
            one_way_us=outside.one_way_us,
            bandwidth_bps=outside.bandwidth_bps,
        )
        for word in dict.fromkeys(outside.encaps):
            if reason := _refusal(outside, word, provider=provider, endpoints=endpoints):
                told.refused.add(encap=_WORDS[word], reason=reason)
            else:
                told.encaps.append(_WORDS[word])
        found.append(told)
    return found


def _refusal(outside: Outside, word: str, *, provider: bool, endpoints: Sequence[str]) -> str:
    if not provider:
        return "the project's credentials may neither make provider networks nor read a network's segment"
    if word == "VXLAN" and not (outside.endpoints or endpoints):
        return "nobody tells where the cloud's tunnels end: name them in `endpoints`"
    return ""


def expect(networks: Mapping[str, Outside], segment: pb.Segment, instance: str) -> Outside:
    """The network outside that a link is to be joined by; FAILED_PRECONDITION where it is out of reach here."""
    outside = networks.get(segment.physical_network)
    if outside is None or segment.encap not in [_WORDS[word] for word in outside.encaps]:
        word = pb.Segment.Encap.Name(segment.encap)
        known = ", ".join(f"{one.network} ({', '.join(one.encaps)})" for one in networks.values()) or "none"
        raise _out_of_reach(f"no {word} on network {segment.physical_network!r}; there are: {known}", instance)
    return outside


def link_end(network: Mapping[str, Any], outside: Outside, endpoints: Sequence[str]) -> pb.LinkEnd | None:
    """By what others join this Neutron network; None where our credentials may not read it."""
    encap = ENCAP_OF.get(str(network.get("provider:network_type") or ""))
    if encap is None:
        return None
    tunnelled = encap == pb.Segment.VXLAN
    segment = pb.Segment(
        encap=encap,
        id=int(str(network.get("provider:segmentation_id") or 0)),
        physical_network=outside.network,
        udp_port=outside.udp_port if tunnelled else 0,
        group=outside.group if tunnelled else "",
    )
    mtu_bytes = min(filter(None, (int(network.get("mtu") or 0), outside.mtu_bytes)), default=0)
    ends = (outside.endpoints or endpoints) if tunnelled else ()
    return pb.LinkEnd(segment=segment, endpoints=ends, mtu_bytes=mtu_bytes)


def check_ends(link: pb.Resource, ends: Iterable[pb.LinkEnd]) -> None:
    """That the others join with our segment."""
    instance = link.handle.resource_id
    if not link.HasField("link_end"):
        raise PluginError(
            "precondition-failed",
            "the link was allocated without a segment: allocate one with it",
            grpc.StatusCode.FAILED_PRECONDITION,
            retry=NEVER,
            instance=instance,
        )
    ours = link.link_end.segment
    for number, end in enumerate(ends):
        theirs = end.segment
        if (theirs.encap, theirs.id, theirs.physical_network) != (ours.encap, ours.id, ours.physical_network):
            word = pb.Segment.Encap.Name(ours.encap)
            raise _out_of_reach(
                f"ends[{number}].segment: expected {word} {ours.id} on {ours.physical_network}: Neutron has chosen it, "
                "and a Neutron network cannot be led onto another one, so the other VIM has to join with this one",
                instance,
            )


def _out_of_reach(detail: str, instance: str) -> PluginError:
    return PluginError(
        "precondition-failed", detail, grpc.StatusCode.FAILED_PRECONDITION, retry=NEW_PLACEMENT, instance=instance
    )
