"""The files of a package that was read before: listed, and handed out as streams (SOL003 10.4.5, 10.4.6)."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from vnfm.model.problem import problem
from vnfm.tosca.archive import CHUNK, DAMAGE, UnsafeArchive
from vnfm.tosca.container import open_package
from vnfm.tosca.limits import Limits
from vnfm.tosca.names import clean_source
from vnfm.tosca.notes import Notes


def artifact_sizes(package: Path) -> dict[str, int]:
    """Every file of the package with its size in bytes. Blocking. Raises ProblemError `data-loss`."""
    try:
        with open_package(package, Limits(), Notes()) as opened:
            return dict(opened.archive.sizes)
    except (UnsafeArchive, OSError) as error:
        raise _lost(package.name) from error


def read_artifact(package: Path, name: str) -> Generator[tuple[int, bytes], None, None]:
    """A file's size and its content in chunks, at least one; the whole package where `name` is empty. Blocking.

    Raises ProblemError: not-found for what is not in the package, data-loss where it cannot be read any more.
    """
    try:
        if not name:
            with package.open("rb") as source:
                total = package.stat().st_size
                yield total, b""
                while chunk := source.read(CHUNK):
                    yield total, chunk
            return
        with open_package(package, Limits(), Notes()) as opened:
            wanted = clean_source(name)
            if wanted not in opened.archive.sizes:
                raise problem("not-found", f"the package has no file {name}", instance=name)
            total = opened.archive.sizes[wanted]
            yield total, b""
            for chunk in opened.archive.stream(wanted):
                yield total, chunk
    except (UnsafeArchive, *DAMAGE) as error:
        raise _lost(name) from error


def _lost(name: str) -> Exception:
    return problem("data-loss", f"{name or 'the package'} can no longer be read", instance=name)
