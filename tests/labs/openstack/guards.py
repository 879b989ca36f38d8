"""Neutron's guards against false addresses: its Linux bridge agent has them in nftables, in a table of everybody's."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .console import LabError

TABLE = ("bridge", "nat")
AGENTS_CHAIN = re.compile(r"neutron(MAC|ARP)-tap[0-9a-f]{8}-[0-9a-f]{2}")
Item = Mapping[str, Any]


def remember(memory: Path) -> None:
    """Note, once, whether the table was there before the lab."""
    if not memory.exists():
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps({"was_there": _table() is not None}))


def remove(memory: Path) -> None:
    """The agent's chains go with the rules that lead to them; the table, too, where it came with the lab and nobody
    else has put anything into it."""
    if found := _table():
        _nft(*removals(found))
    came_with_us = memory.exists() and not json.loads(memory.read_text())["was_there"]
    if came_with_us and (found := _table()) is not None and not _contents(found):
        _nft(f"delete table {' '.join(TABLE)}")


def left() -> list[str]:
    """What still stands of the agent's, in a line each."""
    return [f"nftables chain {chain['name']}" for chain in _of("chain", _table() or []) if _is_agents(chain["name"])]


def removals(found: Sequence[Item]) -> list[str]:
    """nft's commands that take away what is the agent's of a table's items."""
    chains = [chain["name"] for chain in _of("chain", found) if _is_agents(chain["name"])]
    table = " ".join(TABLE)
    jumps = [
        f"delete rule {table} {rule['chain']} handle {rule['handle']}"
        for rule in _of("rule", found)
        if rule["chain"] not in chains and any(target in chains for target in _targets(rule))
    ]
    return [
        *jumps,
        *(f"flush chain {table} {name}" for name in chains),
        *(f"delete chain {table} {name}" for name in chains),
    ]


def _contents(found: Sequence[Item]) -> list[Item]:
    """Rules, sets and chains of people's: all but the empty chains that any of ebtables' commands makes."""
    bare = [chain for chain in _of("chain", found) if chain.get("hook") and chain.get("policy", "accept") == "accept"]
    return [item for item in found if not {"metainfo", "table"} & set(item) and item.get("chain") not in bare]


def _targets(rule: Item) -> Iterable[str]:
    for expression in rule["expr"]:
        for verdict in ("jump", "goto"):
            if verdict in expression:
                yield expression[verdict]["target"]


def _is_agents(name: str) -> bool:
    return AGENTS_CHAIN.fullmatch(name) is not None


def _of(kind: str, found: Sequence[Item]) -> list[Item]:
    return [item[kind] for item in found if kind in item]


def _table() -> list[Item] | None:
    """What is in it; None where there is none."""
    done = subprocess.run(["nft", "-j", "list", "table", *TABLE], capture_output=True, text=True, check=False)
    return list(json.loads(done.stdout)["nftables"]) if done.returncode == 0 else None


def _nft(*commands: str) -> None:
    if not commands:
        return
    done = subprocess.run(
        ["nft", "-f", "-"], input="\n".join(commands) + "\n", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"nft: {done.stderr.strip()}")
