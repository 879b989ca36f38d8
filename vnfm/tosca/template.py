"""A topology template: nodes, policies and groups with their types, and the functions in their values resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vnfm.tosca.asks import Ask, asks_of, every_pair
from vnfm.tosca.guess import by_name, by_shape, policy_by_name, squeezed
from vnfm.tosca.kinds import NS_NODES, PNF_NODES, VNF
from vnfm.tosca.maps import deeply, is_wrapped, together, unwrapped, with_defaults
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.types import GROUP, NODE, POLICY, TypeTable
from vnfm.tosca.view import View
from vnfm.tosca.yamldoc import Map, Seq

MAX_CALLS = 20
_CAPABILITY_KEYS = (
    "properties",
    "attributes",
    "occurrences",
    "directives",
    "type",
    "description",
    "valid_source_types",
)
FUNCTIONS = (
    *("get_input", "get_property", "get_attribute", "get_artifact", "get_operation_output"),
    *("concat", "join", "token"),
)


class Unresolved(Exception):
    """A function whose value is known only at run time, or nowhere."""


@dataclass(frozen=True)
class Entity:
    """A node template, policy or group."""

    name: str
    type: str
    body: Map


@dataclass
class Template:
    """One service template's topology. `given` are the values that the one who substitutes passes as inputs."""

    file: str
    topology: Map
    types: TypeTable
    notes: Notes
    given: Mapping[str, Any] = field(default_factory=dict)
    nodes: dict[str, Entity] = field(default_factory=dict)
    policies: dict[str, Entity] = field(default_factory=dict)
    groups: dict[str, Entity] = field(default_factory=dict)
    left_out: list[Entity] = field(default_factory=list)
    _kinds: dict[tuple[int | str, ...], tuple[Entity, ...]] = field(default_factory=dict)
    _askers: dict[str, list[str]] = field(default_factory=dict)
    _asks: dict[int, tuple[Ask, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = self._entities("node_templates", NODE)
        self.groups = self._entities("groups", GROUP)
        self.policies = self._entities("policies", POLICY)
        self._know_types()

    def absorb(self, other: Template) -> None:
        """Take another template's entities too, where their names are free."""
        self._kinds.clear()
        self.nodes |= {k: v for k, v in other.nodes.items() if k not in self.nodes}
        self.groups |= {k: v for k, v in other.groups.items() if k not in self.groups}
        self.policies |= {k: v for k, v in other.policies.items() if k not in self.policies}

    def tie(self, node: Entity, requirement: str, target: str, at: Place) -> None:
        """Let a node require another one as if it were written."""
        self._asks[id(node.body)] = (*self.asks(node), Ask(requirement, squeezed(requirement), target, at))

    def seems_vnf(self, entity_type: str, body: Map) -> bool:
        """Whether a node of a type that nobody defines can only be the VNF: the one that is substituted, or who says
        what only a VNF says."""
        if self.types.known(NODE, entity_type):
            return False
        said = body.sub("properties")
        substituted = self.topology.sub("substitution_mappings").get("node_type") == entity_type
        return substituted or any(key in said for key in ("descriptor_id", "flavour_id", "flavour_description"))

    def nodes_of(self, *bases: str) -> Iterator[Entity]:
        """Node templates whose type is or derives from one of `bases`, in their order."""
        key: tuple[int | str, ...] = (self.types.generation, *bases)
        if key not in self._kinds:
            found = (n for n in self.nodes.values() if any(self.types.is_a(NODE, n.type, base) for base in bases))
            self._kinds[key] = tuple(found)
        return iter(self._kinds[key])

    def policies_of(self, base: str) -> Iterator[Entity]:
        """Policies whose type is or derives from `base`."""
        for policy in self.policies.values():
            if self.types.is_a(POLICY, policy.type, base):
                yield policy

    def is_node(self, name: str, *bases: str) -> bool:
        """Whether there is a node of that name and one of those types."""
        node = self.nodes.get(name)
        return node is not None and any(self.types.is_a(NODE, node.type, base) for base in bases)

    def properties(self, entity: Entity) -> View:
        """An entity's properties, resolved; those that it leaves out as the package's types have them."""
        kind = POLICY if self.policies.get(entity.name) is entity else NODE
        kind = GROUP if self.groups.get(entity.name) is entity else kind
        said = with_defaults(entity.body.sub("properties"), self.types.defaults(kind, entity.type))
        return self.view(entity, said, f"{entity.name}.properties")

    def capability(self, entity: Entity, name: str) -> View:
        """A capability's properties, resolved."""
        body = entity.body.sub("capabilities").sub(name)
        path = f"{entity.name}.capabilities.{name}"
        properties, forgotten = body.sub("properties"), [k for k in body if k not in _CAPABILITY_KEYS]
        if forgotten:
            self.notes.warn("capability-form", f"{path}: properties stand under `properties`", body.place(forgotten[0]))
            properties = together(properties, body, forgotten)
        if any(is_wrapped(v) for v in properties.values()):
            self.notes.warn("capability-form", f"{path}: `properties` stands once too often", properties.place())
            properties = unwrapped(properties)
        properties = with_defaults(properties, self.types.capability_defaults(entity.type, name))
        return self.view(entity, properties, path)

    def view(self, entity: Entity, body: Map, path: str) -> View:
        """`body`, which stands in `entity`, resolved."""
        return View(self._resolved_map(body, entity, 0), self.notes, path)

    def property(self, entity: Entity, name: str) -> tuple[Any, str, Place]:
        """A property's value, its text and place; the type's default where the template gives none. None if absent."""
        default = self.types.default(NODE, entity.type, name)
        for holder, key in [(entity.body.sub("properties"), name), *([default] if default else [])]:
            value = self.resolve(holder.get(key), entity)
            if value is not None:
                text = holder.text(key) or (str(value) if isinstance(value, str | int | float) else "")
                return value, text, holder.place(key)
        return None, "", entity.body.place("properties")

    def asks(self, entity: Entity) -> tuple[Ask, ...]:
        """What a node requires of which others."""
        found = self._asks.get(id(entity.body))
        if found is None:
            asks = asks_of(entity.body)
            found = tuple(a for a in asks if not a.further or a.target in self.nodes)
            self._asks[id(entity.body)] = found
        return found

    def requirements(self, entity: Entity, name: str) -> list[tuple[str, Place]]:
        """Targets of the requirements of that name, which drafts wrote virtualLink for virtual_link."""
        wanted = squeezed(name)
        return [(ask.target, ask.at) for ask in self.asks(entity) if ask.name == wanted]

    def resolve(self, value: Any, entity: Entity | None, calls: int = 0) -> Any:
        """`value` with its functions replaced; None for what only a run can tell."""
        if isinstance(value, Map):
            if len(value) == 1 and str(next(iter(value))).removeprefix("$") in FUNCTIONS:
                try:
                    return self._call(value, entity, calls + 1)
                except Unresolved:
                    return None
            return self._resolved_map(value, entity, calls)
        if isinstance(value, Seq):
            result = Seq(value.file, value.mark)
            result.marks = value.marks
            result.extend(self.resolve(v, entity, calls) for v in value)
            return result
        return value

    def _resolved_map(self, value: Map, entity: Entity | None, calls: int) -> Map:
        result = Map(value.file, value.mark)
        result.marks, result.raw = value.marks, dict(value.raw)
        for key, item in value.items():
            result[key] = self.resolve(item, entity, calls)
            if result[key] is not item and isinstance(item, Map) and isinstance(result[key], str | int | float):
                result.raw[key] = str(result[key])
        return result

    def _call(self, value: Map, entity: Entity | None, calls: int) -> Any:
        if calls > MAX_CALLS:
            self.notes.warn("function-cycle", "functions lead into each other", value.place())
            raise Unresolved
        key, argument = next(iter(value.items()))
        name = str(key).removeprefix("$")  # as TOSCA 2.0 writes it
        if name == "get_input":
            return self._input(argument, value, entity, calls)
        if name == "get_property":
            return self._get_property(argument, value, entity, calls)
        if name == "concat" and isinstance(argument, list):
            parts = [self.resolve(a, entity, calls) for a in argument]
            return None if None in parts else "".join(str(p) for p in parts)
        if name == "join" and isinstance(argument, list) and argument and isinstance(argument[0], list):
            parts = [self.resolve(a, entity, calls) for a in argument[0]]
            glue = self.resolve(argument[1], entity, calls) if len(argument) > 1 else ""
            return None if None in parts else str(glue).join(str(p) for p in parts)
        if name == "token" and isinstance(argument, list) and len(argument) == 3:
            text, separator, index = (self.resolve(a, entity, calls) for a in argument)
            parts = text.split(separator) if isinstance(text, str) and isinstance(separator, str) and separator else []
            return parts[index] if isinstance(index, int) and 0 <= index < len(parts) else None
        raise Unresolved

    def _input(self, argument: Any, value: Map, entity: Entity | None, calls: int) -> Any:
        keys = argument if isinstance(argument, list) else [argument]
        name = keys[0] if keys else None
        if not isinstance(name, str):
            raise Unresolved
        inputs = self.topology.sub("inputs")
        if name in self.given:
            found = self.given[name]
        elif name in inputs:
            found = self.resolve(inputs.sub(name).get("default"), entity, calls)
        else:
            self.notes.warn(
                "input-unknown", f"get_input names {name}, which is no input", value.place(), "declare it under inputs"
            )
            raise Unresolved
        return _descend(found, keys[1:])

    def _get_property(self, argument: Any, value: Map, entity: Entity | None, calls: int) -> Any:
        keys = [a for a in argument if isinstance(a, str | int)] if isinstance(argument, list) else []
        if len(keys) < 2:
            self.notes.warn("function-form", "get_property takes an entity and a property", value.place())
            raise Unresolved
        owner = entity if keys[0] == "SELF" else self.nodes.get(str(keys[0]))
        if owner is None:
            self.notes.warn("property-unknown", f"get_property names {keys[0]}, which is no node", value.place())
            raise Unresolved
        properties = owner.body.sub("properties")
        if keys[1] in properties:
            return _descend(self.resolve(properties[keys[1]], owner, calls), keys[2:])
        if len(keys) > 2 and (found := self._through(owner, keys, calls)) is not None:
            return found
        default = self.types.default(NODE, owner.type, str(keys[1]))
        if default is not None:
            return _descend(self.resolve(default[0][default[1]], owner, calls), keys[2:])
        self.notes.warn("property-unknown", f"{owner.name} has no property {keys[1]}", value.place())
        raise Unresolved

    def _through(self, owner: Entity, keys: list[Any], calls: int) -> Any:
        """A property of a capability of the owner, or of the node that a requirement of the owner leads to."""
        inner = owner.body.sub("capabilities").sub(keys[1]).sub("properties")
        if keys[2] in inner:
            return _descend(self.resolve(inner[keys[2]], owner, calls), keys[3:])
        for target, _ in self.requirements(owner, str(keys[1])):
            node = self.nodes.get(target)
            if node is not None and keys[2] in (properties := node.body.sub("properties")):
                return _descend(self.resolve(properties[keys[2]], node, calls), keys[3:])
        return None

    def _entities(self, section: str, kind: str) -> dict[str, Entity]:
        found: dict[str, Entity] = {}
        bodies = [
            (n, self._copied(b, section, 0) if isinstance(b, Map) else b, at) for n, b, at in self._bodies(section)
        ]
        for name, body, at in bodies:
            if not isinstance(body, Map):
                note = self.notes.error if kind == NODE else self.notes.warn
                note("template-form", f"{section}: {name} is no mapping", at, "often an indentation that is missing")
                continue
            entity_type = body.get("type")
            if not isinstance(entity_type, str):
                self.notes.warn("type-missing", f"{name} has no type", body.place("type"), "every template has a type")
                if kind != NODE:
                    continue
                entity_type = f"{name} (no type)"  # its shape may tell what it is
            if name in found and section == "policies":  # a list: both can be read, and both are meant
                self.notes.warn(
                    "template-duplicate", f"{section}: {name} is defined twice", at, "give each its own name"
                )
                name = next(n for k in range(2, len(found) + 3) if (n := f"{name}#{k}") not in found)
            if name in found:
                self.notes.error("template-duplicate", f"{section}: {name} is defined twice", at)
                continue
            if kind == NODE and (inherited := self.types.artifacts(entity_type)):
                artifacts = with_defaults(body.sub("artifacts"), inherited)
                body = together(Map(body.file, body.mark), body, list(body))
                body["artifacts"] = artifacts
            found[name] = Entity(name, entity_type, body)
        return found

    def _copied(self, body: Map, section: str, depth: int) -> Map:
        """A template with what it has by `copy` of another one (TOSCA simple profile 3.8.3)."""
        name = body.get("copy")
        other = self.topology.sub(section).get(name) if isinstance(name, str) else None
        if not isinstance(other, Map) or depth > MAX_CALLS:
            if name is not None:
                self.notes.warn("copy-unknown", f"copy names {str(name)[:60]}, which cannot be had", body.place("copy"))
            return body
        return deeply(body, self._copied(other, section, depth + 1))

    def _know_types(self) -> None:
        """What types that nobody defines can only be, and which types are older than the standard."""
        told: set[str] = set()
        substituted = self.topology.sub("substitution_mappings").get("node_type")
        if isinstance(substituted, str) and not (self.types.known(NODE, substituted) or self._foreign(substituted)):
            self.types.assume(NODE, substituted, VNF)
        for node in self.nodes.values():
            if not (self.types.known(NODE, node.type) or self._foreign(node.type)):
                self._guess(node)
            former = self.types.former(NODE, node.type)
            if former is not None and former[0] not in told:
                told.add(former[0])
                name, now, origin = former
                at = node.body.place("type")
                self.notes.warn("type-former", f"{name} is of {origin} and was read as {now}", at, f"SOL001 has {now}")
        for kind, entities in ((POLICY, self.policies), (GROUP, self.groups)):
            for entity in entities.values():
                if self.types.known(kind, entity.type):
                    continue
                base = policy_by_name(entity.type)
                if base:
                    self.types.assume(kind, entity.type, base)
                self._say_unknown(entity, base, "import the file that defines it")

    def _asked_by(self) -> Mapping[str, list[str]]:
        """By which requirements each node is asked for."""
        if not self._askers:
            for node in self.nodes.values():
                for ask in self.asks(node):
                    self._askers.setdefault(ask.target, []).append(ask.written)
        return self._askers

    def _foreign(self, name: str) -> bool:
        """Whether a type is of a kind that other descriptors are made of, and is known by its name alone."""
        return any(self.types.is_a(NODE, name, base) for base in (*NS_NODES, *PNF_NODES))

    def _guess(self, node: Entity) -> None:
        base = by_name(self.types.lineage(NODE, node.type)) if " " not in node.type else ""
        if self.seems_vnf(node.type, node.body):
            base = VNF
        elif not base:
            base = by_shape(node.body, [a.written for a in self.asks(node)], self._asked_by().get(node.name, ()))
        if base:
            self.types.assume(NODE, node.type, base)
        self._say_unknown(node, base, "define it under node_types or put the file that does into the package")

    def _say_unknown(self, entity: Entity, base: str, hint: str) -> None:
        at = entity.body.place("type")
        kind = next(
            (k for k, e in ((POLICY, self.policies), (GROUP, self.groups)) if e.get(entity.name) is entity), NODE
        )
        missing = [t for t in self.types.lineage(kind, entity.type) if self.types.definition(kind, t) is None]
        what = f"{entity.name} is of the type {entity.type}, which nobody defines"
        if missing and missing[0] != entity.type:
            what = f"{entity.name} is of the type {entity.type}, which comes from {missing[0]}, which nobody defines"
        if base:
            self.notes.warn("type-guessed", f"{what}: it was read as {base}", at, hint)
            return
        self.notes.warn("type-unknown", f"{what}: it was left out", at, hint)
        if entity.name in self.nodes:
            self.left_out.append(entity)

    def _bodies(self, section: str) -> Iterator[tuple[str, Any, Place]]:
        raw = self.topology.get(section)
        if isinstance(raw, Seq):  # policies are a list of one-key mappings
            for index, item in enumerate(raw):
                if not isinstance(item, Map):
                    note = self.notes.error if section == "node_templates" else self.notes.warn
                    note("template-form", f"{section}: expected a mapping", raw.place(index))
                    continue
                if isinstance(item.get("type"), str):  # a draft's form: the name stands inside
                    yield item.text("name") or str(index), item, Place(item.file, *item.mark)
                    continue
                yield from ((str(k), v, item.place(k)) for k, v in item.items())
        elif isinstance(raw, Map):
            if section == "policies":
                yield from ((str(k), v, at) for k, v, at in every_pair(raw))
                return
            for key, mark, _ in raw.duplicates:
                self.notes.error(
                    "template-duplicate",
                    f"{section}: {key} is defined twice",
                    Place(raw.file, *mark),
                    "give each its own name",
                )
            yield from ((str(k), v, raw.place(k)) for k, v in raw.items())
        elif raw is not None:
            self.notes.error("template-form", f"{section}: expected a mapping", self.topology.place(section))


def _descend(value: Any, keys: list[Any]) -> Any:
    for key in keys:
        if isinstance(key, Map | Seq):
            raise Unresolved
        in_map = isinstance(value, Map) and key in value
        in_list = isinstance(value, Seq) and isinstance(key, int) and 0 <= key < len(value)
        if not (in_map or in_list):
            raise Unresolved
        value = value[key]
    return value
