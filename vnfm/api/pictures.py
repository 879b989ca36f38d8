"""A chain's record as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vnfm.graph.picture import ChainPicture, PictureEnd, PictureHost, PictureLink, PictureVnf, draw_chain
from vnfm.model.chain import ServiceChain
from vnfm.model.lcm import VnfInstance
from vnfm.model.placement import Runtime
from vnfm.store.orders import ChainRecord


def chain_svg(chain: ChainRecord, instances: Sequence[VnfInstance]) -> str:
    """The chain as it stands: states from the instances, counts from the last probe."""
    planned = {v["alias"]: v for v in chain.plan.get("vnfs", ())}
    by_alias = {i.alias: i for i in instances}
    ends = {e["name"]: e for e in chain.body.get("ends", ())}
    return draw_chain(
        ChainPicture(
            name=chain.name,
            ends=tuple(PictureEnd(e.name, ends.get(e.name, {}).get("address", e.cidr)) for e in chain.descriptor.ends),
            vnfs=tuple(_vnf(v.alias, planned.get(v.alias, {}), by_alias.get(v.alias)) for v in chain.descriptor.vnfs),
            links=_links(chain),
            hosts=_hosts(planned.values()),
            order=_order(chain.descriptor),
            state=chain.state.value,
        )
    )


def _vnf(alias: str, planned: Mapping[str, Any], instance: VnfInstance | None) -> PictureVnf:
    vnfcs = instance.vnfcs if instance else ()
    return PictureVnf(
        alias=alias,
        product=instance.name if instance else "",
        runtime=vnfcs[0].runtime if vnfcs else Runtime(planned["runtime"]) if planned else None,
        host=f"{vnfcs[0].vim}/{vnfcs[0].host}" if vnfcs else _host_id(planned) if planned else "",
        state=instance.vnf_state.value if instance and instance.vnf_state else "",
        details=(vnfcs[0].native_id,) if vnfcs else (),
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
    address = {
        (link["id"], port["name"]): port for link in chain.body.get("links", ()) for port in link.get("ports", ())
    }
    counts = {(h["from_"], h["to"]): h for h in (chain.body.get("probe") or {}).get("hops", ())}
    drawn: dict[tuple[str, str], PictureLink] = {}
    for path in chain.descriptor.paths:
        for a, b in zip(path.hops, path.hops[1:], strict=False):
            link = next((k for k, name in address if name == a.name and (k, b.name) in address), "")
            source, target = address.get((link, a.name), {}), address.get((link, b.name), {})
            count = counts.get((a.name, b.name), {})
            drawn[a.name, b.name] = PictureLink(
                a.name,
                b.name,
                source_port=source.get("cp", ""),
                target_port=target.get("cp", ""),
                source_address=source.get("address", ""),
                target_address=target.get("address", ""),
                latency_us=count.get("rtt_us"),
                sent=count.get("sent"),
                received=count.get("received"),
            )
    return tuple(drawn.values())


def _order(chain: ServiceChain) -> tuple[str, ...]:
    return tuple(dict.fromkeys(h.name for p in chain.paths for h in p.hops))
