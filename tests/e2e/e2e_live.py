"""Changes of a chain that carries traffic: how they are ordered, and what must hold of the chain afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from e2e_host import command_line, describe, parent, wait_until
from e2e_manager import OPEN, Manager
from e2e_packages import Packages

SETTLED = ("COMPLETED", "FAILED_TEMP", "FAILED", "ROLLED_BACK")

# packages made of the monitor's, each with a VNFD of its own
MICRO_MON = "5d0b6a7e-2c41-4f6a-9b3d-8e1f7a2cf001"  # it wants a kernel of its own: a microVM
OTHER_MON = "5d0b6a7e-2c41-4f6a-9b3d-8e1f7a2cf002"  # another product that does the same
SHORT_LIVED = "5d0b6a7e-2c41-4f6a-9b3d-8e1f7a2cf003"  # after a certain time no instance of it stays alive
MON_ID = "5d0b6a7e-2c41-4f6a-9b3d-8e1f7a2c4d04"


def variant(packages: Packages, folder: Path, vnfd_id: str, product: str, *edits: tuple[str, str]) -> Path:
    """A monitor with an id and a product name of its own, and other edits of its descriptor."""
    place = folder / product
    place.mkdir()
    own = ((MON_ID, vnfd_id), ("product_name: { type: string, default: mon }", product_name(product)))
    return packages.changed("mon", place, *own, *edits)


def product_name(product: str) -> str:
    """The property as it stands in a descriptor."""
    return f"product_name: {{ type: string, default: {product} }}"


def create(manager: Manager, file: Path, runtimes: Mapping[str, str]) -> dict[str, Any]:
    """The chain of that file, realized as the story needs it."""
    assert manager.ask("chain", "create", str(file))["state"] == "COMPLETED"
    chain = show(manager, file.stem)
    assert {v["alias"]: v["runtime"] for v in chain["vnfs"]} == runtimes
    return chain


def show(manager: Manager, name: str) -> dict[str, Any]:
    """`chain show`."""
    found: dict[str, Any] = manager.ask("chain", "show", name)
    return found


def order(chain: dict[str, Any], path: str = "default") -> list[str]:
    """The hops of a path by name."""
    return [str(h) for h in next(p["hops"] for p in chain["paths"] if p["name"] == path)]


def traced(manager: Manager, name: str, path: str = "default") -> list[str]:
    """The way that a packet really took there, by name; it was seen on its way back in the opposite order."""
    trace = manager.ask("chain", "trace", name, "--path", path)
    hops = next(p["hops"] for p in trace["paths"] if p["path"] == path)
    ways = {
        direction: list(dict.fromkeys(h["name"] for h in hops if h["direction"] == direction))
        for direction in ("forward", "return")
    }
    assert ways["forward"] == ways["return"][::-1], trace
    return ways["forward"]


def vnfcs(chain: dict[str, Any], alias: str) -> list[dict[str, Any]]:
    """What realizes one of the chain's VNFs."""
    found: list[dict[str, Any]] = next(v["vnfcs"] for v in chain["vnfs"] if v["alias"] == alias)
    return found


def status(manager: Manager, vnf: str, *words: str, vnfc: str = "") -> Any:
    """What a monitor counted: its sums, or with the word `flows` a list."""
    chosen = ("--vnfc", vnfc) if vnfc else ()
    done = manager.run("vnf", "exec", vnf, *chosen, "--", "status", *words)
    assert done.code == 0, done
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines if words else lines[0]


def counter(manager: Manager, vnf: str, name: str) -> int:
    """Packets of a named counter of nftables inside a VNF."""
    done = manager.run("vnf", "exec", vnf, "--", "nft", "-j", "list", "counters")
    assert done.code == 0, done
    entries = [e["counter"] for e in json.loads(done.stdout)["nftables"] if "counter" in e]
    return int(next(c["packets"] for c in entries if c["name"] == name))


def heals(manager: Manager) -> list[dict[str, Any]]:
    """The HEAL operations so far, the latest first."""
    ops: list[dict[str, Any]] = manager.ask("op", "list")
    return [op for op in ops if op["operation"] == "HEAL" and not op.get("parent_id")]


def await_heal(manager: Manager, known: int, timeout_s: float = 90) -> dict[str, Any]:
    """The next HEAL after `known` ones, which nobody ordered, once it is COMPLETED."""
    assert wait_until(lambda: len(heals(manager)) > known, timeout_s, every_s=0.2), (
        f"no HEAL was begun: {manager.words()}"
    )
    return dict(manager.completed(heals(manager)[0]["id"], timeout_s))


def quiet(manager: Manager) -> bool:
    """No operation is open."""
    return not [op for op in manager.ask("op", "list") if op["state"] in OPEN]


def assert_stands(manager: Manager, chain: dict[str, Any]) -> None:
    """Exactly the chain's VNFCs exist, each once, and no process besides."""
    witness = manager.witness
    runtimes = {c["id"]: c["runtime"] for v in chain["vnfs"] for c in v["vnfcs"]}
    wait_until(lambda: witness.computes_stamped() == set(runtimes) == witness.computes_in_cgroups(), 10)
    assert witness.computes_stamped() == set(runtimes)
    assert witness.computes_in_cgroups() == set(runtimes)
    known: set[int] = set()
    for resource_id, runtime in runtimes.items():
        pids = witness.inhabitants(resource_id)
        known.update(pids)
        roots = [pid for pid in pids if parent(pid) not in pids]
        told = "\n".join(map(describe, pids))
        assert len(roots) == 1, f"{runtime} {resource_id} has {len(roots)} first processes:\n{told}"
        assert len(machines(pids)) == (0 if runtime == "CONTAINER" else 1), f"{runtime} {resource_id}:\n{told}"
    strange: set[int] = set()

    def only_known() -> bool:
        nonlocal strange
        strange = {pid for pid in witness.processes() - known - manager.own_pids() if not _is_program(pid)}
        return not strange

    assert wait_until(only_known, 10), "processes of no compute:\n" + "\n".join(map(describe, sorted(strange)))


def machines(pids: list[int]) -> list[int]:
    """Those that are qemu."""
    return [pid for pid in pids if "qemu-system" in "".join(command_line(pid)[:1])]


def _is_program(pid: int) -> bool:
    """A story's own traffic."""
    words = command_line(pid)
    return "-I" in words and "-c" in words


def undisturbed(manager: Manager, chain: dict[str, Any], what: Callable[[], object]) -> None:
    """What runs before and after `what` is the same."""
    ids = [c["id"] for v in chain["vnfs"] for c in v["vnfcs"]]
    before = {i: manager.witness.inhabitants(i) for i in ids}
    what()
    assert {i: manager.witness.inhabitants(i) for i in ids} == before
