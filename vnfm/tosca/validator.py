"""tosca-parser's verdict on a template, as findings.

It is the validator that people know, and it refuses some of what SOL001 allows; what decides is whether a model can be
read. So its word is a warning, with a code by which its known mistakes are told from what the author should mend. It
gets one merged template without imports: it would fetch URLs, look into the working folder and read a file once for
every path that leads to it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vnfm.tosca.documents import SECTIONS
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.template import Template
from vnfm.tosca.types import TypeTable
from vnfm.tosca.yamldoc import Map, Seq, plain

_VERSIONS = ("tosca_simple_yaml_1_0", "tosca_simple_yaml_1_2", "tosca_simple_yaml_1_3")
CPU_SECONDS = 4.0
_HINT = "mend it where it is a mistake; the model was read all the same"
_QUOTED = re.compile(r'"([^"]+)"')
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# What it is known to get wrong: (exception's name, pattern of the message, code, why it is no problem).
KNOWN_MISTAKES = (
    ("", r"wrong number of occurrences", "occurrences", "SOL001 leaves some links to the NSD"),
    ("UnknownFieldError", r'"(workflows|status)"', "unknown-keyname", "TOSCA 1.3 has that keyname"),
    (
        "InvalidSchemaError",
        r"expects comparable values",
        "bound",
        "a bound of an amount has a unit, as in SOL001's types",
    ),
    ("InvalidTemplateVersion", r"", "version", "a version of TOSCA that it does not know"),
)


def validate(template: Template, version: object, types: TypeTable, notes: Notes) -> None:
    """Note what tosca-parser says of a template together with all types."""
    from toscaparser.common.exception import ExceptionCollector, TOSCAException
    from toscaparser.tosca_template import ToscaTemplate

    _make_linear()
    merged = _merged(template, version, types)
    try:
        with _at_most(CPU_SECONDS):
            ToscaTemplate(yaml_dict_tpl=merged, a_file=False)
    except TOSCAException:
        for error in list(ExceptionCollector.getExceptions()):
            _note(template, error, types, notes)
    except _TooLong:
        notes.warn(
            "tosca-parser-too-long",
            f"tosca-parser took more than {CPU_SECONDS:g} s of CPU time and was stopped: its verdict is missing",
            template.topology.place(),
            "smaller templates are checked whole",
        )
    except Exception as error:  # noqa: BLE001 - it lets any exception escape on bodies that it did not expect
        for earlier in list(ExceptionCollector.getExceptions()):
            _note(template, earlier, types, notes)
        notes.warn(
            "tosca-parser-crashed",
            f"tosca-parser stopped with {type(error).__name__}: {error}",
            template.topology.place(),
            "often a value of another form than its type says",
        )
    finally:
        ExceptionCollector.stop()
        ExceptionCollector.clear()


class _TooLong(BaseException):
    """No Exception: tosca-parser has handlers that take any."""


@contextmanager
def _at_most(cpu_seconds: float) -> Iterator[None]:
    """Raises _TooLong inside once that much CPU time is used up."""

    def stop(_signal: int, _frame: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _make_linear() -> None:
    """Its graph of a template compares each requirement with every node; by name it is the same, for this process."""
    from toscaparser import topology_template, tosca_template
    from toscaparser.tpl_relationship_graph import ToscaGraph

    class Graph(ToscaGraph):  # type: ignore[misc]
        def _create(self) -> None:
            by_name = {node.name: node for node in self.nodetemplates}
            for node in self.nodetemplates:
                for relation, target in node.relationships.items():
                    if target.name in by_name:
                        self._create_edge(node, by_name[target.name], relation)
                self._create_vertex(node)

    topology_template.ToscaGraph = tosca_template.ToscaGraph = Graph


def _merged(template: Template, version: object, types: TypeTable) -> dict[str, Any]:
    merged: dict[str, Any] = {section: {} for section in SECTIONS}
    for (section, name), definition in types.definitions.items():
        merged[section][name] = _with_types(plain(definition), section, name, types)
    for (section, name), base in types.stand_ins().items():
        merged[section][name] = {"derived_from": base}
    topology = plain(template.topology)
    if isinstance(mappings := topology.get("substitution_mappings"), dict):
        mappings.pop("substitution_filter", None)  # TOSCA 1.3 has it, and it stops there
    # Policies' targets and groups' members are looked up, so the templates that were taken in belong here.
    topology["node_templates"] = {n.name: _with_properties(plain(n.body)) for n in template.nodes.values()}
    merged["topology_template"] = topology
    merged["tosca_definitions_version"] = version if version in _VERSIONS else _VERSIONS[-1]
    return {key: value for key, value in merged.items() if value}


def _with_types(definition: Any, section: str, name: str, types: TypeTable) -> Any:
    """A definition whose properties all have a type: what refines an inherited one need not repeat it."""
    properties = definition.get("properties") if isinstance(definition, dict) else None
    if not isinstance(properties, dict):
        return definition
    for prop, stated in properties.items():
        if isinstance(stated, dict) and "type" not in stated:
            above = types.inherited(section, name, prop)
            properties[prop] = {**plain(above), **stated} if above is not None else {"type": "string", **stated}
    return definition


def _with_properties(body: Any) -> Any:
    """A node template whose capabilities all have properties, where it looks for them."""
    capabilities = body.get("capabilities")
    for name, stated in capabilities.items() if isinstance(capabilities, dict) else ():
        if stated is None or (isinstance(stated, dict) and stated.get("properties") is None):
            capabilities[name] = {**(stated or {}), "properties": {}}
    return body


def _note(template: Template, error: Exception, types: TypeTable, notes: Notes) -> None:
    name, text = type(error).__name__, str(error)
    code, hint = _WORDS.sub("-", name.removesuffix("Error").removesuffix("Exception")).lower(), _HINT
    if name == "MissingRequiredFieldError" and _has_default(text, types):
        code, hint = "default", "tosca-parser is mistaken here: the type has a default, such as false"
    for exception, pattern, known, why in KNOWN_MISTAKES:
        if exception in ("", name) and re.search(pattern, text):
            code, hint = known, f"tosca-parser is mistaken here: {why}"
            break
    notes.warn(f"tosca-parser-{code}", text, next(_places(template, text)), hint)


def _has_default(text: str, types: TypeTable) -> bool:
    """Whether all that it misses has a default somewhere: it overlooks those that are false, 0 or empty."""
    missing = {word for quoted in _QUOTED.findall(text)[1:] for word in re.findall(r"\w+", quoted)}
    held = set()
    for definition in types.definitions.values():
        properties = definition.sub("properties")
        held |= {str(key) for key in properties if "default" in properties.sub(key)}
    return bool(missing) and missing <= held


def _places(template: Template, text: str) -> Iterator[Place]:
    """It tells no lines: the place of the entity that it names."""
    for word in _QUOTED.findall(text):
        for entities in (template.nodes, template.policies, template.groups):
            if word in entities:
                body = entities[word].body
                yield body.place("type")
    for word in _QUOTED.findall(text):
        yield from _written(template.topology, word, set())
    yield template.topology.place()


def _written(value: object, word: str, seen: set[int]) -> Iterator[Place]:
    """Where a text stands as a key or a value, each alias looked at once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Map):
        for key, item in value.items():
            if key == word or value.raw.get(key) == word:
                yield value.place(key)
            yield from _written(item, word, seen)
    elif isinstance(value, Seq):
        for index, item in enumerate(value):
            if isinstance(item, str) and item == word:
                yield value.place(index)
            yield from _written(item, word, seen)
