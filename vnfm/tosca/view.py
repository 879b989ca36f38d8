"""Typed reading of a mapping: what has the wrong form is noted with its place, and the reading goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vnfm.tosca import units
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.yamldoc import Map, Seq

_NOTHING = re.compile(r"\s*\+?0+(\.0*)?\s*[A-Za-z]*\s*$")


@dataclass(frozen=True)
class View:
    """A mapping and the path by which messages call it."""

    body: Map
    notes: Notes
    path: str

    def __contains__(self, key: str) -> bool:
        return self.body.get(key) is not None

    def at(self, key: object = None) -> Place:
        """Where the value of `key` stands."""
        return self.body.place(key)

    def sub(self, key: str) -> View:
        """The mapping under `key`, empty where there is none."""
        value = self.body.get(key)
        if value is not None and not isinstance(value, Map):
            self._wrong(key, "a mapping")
        return View(self.body.sub(key), self.notes, f"{self.path}.{key}")

    def items(self) -> Iterator[tuple[str, View]]:
        """Every value that is a mapping, by its key."""
        for key, value in self.body.items():
            if isinstance(value, Map):
                yield str(key), View(value, self.notes, f"{self.path}.{key}")

    def children(self, key: str) -> list[tuple[str, View]]:
        """The mappings under `key`, which is a map or, as earlier versions had it, a list."""
        value = self.body.get(key)
        if isinstance(value, Map):
            return list(View(value, self.notes, f"{self.path}.{key}").items())
        if isinstance(value, Seq):
            return [
                (str(n), View(v, self.notes, f"{self.path}.{key}[{n}]"))
                for n, v in enumerate(value)
                if isinstance(v, Map)
            ]
        if value is not None:
            self._wrong(key, "a map or a list")
        return []

    def entries(self, key: str, *own: str) -> list[View]:
        """The mappings under `key`, a map or list of them; one alone, told by having a key of its `own`, counts too."""
        value = self.body.get(key)
        if isinstance(value, Map) and any(name in value for name in own):
            return [self.sub(key)]
        return [view for _, view in self.children(key)]

    def named(self, key: str) -> list[tuple[str, View]]:
        """The mappings under `key` by name: of a map, of a list of maps of one name each, or with a `name` inside."""
        value = self.body.get(key)
        if not isinstance(value, Seq):
            return self.children(key)
        found: list[tuple[str, View]] = []
        for number, item in self.children(key):
            inner = list(item.items())
            if len(item.body) == 1 and inner:
                found += inner
            else:
                own = next((k for k in item.body if str(k).endswith("_id") or k == "id"), "name")
                found.append((item.text(own) or item.text("name") or number, item))
        return found

    def text(self, key: str, default: str = "") -> str:
        """A scalar as it is written."""
        value = self.body.get(key)
        if value is None:
            return default
        if isinstance(value, Map | Seq):
            self._wrong(key, "a text")
            return default
        return self.body.text(key) or str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of scalars; one scalar counts as a list of one."""
        value = self.body.get(key)
        if value is None:
            return ()
        if isinstance(value, Seq):
            return tuple(str(v) for v in value if v is not None and not isinstance(v, Map | Seq))
        if isinstance(value, Map):
            self._wrong(key, "a list")
            return ()
        return (self.text(key),)

    def mapping(self, key: str) -> dict[str, str]:
        """A map of scalars as texts."""
        inner = self.sub(key)
        return {str(k): inner.text(k) for k, v in inner.body.items() if not isinstance(v, Map | Seq)}

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean, also as the text that some write."""
        value = self.body.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip().lower() in ("true", "false", "yes", "no"):
            return value.strip().lower() in ("true", "yes")
        if not isinstance(value, bool):
            self._wrong(key, "true or false")
            return default
        return value

    def whole(self, key: str, default: int = 0, least: int = 0, *, must: bool = False) -> int:
        """A whole number, also as a text. Where it `must` be sound, another word or number refuses the package."""
        value = self.body.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(key, f"a whole number from {least}", must and not isinstance(value, Map | Seq))
            return default
        if not least <= value < 2**63:
            note = self.notes.error if must else self.notes.warn
            note("value-range", f"{self.path}.{key}: expected a whole number from {least}, found {value}", self.at(key))
            return default
        return value

    def size_bytes(self, key: str, default: int = 0, bare: int = 1, *, must: bool = False) -> int:
        """A size; `bare` is what a number without a unit counts, and using it is noted. `must` as for `whole`."""
        value = self.body.get(key)
        if value is None:
            return default
        size = self._amount(
            key, default, lambda v: units.size_bytes(v, bare), "a number and a unit, such as 512 MiB", must
        )
        if bare > 1 and size and not units.has_unit(value):
            self.notes.warn(
                "unit-missing",
                f"{self.path}.{key}: {value} has no unit and was read as {size} bytes",
                self.at(key),
                "write the unit, such as 512 MiB",
            )
        return size

    def time_us(self, key: str, bare_us: int = 10**6) -> int | None:
        """A time in microseconds."""
        return (
            self._amount(key, 0, lambda v: units.time_us(v, bare_us), "a time, such as 5 ms") if key in self else None
        )

    def cpu_milli(self, key: str, default: int = 0, bare_milli: int = 1000, *, must: bool = False) -> int:
        """An amount of CPU. `must` as for `whole`."""
        form = "milli-CPU, such as 250" if bare_milli == 1 else "a number of CPUs, such as 2 or 500m"
        return (
            self._amount(key, default, lambda v: units.cpu_milli(v, bare_milli), form, must) if key in self else default
        )

    def rate_bps(self, key: str, default: int = 0) -> int:
        """A bit rate."""
        return self._amount(key, default, units.rate_bps, "a bit rate, such as 10 Mbps") if key in self else default

    def above_nothing(self, key: str, value: int) -> None:
        """Refuse an amount that is written and comes to nothing."""
        if value <= 0 and _NOTHING.match(self.body.text(key) or str(self.body.get(key))):
            self.notes.error(
                "value-range", f"{self.path}.{key}: expected more than 0", self.at(key), "write more than 0"
            )

    def _amount(self, key: str, default: int, read: Callable[[Any], int], form: str, must: bool = False) -> int:
        value = self.body[key]
        if isinstance(value, Map | Seq):
            self._wrong(key, "an amount")
            return default
        try:
            return read(value)
        except units.UnitError as error:
            note = self.notes.error if must and not isinstance(error, units.PlaceholderError) else self.notes.warn
            note("value-unit", f"{self.path}.{key}: {error}", self.at(key), f"write {form}")
            return default

    def _wrong(self, key: str, expected: str, must: bool = False) -> None:
        """What has another form is left out with a warning: it changes nothing of what there is."""
        value = self.body.get(key)
        found = "a mapping" if isinstance(value, Map) else "a list" if isinstance(value, Seq) else repr(value)[:60]
        note = self.notes.error if must else self.notes.warn
        note("value-type", f"{self.path}.{key}: expected {expected}, found {found}", self.at(key))
