"""What files are called in real packages: what archivers make of a name, and which file a written name means."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable

YAML_SUFFIXES = (".yaml", ".yml")
_JUNK = (".ds_store", "thumbs.db", "desktop.ini")


def mended(name: str) -> str:
    """An archive's name with `/` between its parts and no `./` before them, in Unicode's composed form."""
    plain = unicodedata.normalize("NFC", name).replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:]
    return plain


def clean_source(source: str) -> str:
    """A name that stands in a manifest or in TOSCA.meta, as the archive has it: from the root, without quotes."""
    written = source.strip()
    quoted = len(written) > 1 and written[0] == written[-1] and written[0] in "\"'"
    plain = mended(written[1:-1] if quoted else written)
    while plain.startswith(("/", "./")):
        plain = plain[1:] if plain.startswith("/") else plain[2:]
    return plain


def is_junk(name: str) -> bool:
    """What desktops leave beside one's files; it is never meant."""
    folder, base = name.partition("/")[0], posixpath.basename(name)
    return folder == "__MACOSX" or base.startswith("._") or base.lower() in _JUNK


def is_yaml(name: str) -> bool:
    """By its suffix."""
    return name.lower().endswith(YAML_SUFFIXES)


def meant(names: Iterable[str], written: str) -> str:
    """The one file that a name with a slip in it can mean: another case, folder or YAML suffix; empty where there is
    none or more than one."""
    wanted = posixpath.normpath(clean_source(written))
    held = [n for n in names if not is_junk(n)]
    if wanted in held:
        return wanted
    lower = wanted.lower()
    base = posixpath.basename(lower)
    alike = (
        [n for n in held if n.lower() == lower],
        [n for n in held if is_yaml(n) and is_yaml(lower) and _stem(n) == _stem(lower)],
        [n for n in held if posixpath.basename(n).lower() == base],
    )
    return next((found[0] for found in alike if len(found) == 1), "")


def _stem(name: str) -> str:
    return posixpath.splitext(name.lower())[0]
