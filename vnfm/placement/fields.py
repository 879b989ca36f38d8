"""Fields of parsed JSON, read strictly: what is wrong is told with the path of the field.

A reader raises `Misfit` with the field's name; who loops over a list prefixes where it was. So the path costs
nothing as long as nothing is wrong, which matters with ten thousand hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Json = Mapping[str, Any]
LIMIT = 2**48  # what sums of thousands still hold in 64 bit


class Misfit(Exception):
    """A field that is not what was expected; `path` grows on its way out."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, text)
        self.path = path
        self.text = text

    def within(self, outer: str) -> Misfit:
        """The same, seen from one level further out."""
        return Misfit(f"{outer}.{self.path}" if self.path and self.path[0] != "[" else outer + self.path, self.text)


def shown(value: object) -> str:
    """A value in an error's text, never long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def misfit(name: str, expected: str, value: object) -> NoReturn:
    """Raise for a field that holds something else than expected."""
    raise Misfit(name, f"expected {expected}, got {shown(value)}")


def mapping(value: object, name: str = "") -> Json:
    """An object."""
    if not isinstance(value, dict):
        misfit(name, "an object", value)
    return value


def whole(data: Json, name: str, default: int | None = None) -> int:
    """A whole number that is not negative."""
    value = data.get(name, default)
    if type(value) is not int or not 0 <= value <= LIMIT:
        misfit(name, f"a whole number from 0 to {LIMIT}", value)
    return value


def maybe_whole(data: Json, name: str) -> int | None:
    """The same, or nothing."""
    return None if data.get(name) is None else whole(data, name)


def flag(data: Json, name: str) -> bool:
    """True or false; false where absent."""
    value = data.get(name, False)
    if type(value) is not bool:
        misfit(name, "true or false", value)
    return value


def text(data: Json, name: str, default: str | None = None) -> str:
    """A string that is not empty, or the default where absent or null."""
    value = data.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not str or not (value or default == ""):
        misfit(name, "a text", value)
    return value


def maybe_text(data: Json, name: str) -> str | None:
    """A string or nothing."""
    return None if data.get(name) is None else text(data, name)


def texts(data: Json, name: str, known: Collection[str] | None = None, what: str = "name") -> tuple[str, ...]:
    """A list of different strings, of `known` ones where that is given."""
    value = data.get(name)
    if not isinstance(value, list):
        misfit(name, "a list of texts", value)
    for i, item in enumerate(value):
        if type(item) is not str:
            misfit(f"{name}[{i}]", "a text", item)
        if known is not None and item not in known:
            misfit(f"{name}[{i}]", f"a known {what}", item)
    if len(set(value)) != len(value):
        misfit(name, "each only once", value)
    return tuple(value)


def maybe_texts(data: Json, name: str) -> tuple[str, ...] | None:
    """The same, or nothing."""
    return None if data.get(name) is None else texts(data, name)


def each(data: Json, name: str, read: Callable[[Any], T], *, required: bool = False) -> tuple[T, ...]:
    """What `read` makes of each item of a list; an absent list is empty unless it is required."""
    items = data.get(name)
    if items is None and not required:
        return ()
    if not isinstance(items, list):
        misfit(name, "a list", items)
    out: list[T] = []
    try:
        for item in items:
            out.append(read(item))
    except Misfit as wrong:
        raise wrong.within(f"{name}[{len(out)}]") from None
    return tuple(out)


def different(ids: Iterable[str], name: str, field: str = "id", seen: Iterable[str] = ()) -> None:
    """Raise where an id comes a second time."""
    met = set(seen)
    for i, item in enumerate(ids):
        if item in met:
            raise Misfit(
                f"{name}[{i}].{field}" if field else f"{name}[{i}]",
                f"expected an id that is not taken yet, got {shown(item)}",
            )
        met.add(item)
