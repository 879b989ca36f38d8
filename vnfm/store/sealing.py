"""Secrets at rest: sealed with AES-256-GCM under a key that does not lie beside them.

The key is a file outside the state folder, or follows from a passphrase (scrypt). What is sealed is bound to what it is
for, so that it cannot be moved to another row, and names its key, so that a wrong one is told from damage.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vnfm.model.problem import ProblemError, problem

_HEAD = "vnfm-key-1 "
_KEY_BYTES, _NONCE_BYTES, _SALT_BYTES = 32, 12, 16
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20}
_PASSPHRASE_CHARS = 8
_FILE, _PASSPHRASE = "key", "passphrase"


@dataclass(frozen=True, slots=True)
class Seal:
    """What seals and opens: a key's bytes, or a passphrase. Neither is ever shown."""

    kind: str
    material: bytes = field(repr=False)

    @classmethod
    def of_file(cls, path: Path, state_dir: Path) -> Seal:
        """As `new_key_file` wrote it. Raises ProblemError `bad-key-file`."""
        where = path.resolve()
        if where.is_relative_to(state_dir.resolve()):
            raise _bad(path, f"lies in the state folder {state_dir}: a key beside what it opens protects nothing")
        try:
            with where.open("rb") as file:
                status, text = os.fstat(file.fileno()), file.read(200)
        except OSError as error:
            raise _bad(path, f"cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise _bad(path, f"others may read it: chmod 600 {path}")
        return cls(_FILE, _key_in(path, text))

    @classmethod
    def of_passphrase(cls, text: str) -> Seal:
        """Raises ProblemError `bad-key-file` for one that is too short."""
        if len(text) < _PASSPHRASE_CHARS:
            raise problem("bad-key-file", f"the passphrase: expected at least {_PASSPHRASE_CHARS} characters")
        return cls(_PASSPHRASE, text.encode())

    def seal(self, content: bytes, purpose: str) -> dict[str, Any]:
        """A JSON value that holds it, sealed."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt = os.urandom(_SALT_BYTES) if self.kind == _PASSPHRASE else b""
        key, nonce = self._key(salt), os.urandom(_NONCE_BYTES)
        data = AESGCM(key).encrypt(nonce, content, purpose.encode())
        told = {"form": 1, "by": self.kind, "key": _name_of(key)}
        return told | {name: _text(value) for name, value in (("salt", salt), ("nonce", nonce), ("data", data))}

    def open(self, sealed: dict[str, Any], purpose: str) -> bytes:
        """What was sealed for that purpose. Raises ProblemError `secrets-locked` where another key is wanted,
        `secrets-damaged` where this is the key and what is sealed was changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if sealed.get("by") != self.kind:
            raise locked(sealed, purpose, f"was given a {_word(self.kind)}")
        try:
            key = self._key(_bytes(sealed["salt"]))
            if sealed["key"] != _name_of(key):
                which = "another passphrase" if self.kind == _PASSPHRASE else f"key {_name_of(key)}"
                raise locked(sealed, purpose, f"was given {which}")
            return AESGCM(key).decrypt(_bytes(sealed["nonce"]), _bytes(sealed["data"]), purpose.encode())
        except (InvalidTag, KeyError, TypeError, ValueError) as error:
            raise problem(
                "secrets-damaged",
                f"the secrets of {purpose} were changed since they were sealed: restore the database from a backup, or "
                "give the configuration again",
                title="Secrets damaged",
            ) from error

    def _key(self, salt: bytes) -> bytes:
        return (
            self.material
            if self.kind == _FILE
            else hashlib.scrypt(self.material, salt=salt, dklen=_KEY_BYTES, **_SCRYPT)
        )


def locked(sealed: dict[str, Any], purpose: str, given: str = "was given no key") -> ProblemError:
    """ProblemError `secrets-locked`: what would open it, and what there is instead."""
    with_key = f"key {sealed.get('key')}" if sealed.get("by") == _FILE else "a passphrase"
    option = "--key-file FILE" if sealed.get("by") == _FILE else "--passphrase"
    return problem(
        "secrets-locked",
        f"the secrets of {purpose} are sealed with {with_key}, and the manager {given}: start it with the right "
        f"{option}; nothing is lost",
        title="Secrets are locked",
    )


def new_key_file(path: Path) -> str:
    """Write a fresh key that only its owner may read; returns its name. Raises ProblemError `bad-key-file`, also where
    there is a file already."""
    key = os.urandom(_KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise _bad(path, "is there already, and may be what your secrets are sealed with") from error
    except OSError as error:
        raise _bad(path, f"cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "w") as file:
        file.write(f"{_HEAD}{_text(key)}\n")
        file.flush()
        os.fsync(file.fileno())
    return _name_of(key)


def opened_json(seal: Seal | None, sealed: dict[str, Any], purpose: str) -> Any:
    """The JSON value that was sealed. Raises ProblemError like `Seal.open`."""
    if seal is None:
        raise locked(sealed, purpose)
    return json.loads(seal.open(sealed, purpose))


def sealed_json(seal: Seal, value: Any, purpose: str) -> dict[str, Any]:
    """A JSON value, sealed."""
    return seal.seal(json.dumps(value).encode(), purpose)


def _key_in(path: Path, text: bytes) -> bytes:
    words = text.decode(errors="replace").strip()
    try:
        key = _bytes(words.removeprefix(_HEAD)) if words.startswith(_HEAD) else b""
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise _bad(path, "holds no key of ours: make one with `vnfm key new FILE`")
    return key


def _name_of(key: bytes) -> str:
    return hashlib.sha256(b"name of a vnfm key" + key).hexdigest()[:8]


def _word(kind: str) -> str:
    return "key file" if kind == _FILE else kind


def _bad(path: Path, why: str) -> ProblemError:
    return problem("bad-key-file", f"key file {path}: {why}")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
