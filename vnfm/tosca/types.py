"""Types and what they derive from. A vendor's type counts as the SOL001 type that it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from vnfm.tosca.kinds import FORMER
from vnfm.tosca.maps import take_missing
from vnfm.tosca.sol001 import PREFIX
from vnfm.tosca.yamldoc import Map

NODE, POLICY, GROUP, ARTIFACT = "node_types", "policy_types", "group_types", "artifact_types"
_NORMATIVE = re.compile(r"^tosca\.(nodes|policies|groups|artifacts)\.(network\.)?[A-Z]")  # TOSCA's own names
MAX_DERIVATION = 32


@dataclass
class TypeTable:
    """Definitions by (section, name): the package's, and ours where the package has none (loaded when first missed)."""

    definitions: dict[tuple[str, str], Map]
    load_ours: Callable[[], None]
    generation: int = 0  # counts what was assumed: lineages before it may be others
    _lineage: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _assumed: dict[tuple[str, str], str] = field(default_factory=dict)
    _defaults: dict[tuple[str, str, str], Map] = field(default_factory=dict)
    _missed: bool = False

    def definition(self, section: str, name: str) -> Map | None:
        """A type's definition; None for TOSCA's own and for what nobody defines."""
        found = self.definitions.get((section, name))
        if found is None and not self._missed:
            self._missed = True
            self.load_ours()
            found = self.definitions.get((section, name))
        return found

    def lineage(self, section: str, name: str) -> tuple[str, ...]:
        """The type and all that it derives from, itself first."""
        key = (section, name)
        if key not in self._lineage:
            lineage = tuple(self._climb(section, name))
            base = self._assumed.get(key)
            self._lineage[key] = (*lineage, *self._climb(section, base)) if base else lineage
        return self._lineage[key]

    def assume(self, section: str, name: str, base: str) -> None:
        """From now on a type that nobody defines counts as derived from `base`."""
        self._assumed[section, name] = base
        self.generation += 1
        self._lineage.pop((section, name), None)

    def stand_ins(self) -> dict[tuple[str, str], str]:
        """What nobody defines and what it counts as: guessed types, and names of older profiles."""
        formers = {(NODE, name): base for name, (base, _) in FORMER.items()}
        return {
            (section, name): base
            for (section, name), base in (formers | self._assumed).items()
            if (section, name) not in self.definitions and (section, base) in self.definitions
        }

    def former(self, section: str, name: str) -> tuple[str, str, str] | None:
        """The first name in the lineage that a draft or an older profile had: it, what it became, where it is from."""
        found = next((t for t in self.lineage(section, name) if t in FORMER), None) if section == NODE else None
        return (found, *FORMER[found]) if found else None

    def is_a(self, section: str, name: str, base: str) -> bool:
        """Whether the type is `base` or derives from it."""
        return base in self.lineage(section, name)

    def known(self, section: str, name: str) -> bool:
        """Whether the type is defined up to one of TOSCA's own."""
        last = self.lineage(section, name)[-1]
        return self.definition(section, last) is not None or _NORMATIVE.match(last) is not None

    def of_file(self, section: str, file: str) -> list[str]:
        """The types that a file defines."""
        return [n for (s, n), definition in self.definitions.items() if s == section and definition.file == file]

    def default(self, section: str, name: str, prop: str) -> tuple[Map, str] | None:
        """Where the default of a property stands: the definition that holds it under the key `default`."""
        for ancestor in self.lineage(section, name):
            definition = self.definition(section, ancestor)
            if definition is not None and prop in (properties := definition.sub("properties")):
                if not isinstance(properties[prop], Map) and properties[prop] is not None:
                    return properties, prop  # the value in the place of its definition
                holder = properties.sub(prop)
                return (holder, "default") if "default" in holder else None
        return None

    def defaults(self, section: str, name: str) -> Map:
        """What the package's own types say of properties that a template leaves out, the nearest type first."""
        key = (section, name, "")
        if key not in self._defaults:
            self._defaults[key] = _defaults_of(d.sub("properties") for d in self._own(section, name))
        return self._defaults[key]

    def capability_defaults(self, name: str, capability: str) -> Map:
        """The same for a capability of a node type: what node types say of it, then what its own type says."""
        key = (NODE, name, capability)
        if key not in self._defaults:
            holders: list[Map] = []
            for definition in self._own(NODE, name):
                stated = definition.sub("capabilities")
                kind = stated.sub(capability).get("type", stated.get(capability))
                holders.append(stated.sub(capability).sub("properties"))
                if isinstance(kind, str):
                    holders += [d.sub("properties") for d in self._own("capability_types", kind)]
            self._defaults[key] = _defaults_of(holders)
        return self._defaults[key]

    def artifacts(self, name: str) -> Map:
        """The artifacts that a package's own node types have, the nearest type first."""
        key = (ARTIFACT, name, "")
        if key not in self._defaults:
            found = Map()
            for definition in self._own(NODE, name):
                take_missing(found, definition.sub("artifacts"))
            self._defaults[key] = found
        return self._defaults[key]

    def _own(self, section: str, name: str) -> Iterator[Map]:
        """The definitions of a type and what it derives from, as far as they are the package's."""
        for ancestor in self.lineage(section, name):
            definition = self.definition(section, ancestor)
            if definition is not None and not definition.file.startswith(PREFIX):
                yield definition

    def inherited(self, section: str, name: str, prop: str) -> Map | None:
        """The nearest definition of a property that says its type."""
        for ancestor in self.lineage(section, name):
            definition = self.definition(section, ancestor)
            stated = definition.sub("properties").get(prop) if definition is not None else None
            if isinstance(stated, Map) and "type" in stated:
                return stated
        return None

    def allowed(self, section: str, name: str, prop: str) -> tuple[str, ...]:
        """The values that the nearest definition of a property allows; empty where it does not list them."""
        for ancestor in self.lineage(section, name):
            definition = self.definition(section, ancestor)
            if definition is None or prop not in definition.sub("properties"):
                continue
            constraints = definition.sub("properties").sub(prop).get("constraints")
            for constraint in constraints if isinstance(constraints, list) else []:
                values = constraint.get("valid_values") if isinstance(constraint, Map) else None
                if isinstance(values, list):
                    return tuple(str(v) for v in values)
            return ()
        return ()

    def _stands_for(self, section: str, name: str) -> bool:
        return self.definition(section, name) is not None or (section == NODE and name in FORMER)

    def _climb(self, section: str, name: str) -> Iterator[str]:
        seen: set[str] = set()
        current: object = name
        while isinstance(current, str) and current not in seen and len(seen) < MAX_DERIVATION:
            seen.add(current)
            definition = self.definition(section, current)
            if current in FORMER and section == NODE:  # also where the package defines it, from a root of TOSCA's
                yield current
                current = FORMER[current][0]
                continue
            yield current
            if ":" in current:  # a name of an import with a namespace_prefix: what it names is what it is
                plain = current.rpartition(":")[2]
                definition = definition or self.definition(section, plain)
                if definition is None:  # `tosca:X` is short for what TOSCA calls so
                    root = f"tosca.{section.removesuffix('_types')}s."
                    full = next((n for n in (root + "nfv." + plain, root + plain) if self._stands_for(section, n)), "")
                    if full:
                        yield from self._climb(section, full)
                        return
                if plain not in seen:
                    seen.add(plain)
                    yield plain
            current = definition.get("derived_from") if definition is not None else None


def _defaults_of(holders: Iterable[Map]) -> Map:
    found = Map()
    for properties in holders:
        for name in properties:
            plain = not isinstance(properties[name], Map)  # the value in the place of its definition
            holder, key = (properties, name) if plain else (properties.sub(name), "default")
            if found.get(name) is None and holder.get(key) is not None:
                found[name], found.marks[name] = holder[key], holder.marks.get(key, holder.mark)
                found.file = found.file or holder.file
                if key in holder.raw:
                    found.raw[name] = holder.raw[key]
    return found
