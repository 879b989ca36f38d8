"""A chain's record as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from vnfm.api.liveness import Live, heal_document, health_document, replicas
from vnfm.graph.picture import ChainPicture, PictureEnd, PictureHost, PictureLink, PicturePath, PictureVnf, draw_chain
from vnfm.model.chain import Match, ServiceChain
from vnfm.model.lcm import VnfInstance
from vnfm.model.placement import Runtime
from vnfm.store.orders import ChainRecord

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 132: "SCTP"}


def chain_svg(chain: ChainRecord, instances: Sequence[VnfInstance], live: Live) -> str:
    """The chain as it stands: how its VNFs do, and what the last probe of each path counted."""
    planned = {v["alias"]: v for v in chain.plan.get("vnfs", ())}
    by_alias = {i.alias: i for i in instances}
    ends = {e["name"]: e for e in chain.body.get("ends", ())}
    several = len(chain.descriptor.paths) > 1
    return draw_chain(
        ChainPicture(
            name=chain.name,
            ends=tuple(PictureEnd(e.name, ends.get(e.name, {}).get("address", e.cidr)) for e in chain.descriptor.ends),
            vnfs=tuple(
                _vnf(v.alias, planned.get(v.alias, {}), by_alias.get(v.alias), chain, live)
                for v in chain.descriptor.vnfs
            ),
            links=_links(chain),
            hosts=_hosts(planned.values()),
            order=_order(chain.descriptor),
            state=chain.state.value,
            subtitle=_subtitle(live),
            paths=tuple(PicturePath(p.name, match_words(p.match)) for p in chain.descriptor.paths) if several else (),
        )
    )


def _subtitle(live: Live) -> str:
    heal = heal_document(live.last_heal)
    if heal is None:
        return ""
    outage = f", down for {heal['outage_ms']} ms" if heal["outage_ms"] is not None else ""
    return f"last heal: {', '.join(heal['vnfs'])} at {heal['at'][:19]} {heal['state']}{outage}: {heal['cause']}"


def match_words(match: Match) -> str:
    """What a match says, in few words."""
    words = [f"from {match.source_cidr}"] if match.source_cidr else []
    words += [f"to {match.destination_cidr}"] if match.destination_cidr else []
    words += [PROTOCOLS.get(match.ip_protocol, f"protocol {match.ip_protocol}")] if match.ip_protocol else []
    words += [f"port {match.destination_port}"] if match.destination_port else []
    words += [f"source port {match.source_port}"] if match.source_port else []
    words += [f"VLAN {match.vlan}"] if match.vlan else []
    words += [f"DSCP {match.dscp}"] if match.dscp else []
    return " ".join(words) or "everything else"


def _vnf(
    alias: str, planned: Mapping[str, Any], instance: VnfInstance | None, chain: ChainRecord, live: Live
) -> PictureVnf:
    vnfcs = instance.vnfcs if instance else ()
    health = health_document(instance, live) if instance else None
    why = (str(health["reason"]),) if health and health["reason"] else ()
    return PictureVnf(
        alias=alias,
        product=instance.name if instance else "",
        runtime=vnfcs[0].runtime if vnfcs else Runtime(planned["runtime"]) if planned else None,
        host=f"{vnfcs[0].vim}/{vnfcs[0].host}" if vnfcs else _host_id(planned) if planned else "",
        state=str(health["state"]) if health else "",
        replicas=replicas(chain.realization, instance) if instance else 1,
        details=(*why, *((vnfcs[0].native_id,) if vnfcs else ())),
    )


def _host_id(planned: Mapping[str, Any]) -> str:
    return f"{planned['vim']}/{planned['host']}"


def _hosts(planned: Any) -> tuple[PictureHost, ...]:
    hosts: dict[str, PictureHost] = {}
    for vnf in planned:
        parent = ""
        for name in vnf["host_path"]:
            key = f"{vnf['vim']}/{name}"
            hosts.setdefault(key, PictureHost(key, name, parent, f"VIM {vnf['vim']}"))
            parent = key
    return tuple(hosts.values())


def _links(chain: ChainRecord) -> tuple[PictureLink, ...]:
    """Of each path for itself where there are several."""
    address = {
        (link["id"], port["name"]): port for link in chain.body.get("links", ()) for port in link.get("ports", ())
    }
    several = len(chain.descriptor.paths) > 1
    probes = chain.body.get("probes", {})
    drawn: list[PictureLink] = []
    for path in chain.descriptor.paths:
        probe = probes.get(path.name) or (None if several else chain.body.get("probe")) or {}
        counts = {(h["from_"], h["to"]): h for h in probe.get("hops", ())}
        for a, b in pairwise(path.hops):
            link = next((k for k, name in address if name == a.name and (k, b.name) in address), "")
            source, target = address.get((link, a.name), {}), address.get((link, b.name), {})
            count = counts.get((a.name, b.name), {})
            drawn.append(
                PictureLink(
                    a.name,
                    b.name,
                    source_port=source.get("cp", ""),
                    target_port=target.get("cp", ""),
                    source_address=source.get("address", ""),
                    target_address=target.get("address", ""),
                    latency_us=count.get("rtt_us"),
                    sent=count.get("sent"),
                    received=count.get("received"),
                    path=path.name if several else "",
                )
            )
    return tuple(drawn)


def _order(chain: ServiceChain) -> tuple[str, ...]:
    return tuple(dict.fromkeys(h.name for p in chain.paths for h in p.hops))
