"""Builds images into a cache and lays out packages with them, ready to be packed."""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from descriptors.images.host import BuildError, Host
from descriptors.images.recipes import RECIPES, Recipe

SOURCES = Path(__file__).parents[1] / "packages"


@dataclass(frozen=True, slots=True)
class Image:
    """A built image in the cache."""

    path: Path
    sha256: str
    size_bytes: int
    cached: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Built:
    """A package's folder, complete with its image."""

    name: str
    folder: Path
    image: Image


def build(names: Sequence[str], cache: Path, out: Path, host: Host, say: Callable[[str], None]) -> list[Built]:
    """Build the named packages' folders below `out`; `say` is told what takes time.

    Raises BuildError for an unknown name and for what the host lacks, before anything is built.
    """
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        raise BuildError(f"no recipe for {', '.join(unknown)}. Expected all or some of {', '.join(RECIPES)}")
    missing = host.missing([tool for name in names for tool in RECIPES[name].tools])
    if missing:
        raise BuildError(f"this host lacks Debian packages. Install them: apt-get install -y {' '.join(missing)}")
    cache.mkdir(parents=True, exist_ok=True)
    return [Built(name, out / name, lay_out(name, make(RECIPES[name], cache, host, say), out / name)) for name in names]


def make(recipe: Recipe, cache: Path, host: Host, say: Callable[[str], None]) -> Image:
    """The image, out of the cache where its inputs are unchanged."""
    started = time.monotonic()
    folder = cache / f"{recipe.name}-{recipe.key(host)[:32]}"
    image, digest = folder / recipe.file, folder / "sha256"
    cached = image.exists() and digest.exists()
    if not cached:
        say(f"building {recipe.file}")
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as work:
            data = recipe.make(host, Path(work))
            new = Path(work, "image")
            new.mkdir()
            (new / recipe.file).write_bytes(data)
            (new / "sha256").write_text(hashlib.sha256(data).hexdigest())
            _publish(new, folder)
        _forget_others(recipe, cache, folder)
    seconds = time.monotonic() - started
    return Image(image, digest.read_text(), image.stat().st_size, cached, seconds)


def _publish(new: Path, folder: Path) -> None:
    """Rename into place: a build beside this one, or an interrupted one, never shows half an image."""
    try:
        new.rename(folder)
    except OSError:
        if not (folder / "sha256").exists():
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)


def _forget_others(recipe: Recipe, cache: Path, keep: Path) -> None:
    for old in cache.glob(f"{recipe.name}-*"):
        if old != keep:
            shutil.rmtree(old, ignore_errors=True)


def lay_out(name: str, image: Image, folder: Path) -> Image:
    """Make `folder` the package's source with its image in it; nothing else stays there.

    The VNFD's $IMAGE_SHA256 and $IMAGE_BYTES are filled in: SOL001 wants both said of a software image.
    """
    source = SOURCES / name
    values = {"IMAGE_SHA256": image.sha256, "IMAGE_BYTES": str(image.size_bytes)}
    wanted: set[Path] = set()
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        target = folder / path.relative_to(source)
        data = path.read_bytes()
        if path.suffix == ".yaml":
            data = string.Template(data.decode()).substitute(values).encode()
        if not target.is_file() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        wanted.add(target)
    target = folder / "Files/images" / image.path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (target.exists() and target.samefile(image.path)):
        target.unlink(missing_ok=True)
        try:
            os.link(image.path, target)
        except OSError:  # another file system
            shutil.copy2(image.path, target)
    wanted.add(target)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and path not in wanted:
            path.unlink()
    return image
