"""Stories that are played in a world of operations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from operation_world import World, world

Play = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


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
