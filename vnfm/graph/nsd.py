"""Reads a chain from an NSD (ETSI GS NFV-SOL 001 clause 7); `nsdtext` writes one.

| chain   | NSD                                                                                              |
|---------|--------------------------------------------------------------------------------------------------|
| chain   | node tosca.nodes.nfv.NS: name; end-to-end latency as its metadata `latency_us`                   |
| end     | Sap, and the cidr of the NsVirtualLink behind its internal_virtual_link                          |
| VNF     | VNF: descriptor_id, flavour_id, vnf_profile.instantiation_level; as metadata isolation and vim,  |
|         | and sites and zones with commas between them                                                     |
| path    | NFP over NfpPositions and NfpPositionElements; a capability of profile_element is an external    |
|         | CP; its own latency as metadata `latency_us`                                                     |
| match   | policy NfpRule                                                                                   |
| rule    | policy NsAffinityRule or NsAntiAffinityRule                                                      |

Where SOL001 has no place for something it stands in TOSCA's own `metadata`, whose values are strings. Types are matched
by derivation within the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vnfm.graph import draft as d
from vnfm.graph.draft import Complaints, Draft, Part
from vnfm.graph.yamltree import Node
from vnfm.model.chain import ChainEnd, ChainRule, ChainVnf, ForwardingPath, Match, PathHop

FIRST_KEY = "tosca_definitions_version"
NFV = "tosca.nodes.nfv."
POLICIES = "tosca.policies.nfv."

_RULES = {
    f"{POLICIES}NsAffinityRule": "affinity",
    f"{POLICIES}NsAntiAffinityRule": "anti-affinity",
    f"{POLICIES}AffinityRule": "affinity",
    f"{POLICIES}AntiAffinityRule": "anti-affinity",
}
_MATCH_KEYS = (
    "source_ip_address_prefix",
    "destination_ip_address_prefix",
    "protocol",
    "source_port_range",
    "destination_port_range",
    "vlan_tag",
    "dscp",
)


@dataclass(frozen=True, slots=True)
class _Template:
    """The parts of the file that are looked things up in."""

    nodes: Mapping[str, Node]
    parents: Mapping[str, str]  # type -> the type that it derives from
    bad: Complaints

    def kind(self, node: Node) -> str:
        """SOL001's own type of a node or policy: the nearest one up the derivation."""
        raw = (node.mapping or {}).get("type")
        name = raw.value if raw and isinstance(raw.value, str) else ""
        for _ in range(len(self.parents) + 1):
            if name.startswith((NFV, POLICIES)) or name not in self.parents:
                return name
            name = self.parents[name]
        return name

    def of(self, kind: str) -> Iterator[tuple[str, Node]]:
        """The nodes of a type."""
        return ((name, node) for name, node in self.nodes.items() if self.kind(node) == NFV + kind)

    def targets(self, node: Node, requirement: str) -> tuple[tuple[str, str, Node], ...]:
        """What a node's requirement of that name leads to: (target, capability, where it is said)."""
        found = []
        for entry in d.get_list(_get(node, "requirements"), self.bad, "a list of requirements"):
            for name, value in (entry.mapping or {}).items():
                if name != requirement:
                    continue
                target, capability = _get(value, "node") or value, _get(value, "capability")
                text = d.get_text(target, self.bad, "the name of a node")
                found.append((text, d.get_text(capability, self.bad, "a capability"), value))
        return tuple(found)

    def node(self, name: str, kind: str, at: Node) -> Node | None:
        """The node of that name and type; a complaint where it is not there."""
        node = self.nodes.get(name)
        if node is None or self.kind(node) != NFV + kind:
            self.bad.at("unknown-node", at, f"no {NFV}{kind} is called {name!r}", "Name one of node_templates.")
            return None
        return node


