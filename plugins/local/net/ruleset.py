"""A fabric's table as a value, found or wanted, and the one transaction between them: pure functions.

Every chain bears a mark: the index of the device that it is hooked to, and a digest of its rules and of the indexes of
the devices that they name. So a chain that stays as it is is not touched, and one whose device was made anew is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugins.local.net.errors import InvalidSpecError
from plugins.local.net.naming import TABLE

FLOWS_MAX = 65536
FLOW_SECONDS = 120
_NAME = re.compile(r"[a-z][0-9a-f]{12}(_[0-9a-f]{12})?")
_SAFE_RULE = re.compile(r"[A-Za-z0-9 .:/@&!=<>{},|()\-_]+")
_MARK = re.compile(r"(\d+)/([0-9a-f]{16})/(\d+)")
_FORWARDED = re.compile(r"fwd to (p[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules; with a `device` they see what comes in by it, and drop what none of them forwards."""

    rules: tuple[str, ...]
    device: str = ""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What is wanted. `sets` by name with their type; `counters` are made where they are missing."""

    chains: Mapping[str, Chain] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mark:
    """What a chain's mark says; `digest` is empty where there is none or rules are missing."""

    hook: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What the table holds; `exists` is False where there is no table. `maps` are of earlier releases."""

    exists: bool = False
    chains: Mapping[str, Mark] = field(default_factory=dict)
    bases: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()
    counters: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    maps: frozenset[str] = frozenset()


def parse(listing: Mapping[str, Any]) -> Found:
    """The table out of nft's JSON listing."""
    names: dict[str, bool] = {}
    rules: dict[str, list[str]] = {}
    sets: set[str] = set()
    maps: set[str] = set()
    counters: dict[str, tuple[int, int]] = {}
    for entry in listing.get("nftables", ()):
        if "chain" in entry:
            names[str(entry["chain"]["name"])] = "hook" in entry["chain"]
        elif "rule" in entry:
            rules.setdefault(str(entry["rule"]["chain"]), []).append(str(entry["rule"].get("comment", "")))
        elif "set" in entry:
            sets.add(str(entry["set"]["name"]))
        elif "map" in entry:
            maps.add(str(entry["map"]["name"]))
        elif "counter" in entry:
            one = entry["counter"]
            counters[str(one["name"])] = (int(one["packets"]), int(one["bytes"]))
    return Found(
        True,
        {name: _read_mark(rules.get(name, [])) for name in names},
        frozenset(name for name, is_base in names.items() if is_base),
        frozenset(sets),
        counters,
        frozenset(maps),
    )


def _read_mark(comments: list[str]) -> Mark:
    found = _MARK.fullmatch(comments[0]) if comments else None
    if found is None:
        return Mark()
    whole = len(comments) == int(found[3])
    return Mark(int(found[1]), found[2] if whole else "")


def mark_of(chain: Chain, indexes: Mapping[str, int]) -> Mark:
    """The mark of a wanted chain on devices with these indexes."""
    named = sorted({name for rule in chain.rules for name in _FORWARDED.findall(rule)})
    text = "\n".join([*chain.rules, *(f"{name}={indexes.get(name, 0)}" for name in named)])
    return Mark(indexes.get(chain.device, 0), hashlib.sha256(text.encode()).hexdigest()[:16])


def leaving(found: Found, wanted: Ruleset, indexes: Mapping[str, int]) -> frozenset[str]:
    """The ports in force that are there and wanted no more."""
    return frozenset(name for name in found.bases - wanted.chains.keys() if name in indexes and found.chains[name].hook)


def amiss(found: Found, wanted: Ruleset, indexes: Mapping[str, int]) -> frozenset[str]:
    """The chains that are not in force as wanted."""
    return frozenset(name for name, chain in wanted.chains.items() if found.chains.get(name) != mark_of(chain, indexes))


def transaction(
    found: Found,
    wanted: Ruleset,
    indexes: Mapping[str, int],
    *,
    kept_counters: frozenset[str] = frozenset(),
    keep_all: bool = False,
) -> str:
    """nft's text that turns what was found into what is wanted in one switch; empty where nothing is to do.

    `indexes` are those of the devices that are there. `keep_all` leaves in force what is wanted no more, so that what
    is on its way still arrives; `kept_counters` stay although no rule counts by them now.
    """
    changed = amiss(found, wanted, indexes)
    rehooked = {
        name for name in changed & found.bases if found.chains[name].hook != indexes.get(wanted.chains[name].device)
    }
    # A name that was a chain of the other sort is made anew, too.
    rehooked |= {n for n in changed & found.chains.keys() if bool(wanted.chains[n].device) != (n in found.bases)}
    stale = frozenset() if keep_all else found.chains.keys() - wanted.chains.keys()
    flushed = sorted((changed & found.chains.keys()) | stale)
    lines = [] if found.exists else [f"add table netdev {TABLE}"]
    lines += [f"flush chain netdev {TABLE} {name}" for name in flushed]
    lines += [f"delete chain netdev {TABLE} {name}" for name in sorted(rehooked | stale, key=_bases_first(found))]
    lines += [
        f"add counter netdev {TABLE} {_checked(name)}" for name in sorted(wanted.counters - found.counters.keys())
    ]
    lines += [
        f"add set netdev {TABLE} {_checked(name)} {{ {_rule(wanted.sets[name])}; flags dynamic,timeout; "
        f"timeout {FLOW_SECONDS}s; size {FLOWS_MAX}; }}"
        for name in sorted(wanted.sets.keys() - found.sets)
    ]
    new = sorted(changed - (found.chains.keys() - rehooked))
    lines += [_new_chain(name, wanted.chains[name]) for name in sorted(new, key=lambda n: wanted.chains[n].device)]
    for name in sorted(changed):
        lines += _rules(name, wanted.chains[name], indexes)
    if not keep_all:
        lines += [f"delete set netdev {TABLE} {name}" for name in sorted(found.sets - wanted.sets.keys())]
        lines += [f"delete map netdev {TABLE} {name}" for name in sorted(found.maps)]
        gone = found.counters.keys() - wanted.counters - kept_counters
        lines += [f"delete counter netdev {TABLE} {name}" for name in sorted(gone)]
    return "\n".join(lines) + "\n" if lines else ""


def _bases_first(found: Found) -> Any:
    return lambda name: (name not in found.bases, name)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidSpecError(f"expected the name of a port or a chain, got {name!r}")
    return name


def _rule(text: str) -> str:
    if not _SAFE_RULE.fullmatch(text):
        raise InvalidSpecError(f"expected a rule without quotes or line ends, got {text!r}")
    return text


def _new_chain(name: str, chain: Chain) -> str:
    # One base chain a port: all kernels take it, and a port can come and go without touching the others. Nothing is
    # answered for by the policy: a frame that no rule forwards is dropped.
    hook = f"type filter hook ingress device {_checked(chain.device)} priority 0; policy drop;" if chain.device else ""
    return f"add chain netdev {TABLE} {_checked(name)}" + (f" {{ {hook} }}" if hook else "")


def _rules(name: str, chain: Chain, indexes: Mapping[str, int]) -> Iterable[str]:
    mark = mark_of(chain, indexes)
    comment = f' comment "{mark.hook}/{mark.digest}/{len(chain.rules)}"'
    for number, rule in enumerate(chain.rules):
        yield f"add rule netdev {TABLE} {name} {_rule(rule)}{'' if number else comment}"
