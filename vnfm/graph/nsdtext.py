"""Writes a chain as an NSD (ETSI GS NFV-SOL 001 clause 7); `nsd` says what stands where and reads it back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import yaml

from vnfm.graph.draft import PROTOCOLS
from vnfm.graph.nsd import FIRST_KEY, NFV, POLICIES
from vnfm.model.chain import ChainVnf, Match, PathHop, ServiceChain

NAMESPACE = uuid.UUID("5b1f0b74-3f4c-5b4e-9a56-0d4ef4e0c0a1")  # of the descriptor ids that we make for NSDs


class _Names:
    """Names of nodes that no end and no VNF bears."""

    def __init__(self, chain: ServiceChain) -> None:
        self._taken = {e.name for e in chain.ends} | {v.alias for v in chain.vnfs}

    def __call__(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def to_nsd(chain: ServiceChain) -> str:
    """The chain as an NSD's YAML. Reading it back gives the same chain; equal chains give equal bytes."""
    name = _Names(chain)
    service: dict[str, Any] = {
        "type": f"{NFV}NS",
        "properties": {
            "descriptor_id": str(uuid.uuid5(NAMESPACE, chain.name)),
            "invariant_id": str(uuid.uuid5(NAMESPACE, f"{chain.name} invariant")),
            "designer": "vnfm",
            "version": "1.0",
            "name": chain.name,
            "flavour_id": "default",
        },
    }
    if chain.max_latency_us is not None:
        service["metadata"] = {"latency_us": str(chain.max_latency_us)}
    nodes: dict[str, Any] = {name("service"): service}
    nets = {end.name: name(f"{end.name}_net") for end in chain.ends}
    nodes |= {end.name: _sap(nets[end.name]) for end in chain.ends}
    nodes |= {vnf.alias: _vnf_node(vnf) for vnf in chain.vnfs}
    nodes |= {nets[end.name]: _link(end.cidr) for end in chain.ends}
    paths = _path_nodes(chain, nodes, nets, name)
    policies = _policy_list(chain, paths, name)
    topology: dict[str, Any] = {
        "node_templates": nodes,
        "groups": {
            name("forwarding_graph"): {
                "type": "tosca.groups.nfv.VNFFG",
                "properties": {"description": f"How traffic crosses {chain.name}"},
                "members": [*paths.values(), *(v.alias for v in chain.vnfs)],
            }
        },
    }
    if policies:
        topology["policies"] = policies
    text: str = yaml.dump(
        {
            FIRST_KEY: "tosca_simple_yaml_1_3",
            "description": f"Service chain {chain.name}",
            "imports": ["etsi_nfv_sol001_nsd_types.yaml"],
            "topology_template": topology,
        },
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=118,
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes equal values out instead of pointing at the first."""

    def ignore_aliases(self, data: object) -> bool:
        """Nothing is aliased: our own reader takes none."""
        return True


def _sap(net: str) -> dict[str, Any]:
    return {
        "type": f"{NFV}Sap",
        "properties": {"layer_protocols": ["ipv4"], "role": "root"},
        "requirements": [{"internal_virtual_link": net}],
    }


def _vnf_node(vnf: ChainVnf) -> dict[str, Any]:
    properties: dict[str, Any] = {"descriptor_id": vnf.vnfd_id}
    if vnf.flavour_id:
        properties["flavour_id"] = vnf.flavour_id
    if vnf.level_id:
        properties["vnf_profile"] = {
            "instantiation_level": vnf.level_id,
            "min_number_of_instances": 1,
            "max_number_of_instances": 1,
        }
    node: dict[str, Any] = {"type": f"{NFV}VNF", "properties": properties}
    metadata = {"sites": ",".join(vnf.sites), "zones": ",".join(vnf.zones), "vim": vnf.vim}
    if vnf.isolation is not None:
        metadata["isolation"] = vnf.isolation.name.lower()
    if said := {key: value for key, value in sorted(metadata.items()) if value}:
        node["metadata"] = said
    return node


def _link(cidr: str = "") -> dict[str, Any]:
    version = "ipv6" if ":" in cidr else "ipv4"
    profile: dict[str, Any] = {"min_bitrate_requirements": {"root": 0}, "max_bitrate_requirements": {"root": 0}}
    if cidr:
        data = {"ip_version": version, "cidr": cidr}
        profile["virtual_link_protocol_data"] = [{"associated_layer_protocol": version, "l3_protocol_data": data}]
    return {
        "type": f"{NFV}NsVirtualLink",
        "properties": {"connectivity_type": {"layer_protocols": [version]}, "vl_profile": profile},
    }


def _path_nodes(chain: ServiceChain, nodes: dict[str, Any], nets: Mapping[str, str], name: _Names) -> dict[str, str]:
    """Adds links, positions and paths to `nodes`; gives the NFP's name of each path."""
    links: dict[frozenset[str], str] = {}
    elements: dict[PathHop, str] = {}
    result: dict[str, str] = {}
    for path in chain.paths:
        for left, right in zip(path.hops, path.hops[1:], strict=False):
            pair = frozenset((left.name, right.name))
            if pair in links:
                continue
            link = nets.get(left.name) or nets.get(right.name)
            if link is None:
                link = name(f"{left.name}_{right.name}")
                nodes[link] = _link()
            links[pair] = link
            _attach(nodes, left, left.egress_cp, link)
            _attach(nodes, right, right.ingress_cp, link)
        nfp = result[path.name] = name(f"nfp_{path.name}")
        positions: list[str] = []
        for hop in path.hops:
            if hop not in elements:
                elements[hop] = name(f"at_{hop.name}")
                nodes[elements[hop]] = _element(hop)
            position = name(f"{nfp}_{len(positions)}")
            nodes[position] = {"type": f"{NFV}NfpPosition", "requirements": [{"element": elements[hop]}]}
            positions.append(position)
        nodes[nfp] = {
            "type": f"{NFV}NFP",
            "metadata": {"name": path.name},
            "requirements": [{"nfp_position": p} for p in positions],
        }
        if path.max_latency_us is not None:
            nodes[nfp]["metadata"]["latency_us"] = str(path.max_latency_us)
    return result


def _attach(nodes: dict[str, Any], hop: PathHop, cp: str, link: str) -> None:
    """A VNF's requirement for a link, named after its external CP where the path names one."""
    node = nodes.get(hop.name, {})
    if node.get("type") != f"{NFV}VNF":
        return
    entry = {f"virtual_link_{cp}" if cp else "virtual_link": link}
    requirements = node.setdefault("requirements", [])
    if entry not in requirements:
        requirements.append(entry)


def _element(hop: PathHop) -> dict[str, Any]:
    def target(cp: str) -> dict[str, Any]:
        return {"profile_element": {"node": hop.name, "capability": cp} if cp else hop.name}

    same = hop.ingress_cp == hop.egress_cp
    targets = [target(hop.ingress_cp)] if same else [target(hop.ingress_cp), target(hop.egress_cp)]
    return {"type": f"{NFV}NfpPositionElement", "requirements": targets}


def _policy_list(chain: ServiceChain, paths: Mapping[str, str], name: _Names) -> list[dict[str, Any]]:
    policies: list[dict[str, Any]] = []
    for path in chain.paths:
        properties = _match_properties(path.match)
        if properties:
            policy = {"type": f"{POLICIES}NfpRule", "properties": properties, "targets": [paths[path.name]]}
            policies.append({name(f"match_{path.name}"): policy})
    for number, rule in enumerate(chain.rules, 1):
        kind = "NsAntiAffinityRule" if rule.kind == "anti-affinity" else "NsAffinityRule"
        policy = {
            "type": f"{POLICIES}{kind}",
            "properties": {"scope": rule.scope.lower()},
            "targets": list(rule.vnfs),
        }
        policies.append({name(f"rule_{number}"): policy})
    return policies


def _match_properties(match: Match) -> dict[str, Any]:
    words = {number: word for word, number in PROTOCOLS.items()}
    every = {
        "source_ip_address_prefix": match.source_cidr,
        "destination_ip_address_prefix": match.destination_cidr,
        "protocol": words.get(match.ip_protocol, str(match.ip_protocol or "")),
        "source_port_range": [match.source_port] * 2 if match.source_port else [],
        "destination_port_range": [match.destination_port] * 2 if match.destination_port else [],
        "vlan_tag": [str(match.vlan)] if match.vlan else [],
        "dscp": f"{match.dscp:06b}" if match.dscp else "",
    }
    return {key: value for key, value in every.items() if value}
