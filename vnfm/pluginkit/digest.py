"""The digest of what was asked for: equal specs have equal digests, whoever asks and however often."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from vnfm.pb.common.v1.common_pb2 import Handle, Owner

_STRIPPED = frozenset({Owner.DESCRIPTOR.full_name, Handle.DESCRIPTOR.full_name})


def spec_digest(request: Message) -> str:
    """SHA-256, in hex, over the request's deterministic serialization.

    Left out: the owner's op_occ_id and fence, since a retry comes under another lease; of handles all but the
    resource_id, since a manager that crashed may know no more of them. The message's name is part of it, so that a
    link and a compute of one id differ. Stamp it on the native object: a later call is compared with it.
    """
    spec = type(request)()
    spec.CopyFrom(request)
    _strip(spec)
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\0" + spec.SerializeToString(deterministic=True)).hexdigest()


def _strip(message: Message) -> None:
    kind = type(message)
    if kind is Owner:
        message.ClearField("op_occ_id")
        message.ClearField("fence")
    elif kind is Handle:
        resource_id = message.resource_id  # type: ignore[attr-defined]
        message.Clear()
        message.resource_id = resource_id  # type: ignore[attr-defined]
    elif wanted := _holding(message.DESCRIPTOR):
        for field, value in message.ListFields():
            if field.number in wanted:
                for part in _messages(value):
                    _strip(part)


@cache
def _holding(kind: Descriptor) -> frozenset[int]:
    """Numbers of the fields in which an owner or a handle may stand."""
    return frozenset(f.number for f in kind.fields if f.message_type and _reaches(f.message_type, frozenset()))


def _reaches(kind: Descriptor, above: frozenset[str]) -> bool:
    if kind.full_name in _STRIPPED:
        return True
    parts = (f.message_type for f in kind.fields if f.message_type and f.message_type.full_name not in above)
    return any(_reaches(part, above | {kind.full_name}) for part in parts)


def _messages(value: object) -> Iterable[Message]:
    if isinstance(value, Message):
        return (value,)
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, Iterable):
        parts = value
    return [part for part in parts if isinstance(part, Message)]
