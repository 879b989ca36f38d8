"""Just enough of BER (ITU-T X.690) to take a CMS structure apart. Reads, never writes; bounded in depth and size.

`cryptography` signs PKCS #7 but has no call that verifies any SignedData, so its parts have to be found first.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_DEPTH = 24
_END = b"\0\0"

INTEGER, OCTETS, OID, SEQUENCE, SET = 0x02, 0x04, 0x06, 0x30, 0x31
CONSTRUCTED = 0x20


class BerError(Exception):
    """The bytes are no BER, or deeper than a signature is."""


@dataclass(frozen=True, slots=True)
class Node:
    """One element: its tag byte, all its bytes, and those of its content."""

    tag: int
    raw: bytes
    body: bytes

    def children(self) -> list[Node]:
        """The elements inside. Raises BerError."""
        if not self.tag & CONSTRUCTED:
            raise BerError("expected an element with others inside")
        return _sequence(self.body)

    def octets(self, depth: int = 0) -> bytes:
        """An octet string's bytes, which BER may have cut into pieces. Raises BerError."""
        if depth > MAX_DEPTH:
            raise BerError("too deep")
        if self.tag & CONSTRUCTED:
            return b"".join(c.octets(depth + 1) for c in self.children())
        return self.body

    def number(self) -> int:
        """An INTEGER. Raises BerError."""
        if self.tag != INTEGER or not self.body:
            raise BerError("expected a number")
        return int.from_bytes(self.body, "big", signed=True)

    def oid(self) -> str:
        """An OBJECT IDENTIFIER in dots. Raises BerError."""
        if self.tag != OID or not self.body or self.body[-1] & 0x80 or len(self.body) > 64:
            raise BerError("expected an object identifier")
        parts: list[int] = []
        value = 0
        for byte in self.body:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                parts.append(value)
                value = 0
        first = min(parts[0] // 40, 2)
        return ".".join(str(p) for p in (first, parts[0] - 40 * first, *parts[1:]))


def parse(data: bytes) -> Node:
    """The one element that `data` is. Raises BerError."""
    node, end = _element(data, 0, 0)
    if data[end:].strip(b"\0\r\n \t"):
        raise BerError("something follows the structure")
    return node


def _sequence(body: bytes) -> list[Node]:
    nodes, at = [], 0
    while at < len(body):
        node, at = _element(body, at, 0)
        nodes.append(node)
    return nodes


def _element(data: bytes, start: int, depth: int) -> tuple[Node, int]:
    if depth > MAX_DEPTH:
        raise BerError("too deep")
    if start + 2 > len(data):
        raise BerError("it ends too early")
    tag, length, at = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise BerError("a tag of more than one byte")
    if length == 0x80:
        return _open_ended(data, start, at, tag, depth)
    if length > 0x80:
        count = length & 0x7F
        if count > 4 or at + count > len(data):
            raise BerError("a length that cannot be")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > len(data):
        raise BerError("it ends too early")
    return Node(tag, data[start : at + length], data[at : at + length]), at + length


def _open_ended(data: bytes, start: int, at: int, tag: int, depth: int) -> tuple[Node, int]:
    """An element whose end is a mark: what tools write that stream."""
    if not tag & CONSTRUCTED:
        raise BerError("only what holds other elements may be open-ended")
    begin = at
    while data[at : at + 2] != _END:
        _, at = _element(data, at, depth + 1)
    return Node(tag, data[start : at + 2], data[begin:at]), at + 2
