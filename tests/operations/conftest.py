"""One world for all stories of a file: its event loop runs in the fixture's thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from operation_plays import Play, played


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Runs a story in the file's world."""
    yield from played(tmp_path_factory.mktemp("world"), ("m",))
