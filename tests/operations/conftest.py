"""One world for all stories of a file: its event loop runs in the fixture's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from operation_world import World, world

Play = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Runs a story in the file's world."""
    yield from played(tmp_path_factory.mktemp("world"), ("m",))


def played(folder: Path, vims: Sequence[str]) -> Iterator[Play]:
    """Stories in a world with these VIMs."""
    loop = asyncio.new_event_loop()
    context = world(folder, vims)
    made = loop.run_until_complete(context.__aenter__())
    try:
        yield lambda story: loop.run_until_complete(story(made))
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()
