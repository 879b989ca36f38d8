"""Frozen dataclasses to JSON values and back, strictly: what was not written by `encode` is refused by `decode`.

Used for what is stored (operations, VNFDs) and what crosses a process border. Handles dataclasses, enums, tuples,
frozensets, mappings with string keys, optionals, bytes (base64), times (ISO 8601) and the JSON scalars.
"""

from __future__ import annotations

import base64
import dataclasses
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")
_PLAIN = frozenset({str, int, bool, float, type(None)})
_NO_DEFAULT = object()


class CodecError(ValueError):
    """The data does not fit the type; the message names the path."""


def encode(value: object) -> Any:
    """A JSON-ready form of `value`. Fields that hold their default are left out, so new fields are compatible."""
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is list:
        return [v if v.__class__ in _PLAIN else encode(v) for v in value]  # type: ignore[attr-defined]
    fields = _fields(kind)  # type: ignore[arg-type]  # a type can be hashed
    if fields is None:
        return _encode_other(value)
    told: dict[str, Any] = {}
    for name, default, factory in fields:
        held = getattr(value, name)
        if factory is not None:
            default = factory()
        if held is default or (default is not None and held == default):
            continue
        told[name] = held if held.__class__ in _PLAIN else encode(held)
    return told


def _encode_other(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, frozenset):
        return sorted((encode(v) for v in value), key=str)
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    return value


def dumps(value: object) -> str:
    """The same as JSON text, ten times as fast; fields that hold their default are written, too."""
    return _ENCODER.encode(value).decode()


def loads(text: str) -> Any:
    """JSON text as JSON values."""
    return msgspec.json.decode(text)


def _other_mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


_ENCODER = msgspec.json.Encoder(enc_hook=_other_mapping, order="deterministic")


def decode(cls: type[T], data: Any, path: str = "$") -> T:
    """An instance of `cls` from what `encode` made. Raises CodecError."""
    value: T = _decode(cls, data, path)
    return value


@cache
def _fields(kind: type) -> tuple[tuple[str, Any, Callable[[], Any] | None], ...] | None:
    """Names, defaults and what makes a default of a dataclass; None for other types."""
    if not dataclasses.is_dataclass(kind):
        return None
    found = []
    for f in dataclasses.fields(kind):
        default = _NO_DEFAULT if f.default is dataclasses.MISSING else f.default
        factory = None if f.default_factory is dataclasses.MISSING else f.default_factory
        found.append((f.name, default, factory))
    return tuple(found)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


@cache
def _names(cls: type) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(cls))


def _decode(kind: Any, data: Any, path: str) -> Any:
    if kind is Any or kind is object:
        return data
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_optional(kind, data, path)
    if origin is tuple:
        return _decode_tuple(get_args(kind), data, path)
    if origin is frozenset:
        return frozenset(_decode(get_args(kind)[0], v, f"{path}[{i}]") for i, v in enumerate(_list(data, path)))
    if origin is not None and issubclass(origin, Mapping):
        key, item = get_args(kind)
        if not isinstance(data, dict):
            raise CodecError(f"{path}: expected an object, found {type(data).__name__}")
        return {_decode(key, k, f"{path}.{k}"): _decode(item, v, f"{path}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, path)
    return _decode_scalar(kind, data, path)


def _decode_optional(kind: Any, data: Any, path: str) -> Any:
    choices = get_args(kind)
    if data is None and type(None) in choices:
        return None
    rest = [c for c in choices if c is not type(None)]
    for choice in rest[:-1]:
        try:
            return _decode(choice, data, path)
        except CodecError:
            continue
    return _decode(rest[-1], data, path)


def _decode_tuple(args: tuple[Any, ...], data: Any, path: str) -> tuple[Any, ...]:
    items = _list(data, path)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(args[0], v, f"{path}[{i}]") for i, v in enumerate(items))
    if len(items) != len(args):
        raise CodecError(f"{path}: expected {len(args)} items, found {len(items)}")
    return tuple(_decode(a, v, f"{path}[{i}]") for i, (a, v) in enumerate(zip(args, items, strict=True)))


def _decode_dataclass(kind: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise CodecError(f"{path}: expected an object, found {type(data).__name__}")
    hints = _hints(kind)
    if not data.keys() <= _names(kind):
        raise CodecError(f"{path}: unknown field {min(data.keys() - _names(kind))!r} for {kind.__name__}")
    try:
        return kind(
            **{k: v if v.__class__ is hints[k] else _decode(hints[k], v, f"{path}.{k}") for k, v in data.items()}
        )
    except TypeError as error:
        raise CodecError(f"{path}: {error}") from error


def _decode_scalar(kind: Any, data: Any, path: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise CodecError(f"{path}: {data!r} is no {kind.__name__}") from error
    if kind is datetime:
        return _decode_time(data, path)
    if kind is bytes:
        return base64.b64decode(data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(kind, type) or not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise CodecError(f"{path}: expected {getattr(kind, '__name__', kind)}, found {data!r}")
    return data


def _decode_time(data: Any, path: str) -> datetime:
    try:
        return datetime.fromisoformat(data)
    except (TypeError, ValueError) as error:
        raise CodecError(f"{path}: expected an ISO 8601 time, found {data!r}") from error


def _list(data: Any, path: str) -> list[Any]:
    if not isinstance(data, list):
        raise CodecError(f"{path}: expected a list, found {type(data).__name__}")
    return data
