"""The file of a chain, short or long.

The short form, for people, begins with `chain: NAME`; the long one is an NSD of SOL001 (clause 7) and is read by `nsd`.
"""

from __future__ import annotations

from vnfm.graph import draft as d
from vnfm.graph import nsd
from vnfm.graph.draft import Complaints, Draft, Part
from vnfm.graph.yamltree import Document, Node, read_yaml
from vnfm.model.chain import ChainEnd, ChainRule, ChainVnf, ForwardingPath, Match, PathHop, ServiceChain

DEFAULT_PATH = "default"  # the name of the path where there is one and it has none
MAX_LATENCY_US = 3_600_000_000

_TOP = ("chain", "ends", "vnfs", "path", "paths", "latency_us", "rules")
_MATCH = ("source_cidr", "destination_cidr", "ip_protocol", "source_port", "destination_port", "vlan", "dscp")


def read_chain(text: bytes, filename: str = "chain.yaml") -> ServiceChain:
    """The chain of a file in either form.

    Raises ProblemError: `bad-yaml`, `too-large`, and for what the file says `unknown-key`, `missing-key`, `bad-value`,
    `bad-name`, `bad-cidr`, `unknown-level`, `duplicate-key`, `duplicate-name`, `duplicate-vnf`, `unknown-hop`,
    `unknown-vnf`, `path-ends`, `overlapping-ends`, `ambiguous-paths`, `vnf-off-path`. The detail has one line for each
    thing found: file, line, field, what is wrong, what was expected; the first gives the problem its name.
    """
    document = read_yaml(text, filename)
    bad = Complaints(filename)
    keys = document.root.mapping
    if keys is None or not keys.keys() & {"chain", nsd.FIRST_KEY}:
        bad.at(
            "missing-key",
            document.root,
            "is no chain",
            f"Begin with `chain: NAME` (the short form) or `{nsd.FIRST_KEY}: …` (an NSD).",
        )
        raise bad.error()
    if nsd.FIRST_KEY in keys:
        _say_duplicates(document, "topology_template.node_templates", bad)
        return d.finish(nsd.read(document.root, bad), bad)
    _say_duplicates(document, "vnfs", bad)
    return d.finish(_short(document.root, bad), bad)


def _say_duplicates(document: Document, vnfs: str, bad: Complaints) -> None:
    for twice in document.duplicates:
        is_vnf = twice.path == f"{vnfs}.{twice.key}"
        word, what = ("duplicate-vnf", "the VNF") if is_vnf and vnfs == "vnfs" else ("duplicate-key", "the key")
        bad.add(
            word,
            twice.path,
            twice.line,
            f"{what} {twice.key!r} stands twice, first on line {twice.first_line}",
            "Give each its own name.",
        )


def _short(root: Node, bad: Complaints) -> Draft:
    d.only_keys(root, _TOP, bad)
    keys = root.mapping or {}
    name = d.get_name(keys["chain"].value, keys["chain"], bad, "the chain's name")
    draft = Draft(name)
    ends = d.get_map(d.need(root, "ends", bad, "two ends, {NAME: {cidr: …}}"), bad, "{NAME: {cidr: …}}")
    draft.ends = [_end(key, node, bad) for key, node in ends.items()]
    vnfs = d.get_map(d.need(root, "vnfs", bad, "the VNFs, {ALIAS: {vnfd: ID}}"), bad, "{ALIAS: {vnfd: ID}}")
    draft.vnfs = [_vnf(key, node, bad) for key, node in vnfs.items()]
    draft.paths = _paths(root, bad)
    draft.rules = [
        _rule(node, bad) for node in d.get_list(keys.get("rules"), bad, "a list of {kind: …, scope: …, vnfs: […]}")
    ]
    if "latency_us" in keys:
        draft.max_latency_us = d.get_int(keys["latency_us"], bad, "microseconds, end to end", 1, MAX_LATENCY_US)
    return draft


def _end(name: str, node: Node, bad: Complaints) -> Part[ChainEnd]:
    d.get_name(name, node, bad, "an end's name")
    d.get_map(node, bad, "{cidr: NETWORK}")
    d.only_keys(node, ("cidr",), bad)
    cidr = d.get_cidr(d.need(node, "cidr", bad, "the network behind the end, such as 10.1.0.0/24"), bad)
    return Part(ChainEnd(name, cidr), node)


