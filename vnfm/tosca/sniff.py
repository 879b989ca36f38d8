"""What kind of image a file is, told from its bytes while they pass by."""

from __future__ import annotations

import zlib

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_HEADERS = 20_000
_BLOCK = 512


class Sniffer:
    """Fed with a file from its beginning; `kind` is one of qcow2, oci-archive, docker-archive, tar, or empty."""

    def __init__(self) -> None:
        self._head = b""
        self._started = False
        self._tar: _TarScan | None = None
        self._inflate: zlib._Decompress | None = None
        self._unpacked = 0
        self._kind = ""

    @property
    def kind(self) -> str:
        """The kind as far as the bytes so far tell."""
        return self._tar.kind if self._tar is not None else self._kind

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        if not self._started:
            self._head += chunk
            if len(self._head) < _BLOCK and chunk:
                return
            chunk, self._head, self._started = self._head, b"", True
            self._start(chunk)
        if self._inflate is not None:
            self._feed_packed(chunk)
        elif self._tar is not None:
            self._tar.feed(chunk)

    def close(self) -> None:
        """No more bytes."""
        if not self._started:
            self.feed(b"")

    def _start(self, head: bytes) -> None:
        if head[:4] == b"QFI\xfb":
            self._kind = "qcow2"
        elif head[257:262] == b"ustar":
            self._tar = _TarScan()
        elif head[:3] == b"\x1f\x8b\x08":
            self._inflate = zlib.decompressobj(wbits=31)

    def _feed_packed(self, chunk: bytes) -> None:
        assert self._inflate is not None
        try:
            while chunk and self._unpacked < MAX_UNPACKED_BYTES and not self._inflate.eof:
                plain = self._inflate.decompress(chunk, 1024 * 1024)
                chunk = self._inflate.unconsumed_tail
                if self._tar is None and plain:
                    if plain[257:262] != b"ustar":
                        self._inflate = None
                        return
                    self._tar = _TarScan()
                self._unpacked += len(plain)
                if self._tar is not None:
                    self._tar.feed(plain)
                    if self._tar.done:
                        self._inflate = None
                        return
        except zlib.error:
            self._inflate = None


class _TarScan:
    """Walks a tar's headers without keeping its content."""

    def __init__(self) -> None:
        self.done = False
        self._names: set[str] = set()
        self._header = b""
        self._skip = 0
        self._count = 0

    @property
    def kind(self) -> str:
        if "oci-layout" in self._names:
            return "oci-archive"
        return "docker-archive" if "manifest.json" in self._names else "tar"

    def feed(self, chunk: bytes) -> None:
        at = 0
        while not self.done and at < len(chunk):
            if self._skip:
                step = min(self._skip, len(chunk) - at)
                self._skip -= step
                at += step
                continue
            need = _BLOCK - len(self._header)
            self._header += chunk[at : at + need]
            at += need
            if len(self._header) == _BLOCK:
                self._take(self._header)
                self._header = b""

    def _take(self, header: bytes) -> None:
        self._count += 1
        if not header.strip(b"\0") or self._count > MAX_HEADERS:
            self.done = True
            return
        name = header[:100].split(b"\0", 1)[0].decode("utf-8", "replace").removeprefix("./")
        if "/" not in name:
            self._names.add(name)
        self.done = name == "oci-layout"
        try:
            size = _tar_number(header[124:136])
        except ValueError:
            self.done = True
            return
        self._skip = (size + _BLOCK - 1) // _BLOCK * _BLOCK


def _tar_number(raw: bytes) -> int:
    if raw[0] & 0x80:
        return int.from_bytes(raw[1:], "big")
    return int(raw.strip(b" \0") or b"0", 8)
