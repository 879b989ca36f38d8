"""Which template states what: a flavour of the VNF, a part of another template, or nothing of its own (SOL001 6.11,
annexes A.2 to A.4)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from vnfm.tosca.documents import Document, Documents
from vnfm.tosca.external import mappings_of
from vnfm.tosca.kinds import DESCRIBED, VNF
from vnfm.tosca.notes import Notes
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import NODE, TypeTable
from vnfm.tosca.yamldoc import Map, Seq

_KEYNAMES = frozenset(
    [
        *("tosca_definitions_version", "namespace", "metadata", "description", "dsl_definitions", "repositories"),
        *("imports", "artifact_types", "data_types", "capability_types", "interface_types", "relationship_types"),
        *("node_types", "group_types", "policy_types", "topology_template", "profile", "tosca_default_namespace"),
    ]
)
_TOPOLOGY = frozenset(
    [
        *("description", "inputs", "outputs", "node_templates", "relationship_templates", "groups", "policies"),
        *("substitution_mappings", "workflows", "metadata"),
    ]
)
_SECTIONS = ("inputs", "substitution_mappings", "node_templates", "groups", "policies")


@dataclass(frozen=True)
class FlavourTemplate:
    """A flavour and the template that states it."""

    id: str
    template: Template


def describes(template: Template) -> bool:
    """Whether a template has anything of which a VNF is made."""
    return any(True for _ in template.nodes_of(*DESCRIBED))


def vnfs_of(template: Template) -> list[Entity]:
    """VNF nodes, and the one that substitution_mappings describe; in a file of types alone the VNF's own type."""
    found = list(template.nodes_of(VNF))
    mappings = template.topology.sub("substitution_mappings")
    node_type = mappings.get("node_type")
    if isinstance(node_type, str) and template.types.is_a(NODE, node_type, VNF):
        found.append(Entity("substitution_mappings", node_type, mappings))
    if not found and not template.nodes:
        own = [n for n in template.types.of_file(NODE, template.file) if template.types.is_a(NODE, n, VNF)]
        whole = [n for n in own if n != VNF and template.types.default(NODE, n, "descriptor_id")]
        found += [Entity(name, name, Map(template.file, mappings.mark)) for name in whole]
    return found


def read_templates(documents: Documents, types: TypeTable, notes: Notes) -> list[Template]:
    """The entry's template first, then each imported one that states a flavour; the others go where they belong."""
    found: list[Template] = []
    given: dict[str, Any] = {}
    for document in documents.order:
        if document.ours:
            continue
        topology = _topology(document, notes)
        if found and not topology:
            continue
        found.append(Template(document.file, topology, types, notes, given))
        if len(found) == 1:
            given = _given(found[0])
    entry, others = found[0], found[1:]
    parts = [t for t in others if _is_part(t)]
    loose = [t for t in others if t not in parts and not _stands_alone(t, entry)]
    for template in loose:
        if template.nodes:
            notes.warn(
                "topology-imported",
                "node templates of an imported file were taken as part of the entry's",
                template.topology.place(),
                "TOSCA imports types; put node templates into one file, or give this one substitution_mappings",
            )
            entry.absorb(template)
    kept = [entry, *(t for t in others if t not in loose and t not in parts)]
    _put_in_parts(kept, parts)
    _say_missing(documents, any(describes(t) for t in kept), notes)
    return kept


def read_flavours(templates: Sequence[Template], notes: Notes) -> list[FlavourTemplate]:
    """Each template that states a flavour: the substitutable ones, and the entry's where it describes anything."""
    entry = templates[0]
    chosen = [t for t in templates if t is not entry or describes(t)] or [entry]
    whole = [t for t in chosen if describes(t)]
    named = [(t, *_flavour_id(t)) for t in chosen]
    found: dict[str, FlavourTemplate] = {}
    # Those that say which flavour they are come first, whatever the order of their files.
    for template, flavour, said in sorted(named, key=lambda row: not row[2]):
        if flavour in found:
            at = template.topology.place("substitution_mappings")
            other = found[flavour].template
            if template not in whole or other not in whole:
                found[flavour] = FlavourTemplate(flavour, template if template in whole else other)
                continue
            if said:
                notes.error(
                    "flavour-duplicate",
                    f"two templates state the flavour {flavour}: {other.file} and {template.file}",
                    at,
                    "give each its own flavour_id in its substitution_mappings",
                )
                continue
            flavour = _unused(posixpath.basename(template.file).rsplit(".", 1)[0], found)
            notes.warn(
                "flavour-unnamed",
                f"{template.file} does not say which flavour it states: called {flavour}",
                at,
                "say flavour_id in the properties of its substitution_mappings",
            )
        found[flavour] = FlavourTemplate(flavour, template)
    order = {id(t): n for n, t in enumerate(templates)}
    return sorted(found.values(), key=lambda f: order[id(f.template)])


def _topology(document: Document, notes: Notes) -> Map:
    """A document's topology; what belongs there and stands beside it is taken in."""
    body = document.body
    topology = body.sub(_said_topology(body, notes))
    for key in [k for k in topology if k not in _TOPOLOGY]:
        near = get_close_matches(str(key), [s for s in _SECTIONS if s not in topology], 1, 0.8)
        if near and isinstance(topology[key], Map | Seq):
            notes.warn("keyname-form", f"{key} was read as {near[0]}", topology.place(key), "mend the word")
            topology = _with_section(topology, near[0], topology, key)
    beside = [s for s in _SECTIONS if isinstance(body.get(s), Map | Seq) and s not in topology]
    if not beside or not (topology or "node_templates" in beside):
        return topology
    notes.warn(
        "topology-misplaced",
        f"{', '.join(beside)} {'stand' if len(beside) > 1 else 'stands'} beside the topology_template",
        body.place(beside[0]),
        "indent it, so that it belongs to the topology_template",
    )
    for section in beside:
        topology = _with_section(topology, section, body, section)
    return topology


