"""Reads the archive formats that carry a root file system: OCI image layout, `docker save`, plain root tar.

Every blob is checked against the digest that names it. Nothing is trusted: sizes, counts and depths are bounded.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from plugins.local.images.errors import ImageRefused
from plugins.local.images.tree import Bounds, Readable, Tree, clean_name

_DOCUMENT_BYTES = 4 << 20
_INDEX_DEPTH = 4
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"))


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about how it is run (OCI image-spec, config)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""

    @staticmethod
    def of_fields(fields: Mapping[str, Any]) -> ImageConfig:
        """From what `asdict` gave, by way of JSON."""
        return ImageConfig(
            tuple(fields["entrypoint"]),
            tuple(fields["cmd"]),
            tuple(fields["env"]),
            str(fields["working_dir"]),
            str(fields["user"]),
        )

    @staticmethod
    def of(document: Mapping[str, Any]) -> ImageConfig:
        """From the image's configuration document; types are checked, for it is the image's word."""
        config = document.get("config") or {}
        if not isinstance(config, dict):
            raise ImageRefused("the image's configuration is not a mapping")
        user, folder = config.get("User") or "", config.get("WorkingDir") or "/"
        if not isinstance(user, str) or not isinstance(folder, str):
            raise ImageRefused("the image's User or WorkingDir is not a text")
        return ImageConfig(
            _texts(config, "Entrypoint"), _texts(config, "Cmd"), _texts(config, "Env"), folder or "/", user
        )


def _texts(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise ImageRefused(f"the image's {key} is not a list of texts")
    return tuple(value)


def unpack(archive: IO[bytes], image_format: str, architecture: str, tree: Tree) -> ImageConfig:
    """Applies the archive's layers to `tree`; returns how the image wants to be run."""
    if image_format == "rootfs-tar":
        tree.apply(_plain(archive))
        return ImageConfig()
    outer = _Outer(archive, tree.bounds)
    if image_format == "oci-archive":
        return _unpack_oci(outer, architecture, tree)
    if image_format == "docker-archive":
        return _unpack_docker(outer, tree)
    raise ImageRefused(f"format {image_format!r} carries no root file system")


class _Outer:
    """The outer tar, read by random access; its members are looked up by clean name."""

    def __init__(self, archive: IO[bytes], bounds: Bounds) -> None:
        try:
            self._tar = tarfile.open(fileobj=archive, mode="r:")  # noqa: SIM115 - lives as long as the unpacking child
            self._members: dict[str, tarfile.TarInfo] = {}
            for member in self._tar:
                if len(self._members) >= bounds.outer_members:
                    raise ImageRefused(f"the archive has more than {bounds.outer_members} members", "image-too-large")
                self._members[clean_name(member.name)] = member
        except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
            raise ImageRefused(f"not a readable tar archive: {error}") from error

    def open(self, name: str) -> IO[bytes]:
        """The member's bytes; `docker save` links equal layers to each other, one link is followed."""
        member = self._members.get(clean_name(name))
        if member is not None and (member.issym() or member.islnk()):
            folder = name.rpartition("/")[0]
            target = member.linkname if member.islnk() else _join(folder, member.linkname)
            member = self._members.get(clean_name(target))
        if member is None or not member.isreg():
            raise ImageRefused(f"the archive has no file {name!r}")
        stream = self._tar.extractfile(member)
        if stream is None:
            raise ImageRefused(f"the archive has no file {name!r}")
        return stream

    def document(self, name: str, digest: str = "") -> Any:
        """A JSON document of bounded size, checked against its digest where one names it."""
        with self.open(name) as stream:
            content = stream.read(_DOCUMENT_BYTES + 1)
        if len(content) > _DOCUMENT_BYTES:
            raise ImageRefused(f"{name!r} is larger than {_DOCUMENT_BYTES} bytes", "image-too-large")
        if digest and "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            raise ImageRefused(f"{name!r} does not match its digest {digest}", "digest-mismatch")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ImageRefused(f"{name!r} is not JSON: {error}") from error


def _join(folder: str, target: str) -> str:
    parts: list[str] = folder.split("/") if folder else []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                raise ImageRefused(f"a link in the archive leads outside: {target!r}")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _blob_name(descriptor: Any) -> tuple[str, str]:
    digest = descriptor.get("digest", "") if isinstance(descriptor, dict) else ""
    kind, _, value = digest.partition(":") if isinstance(digest, str) else ("", "", "")
    if kind != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ImageRefused(f"a blob is named by {digest!r}; expected sha256:<64 hex digits>")
    return f"blobs/sha256/{value}", digest