def _vnf(alias: str, node: Node, bad: Complaints) -> Part[ChainVnf]:
    d.get_name(alias, node, bad, "a VNF's alias")
    keys = d.get_map(node, bad, "{vnfd: ID, flavour: …, level: …}")
    d.only_keys(node, ("vnfd", "flavour", "level", "instantiation_level", "sites", "zones", "vim"), bad)
    return Part(
        ChainVnf(
            alias,
            d.get_text(d.need(node, "vnfd", bad, "the VNFD's id"), bad, "the VNFD's id"),
            d.get_text(keys.get("flavour"), bad, "a flavour's id"),
            d.get_text(keys.get("instantiation_level"), bad, "an instantiation level's id"),
            d.get_isolation(keys.get("level"), bad),
            sites=d.get_words(keys.get("sites"), bad, "a list of sites"),
            zones=d.get_words(keys.get("zones"), bad, "a list of zones"),
            vim=d.get_name(keys["vim"].value, keys["vim"], bad, "a VIM's name") if "vim" in keys else "",
        ),
        node,
    )


def _paths(root: Node, bad: Complaints) -> list[tuple[Part[ForwardingPath], tuple[Node, ...]]]:
    keys = root.mapping or {}
    if "path" in keys and "paths" in keys:
        bad.at("unknown-key", keys["path"], "`path` beside `paths`", "Write one of them.")
    if "paths" in keys:
        paths = d.get_map(keys["paths"], bad, "{NAME: {match: {…}, hops: […]}}")
        if not paths:
            bad.at("missing-key", keys["paths"], "no path", "Write one at least.")
        return [_path(name, node, bad) for name, node in paths.items()]
    node = d.need(root, "path", bad, "the hops in order, [END, VNF, …, END]")
    if node is None:
        return []
    return [_hops(DEFAULT_PATH, Match(), node, node, bad)]


def _path(name: str, node: Node, bad: Complaints) -> tuple[Part[ForwardingPath], tuple[Node, ...]]:
    d.get_name(name, node, bad, "a path's name")
    keys = d.get_map(node, bad, "{match: {…}, hops: […], latency_us: …}")
    d.only_keys(node, ("match", "hops", "latency_us"), bad)
    hops = d.need(node, "hops", bad, "the hops in order, [END, VNF, …, END]") or Node(
        (), f"{node.path}.hops", node.line
    )
    bound = d.get_int(keys.get("latency_us"), bad, "microseconds, end to end", 1, MAX_LATENCY_US)
    return _hops(name, _match(keys.get("match"), bad), hops, node, bad, bound or None)


def _hops(
    name: str, match: Match, node: Node, at: Node, bad: Complaints, latency_us: int | None = None
) -> tuple[Part[ForwardingPath], tuple[Node, ...]]:
    nodes = d.get_list(node, bad, "a list of hops")
    return Part(ForwardingPath(name, tuple(_hop(n, bad) for n in nodes), match, latency_us), at), nodes


def _hop(node: Node, bad: Complaints) -> PathHop:
    if node.mapping is None:
        return PathHop(d.get_name(node.value, node, bad, "an end's or VNF's name"))
    d.only_keys(node, ("vnf", "in", "out"), bad)
    name = d.need(node, "vnf", bad, "the VNF's alias")
    return PathHop(
        d.get_name(name.value, name, bad, "a VNF's alias") if name else "",
        _cp(node.mapping.get("in"), bad),
        _cp(node.mapping.get("out"), bad),
    )


def _cp(node: Node | None, bad: Complaints) -> str:
    return d.get_name(node.value, node, bad, "an external CP's id", d.CP_NAME) if node else ""


def _match(node: Node | None, bad: Complaints) -> Match:
    if node is None:
        return Match()
    keys = d.get_map(node, bad, f"a mapping of {', '.join(_MATCH)}")
    d.only_keys(node, _MATCH, bad)
    return Match(
        d.get_cidr(keys.get("source_cidr"), bad),
        d.get_cidr(keys.get("destination_cidr"), bad),
        d.get_protocol(keys.get("ip_protocol"), bad),
        d.get_int(keys.get("destination_port"), bad, "a port", 1, 65535),
        d.get_int(keys.get("vlan"), bad, "a VLAN id", 1, 4094),
        d.get_int(keys.get("dscp"), bad, "a DSCP", 1, 63),
        d.get_int(keys.get("source_port"), bad, "a port", 1, 65535),
    )


def _rule(node: Node, bad: Complaints) -> Part[ChainRule]:
    keys = d.get_map(node, bad, "{kind: …, scope: …, vnfs: […]}")
    d.only_keys(node, ("kind", "scope", "vnfs"), bad)
    vnfs = d.get_list(d.need(node, "vnfs", bad, "the aliases"), bad, "a list of aliases")
    kind = d.get_text(d.need(node, "kind", bad, "affinity or anti-affinity"), bad, "affinity or anti-affinity")
    scope = d.get_text(keys.get("scope"), bad, "a scope") if "scope" in keys else "NFVI_NODE"
    names = tuple(d.get_name(v.value, v, bad, "a VNF's alias") for v in vnfs)
    return d.get_rule(kind, scope, names, node, bad)