def _with_section(topology: Map, section: str, body: Map, key: object) -> Map:
    """A topology and, as one of its sections, what stands under a key of `body`."""
    result = Map(topology.file or body.file, topology.mark)
    result.update(topology)
    result.marks, result.raw = dict(topology.marks), dict(topology.raw)
    result[section], result.marks[section] = body.get(key), body.marks.get(key, body.mark)
    return result


def _said_topology(body: Map, notes: Notes) -> str:
    """The key under which a document has its topology; every key that means nothing is told."""
    found = "topology_template"
    for key in body:
        if key in _KEYNAMES or key in _SECTIONS or str(key).startswith(("template_", "x-")):
            continue
        near = get_close_matches(str(key), ["topology_template"], 1, 0.8)
        if isinstance(body[key], Map) and found not in body and (near or key == "service_template"):
            notes.warn("keyname-form", f"{key} was read as topology_template", body.place(key), "TOSCA 1.3 calls it so")
            return str(key)
        grave = isinstance(body[key], Map) and any(s in body[key] for s in _SECTIONS[1:])
        (notes.error if grave else notes.warn)("keyname-unknown", f"{key} is no keyname of TOSCA", body.place(key))
    return found


def _given(entry: Template) -> dict[str, Any]:
    """What the top template's VNF passes to the one that substitutes it."""
    found: dict[str, Any] = {}
    for vnf in vnfs_of(entry):
        properties = vnf.body.sub("properties")
        found |= {str(k): entry.resolve(v, vnf) for k, v in properties.items()}
    return {k: v for k, v in found.items() if v is not None}


def _substituted(template: Template) -> str:
    node_type = template.topology.sub("substitution_mappings").get("node_type")
    return node_type if isinstance(node_type, str) else ""


def _is_part(template: Template) -> bool:
    """Whether a template substitutes a node that is no VNF: a group of VDUs, say (SOL001 A.4)."""
    node_type = _substituted(template)
    types = template.types
    return bool(node_type) and types.known(NODE, node_type) and not types.is_a(NODE, node_type, VNF)


def _stands_alone(template: Template, entry: Template) -> bool:
    """Whether an imported template is a flavour: it substitutes the VNF, or has one of its own that says so."""
    if template.topology.sub("substitution_mappings"):
        return True
    if describes(entry) or not describes(template):
        return False
    return any("flavour_id" in vnf.body.sub("properties") for vnf in template.nodes_of(VNF))


def _put_in_parts(hosts: Sequence[Template], parts: Sequence[Template]) -> None:
    """Each part into every template that has a node of the type that it substitutes."""
    for part in parts:
        for host in hosts:
            for node in [n for n in host.nodes.values() if n.type == _substituted(part)]:
                host.absorb(part)
                for requirement, inner, at in mappings_of(part):
                    for target, _ in host.requirements(node, requirement):
                        if inner in host.nodes:
                            host.tie(host.nodes[inner], "virtual_link", target, at)


def _say_missing(documents: Documents, described: bool, notes: Notes) -> None:
    """Imports that could not be had: what is needed of them turns up as types that nobody defines. Without them nothing
    may be left."""
    for missing in documents.missing:
        note = notes.warn if described else notes.error
        note(missing.code, missing.message, missing.at, missing.hint)


def _flavour_id(template: Template) -> tuple[str, bool]:
    """The flavour that a template states, and whether it says so itself."""
    mappings = template.topology.sub("substitution_mappings")
    for value in _said(template, mappings):
        resolved = template.resolve(value, None)
        if isinstance(resolved, str | int | float) and str(resolved):
            return str(resolved), True
    for vnf in vnfs_of(template):
        text = template.property(vnf, "flavour_id")[1]
        if text:
            return text, "flavour_id" in vnf.body.sub("properties")
    return "default", False


def _said(template: Template, mappings: Map) -> Iterator[Any]:
    """flavour_id in substitution_mappings: a property, a constraint on one, or TOSCA 1.3's substitution_filter."""
    raw = mappings.get("properties")
    for holder in raw if isinstance(raw, Seq) else [raw]:
        if isinstance(holder, Map):
            value = holder.get("flavour_id")
            yield holder.text("flavour_id") if isinstance(value, int | float) else _equal(value)
    older = mappings.sub("capabilities").sub("deployment_flavour").sub("properties")  # before SOL001
    yield older.get("flavour_id")
    filters = mappings.sub("substitution_filter").get("properties")
    for item in filters if isinstance(filters, Seq) else [filters]:
        yield _equal(item.get("flavour_id")) if isinstance(item, Map) else None


def _equal(constraint: Any) -> Any:
    """The one value that a constraint leaves; anything else is the value itself."""
    rules = constraint if isinstance(constraint, Seq) else [constraint]
    for rule in rules:
        if isinstance(rule, Map) and "equal" in rule:
            return rule["equal"]
        allowed = rule.get("valid_values") if isinstance(rule, Map) else None
        if isinstance(allowed, Seq) and len(allowed) == 1:
            return allowed[0]
    return None if isinstance(constraint, Seq) else constraint


def _unused(name: str, found: dict[str, FlavourTemplate]) -> str:
    return next(n for k in range(len(found) + 1) if (n := f"{name}-{k + 1}" if k else name) not in found)
