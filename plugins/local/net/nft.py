"""nft(8) run inside a namespace; texts are built from checked tokens only (steering.py)."""

from __future__ import annotations

import json
import math
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
    """A netdev table by nft's JSON, without the flows in its sets; None where there is none."""
    done = _run(namespace, ["-j", "-t", "list", "table", "netdev", table])
    if done.returncode:
        if "No such file or directory" in done.stderr:
            return None
        raise HostRefusedError(f"nft in {namespace}: {done.stderr.strip()[:600]}")
    listing: dict[str, Any] = json.loads(done.stdout)
    return listing


def idle_seconds(namespace: str, table: str, name: str) -> float:
    """For how long no flow in a set was seen; endless where there is none in it, or no such set."""
    done = _run(namespace, ["-j", "list", "set", "netdev", table, name])
    if done.returncode:
        return math.inf
    listed = [entry["set"] for entry in json.loads(done.stdout)["nftables"] if "set" in entry]
    elements = [
        one["elem"] for found in listed for one in found.get("elem", ()) if isinstance(one, dict) and "elem" in one
    ]
    default = float(listed[0].get("timeout", 0)) if listed else 0.0
    return min(
        (float(one.get("timeout", default)) - float(one.get("expires", 0)) for one in elements), default=math.inf
    )
