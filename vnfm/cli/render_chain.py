"""Tables for chains: the plan with its reasons, the chain with its hops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vnfm.cli.render import IDENTITY, coloured, fields, grid, scalar, short_id, short_time
from vnfm.pb.nfvo.v1 import nfvo_pb2

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

REALIZED = {"CONTAINER": "container", "KATA": "microVM (KATA)", "VM": "virtual machine"}


def plan(data: dict[str, Any]) -> RenderableType:
    """`chain plan`: realization, host and why, a VNF a row; or why there is none."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    verdict = ("can be realized", "green") if data.get("feasible") else ("cannot be realized", "red")
    parts.append(Text.assemble(("Chain ", "bold"), (str(data.get("chain", "")), "bold"), " ", verdict))
    if data.get("vnfs"):
        rows = ((v.get("alias", ""), realization(v), host_path(v), reasons(v)) for v in data["vnfs"])
        columns: list[str | tuple[str, dict[str, Any]]] = [
            ("VNF", {"max_width": 14}),
            ("Realized as", {"max_width": 15}),
            ("Host", {"max_width": 24}),
            ("Why", {"ratio": 1}),
        ]
        table = grid("", columns, rows)
        table.expand, table.show_lines = True, True
        parts.append(table)
    parts += links(data.get("links") or [])
    if data.get("refused"):
        parts.append(refused(data["refused"]))
    elif data.get("feasible"):
        parts.append(Text("Nothing was created. Create it with: vnfm chain create FILE", style="dim"))
    return Group(*parts)


def realization(vnf: dict[str, Any]) -> Text:
    """CONTAINER, KATA or VM in its colour; nested containers say so."""
    text = coloured(vnf.get("runtime") or "-")
    if vnf.get("nested"):
        text.append("\nnested in a VM", style="dim")
    return text


def host_path(vnf: dict[str, Any]) -> str:
    """The hosts from the outermost in, after the VIM; then what it costs there, where it costs anything."""
    path = vnf.get("host_path") or ([vnf["host"]] if vnf.get("host") else [])
    lines = [str(vnf["vim"])] if vnf.get("vim") else []
    lines += [f"{'  ' * depth}└ {host}" for depth, host in enumerate(path)]
    price = vnf.get("price") or {}
    if price.get("cpus"):
        lines.append(f"costs {price['cpus']:g} ({price['per_vcpu']:g} a vCPU)")
    if price.get("switch_on"):
        lines.append(f"switched on for {price['switch_on']:g}")
    return "\n".join(lines) or "-"


def reasons(vnf: dict[str, Any]) -> Text:
    """Why this, then what was rejected (equal reasons on many hosts counted), then the next best."""
    from rich.text import Text

    text = Text("\n".join(f"• {reason}" for reason in vnf.get("reasons") or []))
    for (runtime, reason), hosts in grouped(vnf.get("rejected") or []).items():
        others = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
        text.append(f"\n✗ {runtime} on {hosts[0]}{others}: " if hosts[0] else f"\n✗ {runtime}: ", style="red")
        text.append(reason, style="dim")
    runner_up = vnf.get("runner_up")
    if runner_up:
        nested = "nested " if runner_up.get("nested") else ""
        because = f": {runner_up['because']}" if runner_up.get("because") else ""
        place = f"{runner_up.get('runtime', '')} on {runner_up.get('host', '')}"
        text.append(f"\nnext best: {nested}{place}{because}", style="dim")
    return text