def _unpack_oci(outer: _Outer, architecture: str, tree: Tree) -> ImageConfig:
    manifest = _manifest(outer, outer.document("index.json"), architecture, _INDEX_DEPTH)
    name, digest = _blob_name(manifest.get("config"))
    config = ImageConfig.of(_mapping(outer.document(name, digest), name))
    for layer in _list(manifest, "layers"):
        blob, blob_digest = _blob_name(layer)
        with outer.open(blob) as stream:
            checked = _Hashing(stream)
            tree.apply(_plain(checked))
            checked.expect(blob_digest)
    return config


def _manifest(outer: _Outer, index: Any, architecture: str, depth: int) -> Mapping[str, Any]:
    """Follows nested indexes to the manifest of our architecture."""
    entries = _list(_mapping(index, "index.json"), "manifests")
    fitting = [entry for entry in entries if _fits(entry, architecture)]
    if not fitting or depth == 0:
        raise ImageRefused(f"the image has no manifest for linux/{architecture}")
    name, digest = _blob_name(fitting[0])
    document = _mapping(outer.document(name, digest), name)
    return _manifest(outer, document, architecture, depth - 1) if "manifests" in document else document


def _fits(entry: Any, architecture: str) -> bool:
    platform = entry.get("platform") if isinstance(entry, dict) else None
    if not isinstance(platform, dict):
        return True
    return bool(platform.get("os", "linux") == "linux" and platform.get("architecture", architecture) == architecture)


def _unpack_docker(outer: _Outer, tree: Tree) -> ImageConfig:
    images = outer.document("manifest.json")
    if not isinstance(images, list) or len(images) != 1:
        raise ImageRefused("manifest.json must list exactly one image")
    manifest = _mapping(images[0], "manifest.json")
    document = _mapping(outer.document(str(manifest.get("Config", ""))), "Config")
    config = ImageConfig.of(document)
    layers, rootfs = _list(manifest, "Layers"), _mapping(document.get("rootfs") or {}, "rootfs")
    digests = rootfs.get("diff_ids") or []
    if not isinstance(digests, list) or len(digests) != len(layers):
        raise ImageRefused("the image's configuration does not name one digest a layer (rootfs.diff_ids)")
    for name, digest in zip(layers, digests, strict=True):
        with outer.open(str(name)) as stream:
            checked = _Hashing(_plain(stream))
            tree.apply(checked)
            checked.expect(str(digest))
    return config


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ImageRefused(f"{name} is not a mapping")
    return value


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise ImageRefused(f"{key} is not a list")
    return found


class _Hashing:
    """Passes a stream on and remembers its SHA-256."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner
        self._hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        block = self._inner.read(size)
        self._hash.update(block)
        return block

    def expect(self, digest: str) -> None:
        """Reads to the end and compares."""
        while self.read(1 << 20):
            pass
        if "sha256:" + self._hash.hexdigest() != digest:
            raise ImageRefused(f"a layer does not match its digest {digest}", "digest-mismatch")


def _plain(stream: Readable) -> Readable:
    """The decompressed stream, the compression told by its first bytes."""
    buffered = _Peeked(stream)
    kind = next((name for magic, name in _MAGIC if buffered.head.startswith(magic)), "")
    if kind == "gzip":
        return _Guarded(gzip.GzipFile(fileobj=cast(IO[bytes], buffered)))
    if kind == "xz":
        return _Guarded(lzma.LZMAFile(cast(IO[bytes], buffered)))
    if kind == "bzip2":
        return _Guarded(bz2.BZ2File(cast(IO[bytes], buffered)))
    if kind == "zstd":
        raise ImageRefused("zstd compressed layers are not supported; save the image with gzip or uncompressed layers")
    return buffered


class _Peeked:
    """A forward-only stream whose first bytes can be looked at."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner
        self.head = inner.read(8)
        self._rest = self.head

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest:
            return self._inner.read(size)
        if size is None or size < 0:
            block, self._rest = self._rest + self._inner.read(), b""
            return block
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


class _Guarded:
    """Turns a decompressor's own errors into a refusal."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._inner.read(size)
        except (zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError) as error:
            raise ImageRefused(f"a compressed layer is damaged: {error}") from error
