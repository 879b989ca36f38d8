"""nft(8) run inside a namespace; texts are built from checked tokens only (steering.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

from plugins.local.net import netns
from plugins.local.net.errors import HostRefusedError

_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_TIMEOUT_SECONDS = 30


def _run(namespace: str, arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which("nft", path=_SEARCH)
    if program is None:
        raise HostRefusedError("nft is not installed: apt-get install nftables")

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env={"PATH": _SEARCH, "LC_ALL": "C"},
        )

    try:
        return netns.inside(namespace, call)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostRefusedError(f"nft in {namespace}: {error}") from error


def apply(namespace: str, text: str) -> None:
    """Commit a transaction; HostRefusedError with nft's words where it is refused, nothing of it being done then."""
    done = _run(namespace, ["-f", "-"], text)
    if done.returncode:
        raise HostRefusedError(f"nft in {namespace}: {done.stderr.strip()[:600]}")


def list_table(namespace: str, table: str) -> dict[str, Any] | None:
    """A netdev table by nft's JSON; None where there is none."""
    done = _run(namespace, ["-j", "list", "table", "netdev", table])
    if done.returncode:
        if "No such file or directory" in done.stderr:
            return None
        raise HostRefusedError(f"nft in {namespace}: {done.stderr.strip()[:600]}")
    listing: dict[str, Any] = json.loads(done.stdout)
    return listing