def _get(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        node = (node.mapping or {}).get(key) if node is not None else None
    return node


def read(root: Node, bad: Complaints) -> Draft:
    """The parts of an NSD; what is wrong is added to `bad`."""
    topology = d.need(root, "topology_template", bad, "the NSD's topology")
    templates = d.need(topology, "node_templates", bad, "the NSD's nodes") if topology else None
    nodes = d.get_map(templates, bad, "node templates by name")
    types = d.get_map(_get(root, "node_types"), bad, "node types by name")
    parents = {n: str(p.value) for n, t in types.items() if (p := _get(t, "derived_from")) is not None}
    template = _Template({n: v for n, v in nodes.items() if d.get_map(v, bad, "a node template")}, parents, bad)
    services = list(template.of("NS"))
    if len(services) != 1:
        at = templates or root
        bad.at("missing-key", at, f"{len(services)} nodes of type {NFV}NS", "Expected one: the network service itself.")
    service = services[0][1] if services else Node({}, "", 0)
    name = d.need(service, "properties", bad, "the service's properties") if services else None
    label = d.need(name, "name", bad, "the service's name") if name else None
    draft = Draft(d.get_name(label.value, label, bad, "the service's name") if label else "")
    draft.max_latency_us = _latency(_get(service, "metadata", "latency_us"), bad)
    draft.ends = [_end(n, node, template) for n, node in template.of("Sap")]
    draft.vnfs = [_vnf(n, node, bad) for n, node in template.of("VNF")]
    policies = tuple(_policies(topology, bad))
    matches = _matches(policies, template)
    draft.paths = [_path(n, node, matches, template) for n, node in template.of("NFP")]
    if not draft.paths:
        bad.at("missing-key", templates or root, f"no node of type {NFV}NFP", "Write one forwarding path at least.")
    draft.rules = [r for policy in policies if (r := _rule(policy, template)) is not None]
    return draft


def _latency(node: Node | None, bad: Complaints) -> int | None:
    if node is None:
        return None
    text = str(node.value)
    if text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= 3_600_000_000:
        return int(text)
    bad.at("bad-value", node, f"is {node.shown}", "Expected microseconds, end to end, from 1 to 3600000000.")
    return None


def _end(name: str, node: Node, template: _Template) -> Part[ChainEnd]:
    bad = template.bad
    d.get_name(name, node, bad, "an end's name")
    links = template.targets(node, "internal_virtual_link")
    if not links:
        mend = "Expected internal_virtual_link to a NsVirtualLink with the end's cidr."
        bad.at("missing-key", node, "no internal_virtual_link", mend)
        return Part(ChainEnd(name, ""), node)
    target, _, at = links[0]
    link = template.node(target, "NsVirtualLink", at)
    data = d.get_list(_get(link, "properties", "vl_profile", "virtual_link_protocol_data"), bad, "a list")
    cidrs = [c for entry in data if (c := _get(entry, "l3_protocol_data", "cidr")) is not None]
    if link is not None and not cidrs:
        mend = "Expected vl_profile.virtual_link_protocol_data with l3_protocol_data.cidr: the network behind the end."
        bad.at("missing-key", link, f"no cidr, though end {name!r} is on it", mend)
    return Part(ChainEnd(name, d.get_cidr(cidrs[0], bad) if cidrs else ""), node)


def _vnf(alias: str, node: Node, bad: Complaints) -> Part[ChainVnf]:
    d.get_name(alias, node, bad, "a VNF's alias")
    properties = d.need(node, "properties", bad, "descriptor_id and flavour_id")
    vnfd = d.need(properties, "descriptor_id", bad, "the VNFD's id") if properties else None
    level = _get(properties, "vnf_profile", "instantiation_level")
    isolation = _get(node, "metadata", "isolation")
    if isolation is not None and isinstance(isolation.value, str) and isolation.value.isdecimal():
        isolation = Node(int(isolation.value[:4]), isolation.path, isolation.line)
    return Part(
        ChainVnf(
            alias,
            d.get_text(vnfd, bad, "the VNFD's id"),
            d.get_text(_get(properties, "flavour_id"), bad, "a flavour's id"),
            d.get_text(level, bad, "an instantiation level's id"),
            d.get_isolation(isolation, bad),
            sites=_names(_get(node, "metadata", "sites"), bad, "sites"),
            zones=_names(_get(node, "metadata", "zones"), bad, "zones"),
            vim=d.get_text(_get(node, "metadata", "vim"), bad, "a VIM's name"),
        ),
        node,
    )


def _names(node: Node | None, bad: Complaints, what: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in d.get_text(node, bad, f"{what} with commas between them").split(","))
    if names == ("",):
        return ()
    if node is not None and ("" in names or len(set(names)) != len(names)):
        bad.at("bad-value", node, f"is {node.shown}", f"Expected {what} with commas between them, each once.")
    return names


def _path(
    node_name: str, node: Node, matches: Mapping[str, Match], template: _Template
) -> tuple[Part[ForwardingPath], tuple[Node, ...]]:
    label = _get(node, "metadata", "name")
    name = d.get_name(label.value if label else node_name, label or node, template.bad, "a path's name")
    hops: list[PathHop] = []
    places: list[Node] = []
    for position_name, _, at in template.targets(node, "nfp_position"):
        position = template.node(position_name, "NfpPosition", at)
        elements = template.targets(position, "element") if position else ()
        if position is not None and len(elements) != 1:
            mend = "Expected one: spreading a position's traffic over several elements is not supported."
            template.bad.at("unsupported", position, f"{len(elements)} elements", mend)
        for element_name, _, place in elements[:1]:
            element = template.node(element_name, "NfpPositionElement", place)
            hop = _hop(element, template) if element else None
            if hop is not None:
                hops.append(hop)
                places.append(element or place)
    bound = _latency(_get(node, "metadata", "latency_us"), template.bad)
    return Part(ForwardingPath(name, tuple(hops), matches.get(node_name, Match()), bound), node), tuple(places)


def _hop(element: Node, template: _Template) -> PathHop | None:
    """One profile_element: both directions by that CP, or by the VNFD's own order where none is named; two: in, out."""
    found = template.targets(element, "profile_element")
    if len(found) not in (1, 2) or found[0][0] != found[-1][0]:
        mend = "Expected one or two, of the same VNF or Sap: where traffic enters and where it leaves."
        template.bad.at("bad-value", element, f"{len(found)} profile_elements", mend)
        return None
    return PathHop(found[0][0], found[0][1], found[-1][1])


def _policies(topology: Node | None, bad: Complaints) -> Iterator[Node]:
    for entry in d.get_list(_get(topology, "policies"), bad, "a list of policies"):
        yield from (entry.mapping or {}).values()


def _aliases(policy: Node, bad: Complaints) -> tuple[str, ...]:
    targets = d.get_list(d.need(policy, "targets", bad, "a list of nodes"), bad, "a list of nodes")
    return tuple(d.get_text(t, bad, "the name of a node") for t in targets)


def _matches(policies: tuple[Node, ...], template: _Template) -> dict[str, Match]:
    found: dict[str, Match] = {}
    bad = template.bad
    for policy in policies:
        if template.kind(policy) != f"{POLICIES}NfpRule":
            continue
        keys = d.get_map(_get(policy, "properties"), bad, "a mapping")
        for key in keys.keys() - set(_MATCH_KEYS):
            bad.at("unsupported", keys[key], "no such match", f"Expected {', '.join(_MATCH_KEYS)}.")
        match = Match(
            d.get_cidr(keys.get("source_ip_address_prefix"), bad),
            d.get_cidr(keys.get("destination_ip_address_prefix"), bad),
            d.get_protocol(keys.get("protocol"), bad),
            _port(keys.get("destination_port_range"), bad),
            _vlan(keys.get("vlan_tag"), bad),
            _dscp(keys.get("dscp"), bad),
            _port(keys.get("source_port_range"), bad),
        )
        found.update(dict.fromkeys(_aliases(policy, bad), match))
    return found


def _port(node: Node | None, bad: Complaints) -> int:
    both = d.get_list(node, bad, "[PORT, PORT]")
    if node is None or not both:
        return 0
    if len(both) != 2 or both[0].value != both[1].value:
        bad.at("unsupported", node, "a range of ports", "Expected [PORT, PORT] with one port.")
        return 0
    return d.get_int(both[0], bad, "a port", 1, 65535)


def _vlan(node: Node | None, bad: Complaints) -> int:
    tags = d.get_list(node, bad, "a list with one VLAN id")
    if node is None or not tags:
        return 0
    text = str(tags[0].value)
    if len(tags) == 1 and text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 4094:
        return int(text)
    bad.at("bad-value", node, "not one VLAN id", "Expected a list with one id from 1 to 4094.")
    return 0


def _dscp(node: Node | None, bad: Complaints) -> int:
    """Six binary digits."""
    if node is None:
        return 0
    if isinstance(node.value, str) and len(node.value) == 6 and set(node.value) <= {"0", "1"}:
        return int(node.value, 2)
    bad.at("bad-value", node, f"is {node.shown}", 'Expected six binary digits in quotes, such as "101110".')
    return 0


def _rule(policy: Node, template: _Template) -> Part[ChainRule] | None:
    kind = _RULES.get(template.kind(policy))
    if kind is None:
        return None
    scope = d.get_text(_get(policy, "properties", "scope"), template.bad, "a scope")
    return d.get_rule(kind, scope, _aliases(policy, template.bad), policy, template.bad)
