"""What a VDU asks of its realization, gathered from where SOL001 puts it (6.2.26 RequestedAdditionalCapability,
6.2.24 LogicalNodeData, 6.2.28 VirtualCpu, 6.2.27 VirtualMemory)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vnfm.model.needs import Isolation, Needs, Trait
from vnfm.tosca import units
from vnfm.tosca.images import arch_of
from vnfm.tosca.view import View
from vnfm.tosca.yamldoc import Map, plain

MAX_TRUST = 3
_LEVELS = {level.name.lower(): level for level in Isolation}
_WORKLOAD: Mapping[str, Mapping[str, Trait | None]] = {
    "state": {"kept": Trait.STATE, "none": None},
    "packets": {"every": Trait.PACKETS, "some": None},
    "scaling": {"fast": Trait.SCALING, "slow": None},
    "lifetime": {"short": Trait.LIFETIME, "long": None},
    "handling": {"container": Trait.CONTAINER, "cluster": Trait.CLUSTER, "any": None},
}
_WHOLE_MEMORY_PAGES = re.compile(r"page_?size", re.I)


@dataclass
class _Found:
    """Needs while they are gathered; `wishes` names the fields that are only desired."""

    needs: Needs = field(default_factory=Needs)
    wishes: set[str] = field(default_factory=set)
    other: dict[str, str] = field(default_factory=dict)

    def done(self) -> Needs:
        return replace(self.needs, wishes=frozenset(self.wishes), other=dict(sorted(self.other.items())))


def needs_of_capabilities(holder: View) -> Needs:
    """Needs from `requested_additional_capabilities` and `logical_node` of `holder`."""
    found = _Found()
    for key, entry in holder.named("requested_additional_capabilities"):
        name = entry.text("requested_additional_capability_name") or key
        _capability(found, name, entry)
    _logical_nodes(found, holder)
    return found.done()


def with_compute(needs: Needs, compute: View, memory_bytes: int) -> Needs:
    """`needs` and what virtual_cpu and virtual_memory add; `memory_bytes` is the VDU's memory."""
    cpu, memory = compute.sub("virtual_cpu"), compute.sub("virtual_memory")
    pinning = cpu.sub("virtual_cpu_pinning")
    policy = pinning.text("virtual_cpu_pinning_policy").lower() or pinning.text("cpu_pinning_policy").lower()
    pages = needs.hugepage_bytes
    for entry in memory.entries("huge_pages_requirements", "hugepage_size", "requested_size"):
        pages += entry.size_bytes("requested_size") or entry.size_bytes("total_size") or memory_bytes
    if _wants_large_pages(memory.mapping("vdu_mem_requirements")):
        pages = memory_bytes
    return replace(
        needs,
        cpu_pinned=needs.cpu_pinned or policy in ("static", "dedicated"),
        numa_strict=needs.numa_strict or memory.flag("numa_enabled"),
        hugepage_bytes=min(pages, memory_bytes) if memory_bytes else pages,
        arch=needs.arch or arch_of(cpu.text("cpu_architecture")),
    )


def merged(first: Needs, second: Needs) -> Needs:
    """The needs of two parts that are realized together: the stronger of each."""
    return Needs(
        isolation=max(first.isolation, second.isolation),
        own_kernel=first.own_kernel or second.own_kernel,
        own_os=first.own_os or second.own_os,
        min_trust=max(first.min_trust, second.min_trust),
        max_startup_ms=_least(first.max_startup_ms, second.max_startup_ms),
        max_hop_us=_least(first.max_hop_us, second.max_hop_us),
        cpu_pinned=first.cpu_pinned or second.cpu_pinned,
        numa_strict=first.numa_strict or second.numa_strict,
        hugepage_bytes=first.hugepage_bytes + second.hugepage_bytes,
        sriov_ports=first.sriov_ports + second.sriov_ports,
        gpus=first.gpus + second.gpus,
        arch=first.arch or second.arch,
        licence=first.licence or second.licence,
        licence_count=first.licence_count or second.licence_count,
        traits=first.traits | second.traits,
        wishes=first.wishes | second.wishes,
        other={**first.other, **second.other},
    )


def needs_of_container(container: View) -> Needs:
    """What one container adds: huge pages, pinned CPUs and extended resources."""
    pages = sum(_size(v) for _, v in _amounts(container, "huge_pages_resources", "hugepage_size", "requested_size"))
    extended = _amounts(container, "extended_resource_requests", "extended_resource", "amount")
    gpus = sum(_count(v) for k, v in extended if "gpu" in k.lower())
    policy = container.sub("cpu_pinning_requirements").text("virtual_cpu_pinning_policy").lower()
    return Needs(hugepage_bytes=pages, gpus=gpus, cpu_pinned=policy == "static")


def _amounts(holder: View, key: str, name: str, amount: str) -> list[tuple[str, str]]:
    """What and how much: a map of amounts, or as later versions have it a list of maps with `name` and `amount`."""
    if isinstance(holder.body.get(key), Map):
        return list(holder.mapping(key).items())
    found = []
    for _, entry in holder.children(key):
        said = entry.body.get(name)
        words = [str(w) for pair in said.items() for w in pair] if isinstance(said, Map) else [entry.text(name)]
        found.append((" ".join(words), entry.text(amount)))
    return found


