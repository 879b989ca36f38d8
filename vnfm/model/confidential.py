"""What of a VIM's configuration is nobody's to read: taken out of it, and put back. Pure.

A secret is a text that the plugin's JSON Schema marks `writeOnly`. Where the schema has no word for a key, or nobody
has told one yet, the key's name decides: `password`, `api_token`, but not `password_file`, which only names a file.
A secret is named by its path: keys and indices joined by `/`, with `~1` for a slash and `~0` for a tilde in a key
(RFC 6901 without the first slash): `tenants/gold/password`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_SOUNDS = re.compile(r"secret|passw|passphrase|token|api_?key|private_?key", re.IGNORECASE)
_NAMES_ELSE = re.compile(r"_(file|path|id|url|name|type|s|seconds|ms|bytes)$", re.IGNORECASE)
HIDDEN = "(secret)"
Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Parted:
    """A configuration without its secrets, and these by path."""

    plain: Mapping[str, Any] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)


def part(config: Mapping[str, Any], schema: Mapping[str, Any], *, by_name: bool = True) -> Parted:
    """Take the secrets out. `by_name`: keys count that sound like secrets, where `schema` does not know them."""
    plain = copy.deepcopy(dict(config))
    found: dict[str, str] = {}
    for steps in list(_secrets(config, schema, (), by_name)):
        inside: Any = plain
        for step in steps[:-1]:
            inside = inside[step]
        if isinstance(inside, list):  # the others keep their places
            found[path_of(steps)], inside[int(steps[-1])] = str(inside[int(steps[-1])]), ""
        else:
            found[path_of(steps)] = str(inside.pop(steps[-1]))
    return Parted(plain, found)


def whole(plain: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Put them back. A path that leads nowhere in `plain` makes its mappings."""
    made = copy.deepcopy(dict(plain))
    for path, value in secrets.items():
        *way, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]
        inside: Any = made
        for step in way:
            inside = inside[int(step)] if isinstance(inside, list) else inside.setdefault(step, {})
        if isinstance(inside, list):
            inside[int(last)] = value
        else:
            inside[last] = value
    return made


def path_of(steps: Iterable[str | int]) -> str:
    """As a secret is named."""
    return "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets: what others say of a configuration may quote it."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(value: Any, schema: Any, steps: Steps, by_name: bool) -> Iterator[Steps]:
    told = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, Mapping):
        known = told.get("properties") or {}
        for key, inner in value.items():
            below = known.get(key, told.get("additionalProperties"))
            if isinstance(inner, str):
                said = below if isinstance(below, Mapping) and below else None
                if said.get("writeOnly") if said else by_name and _sounds(key):
                    yield (*steps, key)
            else:
                yield from _secrets(inner, below, (*steps, key), by_name)
    elif isinstance(value, list):
        below = told.get("items")
        for number, inner in enumerate(value):
            if not isinstance(inner, str):
                yield from _secrets(inner, below, (*steps, number), by_name)
            elif isinstance(below, Mapping) and below.get("writeOnly"):
                yield (*steps, number)


def _sounds(key: str) -> bool:
    return bool(_SOUNDS.search(key)) and not _NAMES_ELSE.search(key)