def grouped(rejected: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Rejections by (runtime, reason), hosts in the order given."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in rejected:
        runtime = ("nested " if item.get("nested") else "") + str(item.get("runtime", ""))
        key = (runtime, str(item.get("reason", "")))
        groups.setdefault(key, []).append(str(item.get("host") or ""))
    return groups


def links(data: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """The links with what they promise; nothing where there are none."""
    if not data:
        return []
    rows = ((scalar(link.get("id")), micros(link.get("latency_us")), rate(link.get("bandwidth_bps"))) for link in data)
    right = {"justify": "right"}
    return [grid("Links", ["Link", ("Latency", right), ("Bandwidth", right)], rows)]


def refused(data: dict[str, Any]) -> RenderableType:
    """Why no placement exists, and the smallest change that would make one."""
    from rich.panel import Panel
    from rich.text import Text

    text = Text(scalar(data.get("detail")))
    if data.get("minimal_change"):
        text.append("\nSmallest change that would do: ", style="bold")
        text.append(scalar(data["minimal_change"]))
    title = Text(f"Refused: {scalar(data.get('proof'))}")
    return Panel(text, title=title, title_align="left", border_style="red")


def chains(messages: Sequence[nfvo_pb2.Chain], shapes_of: Sequence[dict[str, Any]]) -> RenderableType:
    """`chain list`."""
    rows = []
    for message, data in zip(messages, shapes_of, strict=True):
        kinds = Counter(str(v.get("runtime")) for v in data.get("vnfs") or [])
        realized = ", ".join(f"{n}× {k}" for k, n in kinds.items()) or "-"
        rows.append((message.name, short_id(message.id), coloured(message.state), realized))
    return grid("", ["Chain", IDENTITY, "State", "Realized as"], rows)


def chain(data: dict[str, Any]) -> RenderableType:
    """`chain show`: its VNFs with what realizes them, its links, and what the probe counted."""
    from rich.console import Group

    head = {key: data.get(key) for key in ("name", "id", "state")}
    parts: list[RenderableType] = [fields(head)]
    vnf_rows = []
    for vnf in data.get("vnfs") or []:
        for vnfc in vnf.get("vnfcs") or [{}]:
            vnf_rows.append(
                (
                    vnf.get("alias", ""),
                    coloured(str(vnfc.get("runtime") or vnf.get("runtime") or "-")),
                    state(vnf, vnfc),
                    str(vnfc.get("host") or vnf.get("host") or "-"),
                    scalar(vnfc.get("native_id")),
                    "\n".join(str(a) for a in vnfc.get("addresses") or []) or "-",
                )
            )
    parts.append(grid("VNFs", ["VNF", "Realized as", "State", "Host", "Native id", "Addresses"], vnf_rows))
    parts += links(data.get("links") or [])
    if data.get("last_heal"):
        from vnfm.cli.live_view import last_heal

        parts.append(last_heal(data["last_heal"]))
    probes = data.get("probes") or {"": data.get("probe") or {}}
    parts += [hops(probe, path if len(probes) > 1 else "") for path, probe in probes.items() if probe.get("hops")]
    return Group(*parts)


def state(vnf: dict[str, Any], vnfc: dict[str, Any]) -> Text:
    """What was ordered where nothing was seen, else how the VNFC does, and why."""
    seen = str(vnfc.get("health") or "")
    if seen in ("", "UNKNOWN"):
        return coloured(str(vnf.get("vnf_state") or "-"))
    if (vnf.get("health") or {}).get("state") == "HEALING" and seen in ("FAILED", "ABSENT"):
        seen = "HEALING"
    text = coloured(seen)
    if vnfc.get("reason"):
        text.append(f"\n{vnfc['reason']}", style="dim")
    return text


def hops(probe: dict[str, Any], path: str = "") -> RenderableType:
    """What each hop sent, what arrived, and how long the way took."""
    right = {"justify": "right"}
    rows = []
    for hop in probe["hops"]:
        sent, received = hop.get("sent") or 0, hop.get("received") or 0
        lost = sent - received
        rows.append(
            (f"{hop.get('from', '')} → {hop.get('to', '')}", scalar(sent), scalar(received),
             str(lost) if lost else "-", micros(hop.get("rtt_us")))
        )  # fmt: skip
    columns: list[str | tuple[str, dict[str, Any]]] = [
        "Hop",
        ("Sent", right),
        ("Received", right),
        ("Lost", right),
        ("RTT", right),
    ]
    of_path = f" of path {path}" if path else ""
    return grid(f"Probe{of_path} at {short_time(probe.get('at'))}", columns, rows)


def micros(value: Any) -> str:
    """Microseconds for eyes."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value / 1000:.1f} ms" if value >= 1000 else f"{value:g} us"


def rate(value: Any) -> str:
    """Bits a second for eyes; 0 and absent mean that nothing is promised."""
    if not isinstance(value, int | float) or not value:
        return "-"
    for unit, factor in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if value >= factor:
            return f"{value / factor:g} {unit}"
    return f"{value:g} bit/s"