def _capability(found: _Found, name: str, entry: View) -> None:
    must = entry.flag("support_mandatory", default=True)
    parameters = entry.sub("target_performance_parameters")
    readers = {
        "isolation": _isolation,
        "latency": _latency,
        "operating_system": _operating_system,
        "licence": _licence,
        "workload": _workload,
    }
    reader = readers.get(name.strip().lower())
    if reader is None:
        found.other[name] = json.dumps(plain(parameters.body), default=str)
        entry.notes.warn(
            "capability-unknown",
            f"{entry.path}: {name} has no meaning here and is handed on as it is",
            entry.at("requested_additional_capability_name"),
        )
        fields = {name}
    else:
        if not parameters.body:
            entry.notes.error(
                "need-empty", f"{entry.path}: {name} says nothing", entry.at(), "fill target_performance_parameters"
            )
        fields = reader(found, parameters)
    if not must:
        found.wishes |= fields


def _isolation(found: _Found, parameters: View) -> set[str]:
    fields = set()
    if "level" in parameters:
        word = parameters.text("level").strip().lower()
        if word in _LEVELS:
            found.needs = replace(found.needs, isolation=_LEVELS[word])
            fields.add("isolation")
        else:
            _bad(parameters, "level", f"one of {', '.join(_LEVELS)}")
    if "trust_level" in parameters:
        trust = parameters.whole("trust_level", must=True)
        if trust > MAX_TRUST:
            _bad(parameters, "trust_level", f"0 to {MAX_TRUST}")
        else:
            found.needs = replace(found.needs, min_trust=trust)
            fields.add("min_trust")
    _only(parameters, "level", "trust_level")
    return fields


def _latency(found: _Found, parameters: View) -> set[str]:
    fields = set()
    if "startup_ms" in parameters:
        found.needs = replace(found.needs, max_startup_ms=parameters.whole("startup_ms", must=True))
        fields.add("max_startup_ms")
    if "hop_us" in parameters:
        found.needs = replace(found.needs, max_hop_us=parameters.whole("hop_us", must=True))
        fields.add("max_hop_us")
    _only(parameters, "startup_ms", "hop_us")
    return fields


def _operating_system(found: _Found, parameters: View) -> set[str]:
    fields = set()
    for key, name in (("kernel", "own_kernel"), ("os", "own_os")):
        if key not in parameters:
            continue
        word = parameters.text(key).strip().lower()
        if word not in ("own", "any"):
            _bad(parameters, key, "own or any")
        elif word == "own":
            own_kernel = name == "own_kernel" or found.needs.own_kernel
            own_os = name == "own_os" or found.needs.own_os
            found.needs = replace(found.needs, own_kernel=own_kernel, own_os=own_os)
            fields.add(name)
    _only(parameters, "kernel", "os")
    return fields


def _licence(found: _Found, parameters: View) -> set[str]:
    """Never a wish: what is not licensed must not run."""
    name = parameters.text("id").strip()
    count = parameters.whole("count", must=True) if "count" in parameters else 1
    if not name:
        _bad(parameters, "id", "the licence's name, as the operator's pools have it")
    elif count < 1:
        _bad(parameters, "count", "1 or more")
    else:
        found.needs = replace(found.needs, licence=name, licence_count=count)
    _only(parameters, "id", "count")
    return set()


def _workload(found: _Found, parameters: View) -> set[str]:
    """What kind of work it does. Each of its words is a wish anyhow."""
    for key, words in _WORKLOAD.items():
        if key not in parameters:
            continue
        word = parameters.text(key).strip().lower()
        if word not in words:
            _bad(parameters, key, " or ".join(words))
        elif trait := words[word]:
            found.needs = replace(found.needs, traits=found.needs.traits | {trait})
    _only(parameters, *_WORKLOAD)
    return set()


def _only(parameters: View, *known: str) -> None:
    for key in parameters.body:
        if key not in known:
            parameters.notes.warn(
                "need-unknown",
                f"{parameters.path}.{key} has no meaning here",
                parameters.at(key),
                f"expected {' or '.join(known)}",
            )


def _bad(parameters: View, key: str, expected: str) -> None:
    parameters.notes.error(
        "need-value",
        f"{parameters.path}.{key}: expected {expected}, found {parameters.text(key)!r}",
        parameters.at(key),
    )


def _logical_nodes(found: _Found, holder: View) -> None:
    """NUMA, huge pages and GPUs among the keys that people use in logical_node_requirements."""
    for _, node in holder.children("logical_node"):
        for key, value in node.mapping("logical_node_requirements").items():
            word = key.lower()
            if ":" in key:  # a VIM's own word, such as hw:numa_nodes: it is handed on beside what we make of it
                found.other[key] = value
            if "gpu" in word:
                found.needs = replace(found.needs, gpus=found.needs.gpus + _count(value))
            elif word.endswith(":numa_nodes"):  # spread over several, it is not held to one
                found.needs = replace(found.needs, numa_strict=found.needs.numa_strict or value.strip() == "1")
            elif "numa" in word and ":" not in key and value.strip().lower() not in ("false", "0", "no", ""):
                found.needs = replace(found.needs, numa_strict=True)
            elif "cpu_policy" in word or "cpu-pinning" in word or "cpu_pinning" in word:
                pinned = value.strip().lower() in ("dedicated", "static", "true")
                found.needs = replace(found.needs, cpu_pinned=found.needs.cpu_pinned or pinned)
            else:
                found.other[key] = value


def _wants_large_pages(requirements: dict[str, str]) -> bool:
    for key, value in requirements.items():
        if not _WHOLE_MEMORY_PAGES.search(key):
            continue
        word = value.strip().lower()
        if word == "large" or (word not in ("small", "any", "") and _size(value) > 4096):
            return True
    return False


def _size(value: str) -> int:
    try:
        return units.size_bytes(value)
    except units.UnitError:
        return 0


def _count(value: str) -> int:
    return int(value) if value.strip().isdecimal() and len(value) < 9 else 1


def _least(first: int | None, second: int | None) -> int | None:
    given = [v for v in (first, second) if v is not None]
    return min(given) if given else None
