"""What must hold of a chain that stands, asked of the manager and of the host."""

from __future__ import annotations

from typing import Any

from e2e_host import command_line, describe, interfaces, parent
from e2e_manager import Manager

from plugins.local.net import naming

CHAIN_ORDER = ("client", "fw", "rt", "gw", "server")


def vnf(chain: dict[str, Any], alias: str) -> dict[str, Any]:
    """One of the chain's VNFs."""
    found: dict[str, Any] = next(v for v in chain["vnfs"] if v["alias"] == alias)
    return found


def end_address(chain: dict[str, Any], name: str) -> str:
    """The IPv4 address of one of the chain's ends."""
    return str(next(e["address"] for e in chain["ends"] if e["name"] == name)).partition("/")[0]


def assert_probe_counted(chain: dict[str, Any]) -> None:
    """Every hop counted every packet that was sent into it."""
    hops = chain["probe"]["hops"]
    assert len(hops) == len(chain["vnfs"]) + 1
    assert all(h["sent"] == h["received"] > 0 for h in hops), hops


def assert_each_exists_once(manager: Manager, chain: dict[str, Any]) -> None:
    """Exactly one object per resource id of this, the manager's only chain, and none besides."""
    witness = manager.witness
    runtimes = {c["id"]: c["runtime"] for v in chain["vnfs"] for c in v["vnfcs"]}
    ends = {e["resource_id"] for e in chain["ends"]}
    assert len(runtimes) == len(chain["vnfs"])
    assert witness.computes_stamped() == set(runtimes)
    assert witness.computes_in_cgroups() == set(runtimes)
    _assert_namespaces(manager, runtimes, ends)
    known: set[int] = set()
    for resource_id, runtime in runtimes.items():
        pids = witness.inhabitants(resource_id)
        known.update(pids)
        roots = [pid for pid in pids if parent(pid) not in pids]
        machines = [pid for pid in pids if "qemu-system" in "".join(command_line(pid)[:1])]
        told = "\n".join(map(describe, pids))
        assert len(machines) == (0 if runtime == "CONTAINER" else 1), f"{runtime} {resource_id}:\n{told}"
        assert len(roots) == 1, f"{runtime} {resource_id} has {len(roots)} first processes:\n{told}"
    strange = witness.processes() - known - manager.own_pids()
    assert not strange, "processes of no compute:\n" + "\n".join(map(describe, sorted(strange)))


def _assert_namespaces(manager: Manager, runtimes: dict[str, str], ends: set[str]) -> None:
    there = manager.witness.namespaces()
    must = {naming.namespace_name(i) for i in ends | {i for i, r in runtimes.items() if r != "VM"}}
    may = must | {naming.namespace_name(i) for i in runtimes} | {n for n in there if n.startswith("vnfm-f-")}
    assert must <= there <= may, f"missing {must - there}, strange {there - may}"
    for end in ends:
        assert len(interfaces(naming.namespace_name(end))) == 1
    for resource_id in (i for i, r in runtimes.items() if r == "CONTAINER"):
        assert len(interfaces(naming.namespace_name(resource_id))) == 2
