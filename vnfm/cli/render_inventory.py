"""Inventories for people: a host a row, or what many hosts are together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vnfm.cli.render import grid, size

if TYPE_CHECKING:
    from rich.console import RenderableType


def inventory(data: dict[str, Any]) -> RenderableType:
    """`vim inventory`: a host a row, what was measured beneath."""
    rows = []
    for host in data.get("hosts", []):
        memory = host.get("memory_bytes") or {}
        rows.append(
            (
                host.get("id", ""),
                host.get("parent") or "-",
                ", ".join(host.get("runtimes") or []),
                _cpu(host.get("cpu") or {}),
                f"{size(memory.get('free'))} of {size(memory.get('total'))}",
                "\n".join(_more(host)) or "-",
                "\n".join(_measured(host.get("measured") or {})),
            )
        )
    title = f"{data.get('vim', '')} (inventory version {data.get('version', '-')})"
    return grid(title, ["Host", "Parent", "Runtimes", "CPU free", "Memory free", "Besides", "Measured"], rows)


def summary(data: dict[str, Any]) -> RenderableType:
    """What the hosts are together, and by site."""
    from rich.console import Group

    found = data["summary"]
    facts = [
        (
            "Hosts",
            f"{found['hosts']}: {found['servers']} servers ({found['active']} active), {found['workers']} worker VMs",
        ),
        ("Places", f"{len(found['sites'])} sites, {found['zones']} zones, {found['racks']} racks"),
        ("Network", f"{found['switches']} switches, {found['links']} links"),
        ("Runtimes", ", ".join(f"{name} on {count}" for name, count in found["runtimes"].items()) or "-"),
        ("CPU free", _cpu(found["cpu"])),
        *((title, f"{size(found[key]['free'])} of {size(found[key]['total'])}") for title, key in _SIZES),
        *((title, f"{found[key]['free']} of {found[key]['total']}") for title, key in _COUNTS),
        ("Dedicated", f"{found['dedicated']} hosts to one tenant each"),
    ]
    title = f"{data.get('vim', '')} (inventory version {data.get('version', '-')})"
    sites = [(s["site"] or "-", str(s["zones"]), str(s["servers"]), str(s["workers"])) for s in found["sites"]]
    return Group(grid(title, ["", ""], facts), grid("", ["Site", "Zones", "Servers", "Worker VMs"], sites))


_SIZES = (("Memory free", "memory_bytes"), ("Huge pages free", "hugepage_bytes"))
_COUNTS = (("SR-IOV VFs free", "vfs"), ("GPUs free", "gpus"))


def _cpu(cpu: dict[str, Any]) -> str:
    if "total_milli" not in cpu:
        return "-"
    return f"{cpu['free_milli'] / 1000:g} of {cpu['total_milli'] / 1000:g}"


def _more(host: dict[str, Any]) -> list[str]:
    lines = []
    for name, unit in (("vfs", "VFs"), ("gpus", "GPUs")):
        amount = host.get(name) or {}
        if amount.get("total"):
            lines.append(f"{amount['free']} of {amount['total']} {unit}")
    huge = host.get("hugepage_bytes") or {}
    if huge.get("total"):
        lines.append(f"{size(huge['free'])} of {size(huge['total'])} huge pages")
    for worker in host.get("workers") or []:
        state = "open" if worker.get("open") else "may be opened"
        lines.append(f"worker VM {worker.get('size')} ({_cpu(worker.get('cpu') or {})} CPU): {state}")
    if host.get("price_per_vcpu"):
        lines.append(f"{host['price_per_vcpu']:g} a vCPU")
    if host.get("rack"):
        lines.append(f"rack {host['rack']}")
    if host.get("only_tenant"):
        lines.append(f"for tenant {host['only_tenant']}")
    if host.get("active") is False:
        lines.append(f"switched off; {host['on_cost']:g} to switch on" if host.get("on_cost") else "switched off")
    return lines


def _measured(measured: dict[str, Any]) -> list[str]:
    lines = []
    for runtime, cost in measured.items():
        parts = []
        if cost.get("start_ms") is not None:
            parts.append(f"{cost['start_ms']} ms to start")
        if cost.get("memory_bytes") is not None:
            parts.append(size(cost["memory_bytes"]))
        if cost.get("hop_latency_us") is not None:
            parts.append(f"{cost['hop_latency_us']} us a hop")
        lines.append(f"{runtime}: {', '.join(parts)}")
    return lines
