"""Plugins as small programs, so that a connection meets real processes."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vnfm.vim.connection import VimConnection, VimSettings


def program(folder: Path, body: str, name: str = "plugin") -> Path:
    """An executable Python program."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def connection(folder: Path, kind: str, **config: Any) -> VimConnection:
    """One that is not open yet."""
    return VimConnection(VimSettings("v", kind, config), folder / "vim", "manager-1")


async def until(check: Callable[[], bool], within_s: float = 30) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(within_s):
        while True:
            if check():
                return
            await asyncio.sleep(0.01)
