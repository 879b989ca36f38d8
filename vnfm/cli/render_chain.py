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

HEAVIER = 10**9  # from here on a cost says no more than that a realization is heavier, which is told already


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
    """Why this, then what was rejected, how many hosts fell away by what, what it costs, then the next best.

    Equal reasons on several hosts are told once; of many hosts, only what is in the way of each realization.
    """
    from rich.text import Text

    text = Text("\n".join(f"• {reason}" for reason in vnf.get("reasons") or []))
    many = any(item.get("host") == "*" for item in vnf.get("rejected") or [])
    for (runtime, reason), hosts in rejections(vnf, many).items():
        others = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
        text.append(f"\n✗ {runtime} on {hosts[0]}{others}: " if hosts[0] else f"\n✗ {runtime}: ", style="red")
        text.append(reason, style="dim")
    for line in (hosts_left(vnf.get("filters") or {}) if many else "", cost(vnf.get("score") or {})):
        text.append(f"\n{line}" if line else "", style="dim")
    runner_up = vnf.get("runner_up")
    if runner_up:
        nested = "nested " if runner_up.get("nested") else ""
        because = f": {runner_up['because']}" if runner_up.get("because") else ""
        delta = runner_up.get("delta") or 0
        more = f" (costs {delta:,.0f} more)" if 0 < delta < HEAVIER else ""
        place = f"{runner_up.get('runtime', '')} on {runner_up.get('host', '')}"
        text.append(f"\nnext best: {nested}{place}{because}{more}", style="dim")
    return text


def rejections(vnf: dict[str, Any], many: bool) -> dict[tuple[str, str], list[str]]:
    """By realization and reason the hosts; no host where the reason counts them itself."""
    if not many:
        return grouped(vnf.get("rejected") or [])
    told = {name.lower() if name == "NESTED" else name: why for name, why in (vnf.get("realizations") or {}).items()}
    return {(name, str(why)): [""] for name, why in told.items()}


def hosts_left(filters: dict[str, Any]) -> str:
    """How many hosts there are, what took how many of them away, and how many are left, whatever the realization."""
    if not filters:
        return ""
    gone = [(name, n) for name, n in filters.items() if name not in ("nodes", "left")]
    gone.sort(key=lambda x: (-x[1], x[0]))
    told = "".join(f" - {n:,.0f} {name}" for name, n in gone)
    return f"hosts: {filters.get('nodes') or 0:,.0f}{told} = {filters.get('left') or 0:,.0f} left"


def cost(score: dict[str, Any]) -> str:
    """The terms of the cost that decide among equally light realizations, where there are any."""
    named = {"realization": "realization", "price": "price", "on": "switching on", "bw_hops": "Mbit/s times hops"}
    terms = [f"{name} {score[key]:,.0f}" for key, name in named.items() if score.get(key)]
    return f"cost: {', '.join(terms)}" if terms else ""


def grouped(rejected: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Rejections by (runtime, reason), hosts in the order given; counts of hosts that are not named are left out."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in rejected:
        if item.get("host") == "*":
            continue
        runtime = ("nested " if item.get("nested") else "") + str(item.get("runtime", ""))
        key = (runtime, str(item.get("reason", "")))
        groups.setdefault(key, []).append(str(item.get("host") or ""))
    return groups


def links(data: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """The links with what they promise, and by what those between VIMs are joined; nothing where there are none."""
    if not data:
        return []
    right = {"justify": "right"}
    columns: list[Any] = ["Link", ("Latency", right), ("Bandwidth", right)]
    rows = [[scalar(x.get("id")), micros(x.get("latency_us")), rate(x.get("bandwidth_bps"))] for x in data]
    if any(x.get("segment") for x in data):
        columns.append("Joined by")
        rows = [[*row, _joined(x.get("segment") or {})] for row, x in zip(rows, data, strict=True)]
    return [grid("Links", columns, rows)]


def _joined(segment: dict[str, Any]) -> str:
    return f"{segment['encap']} on {segment['network']}, {' - '.join(segment['vims'])}" if segment else ""


def refused(data: dict[str, Any]) -> RenderableType:
    """Why no placement exists, and the smallest change that would make one."""
    from rich.panel import Panel
    from rich.text import Text

    text = Text(scalar(data.get("detail")))
    if line := hosts_left(data.get("filters") or {}):
        text.append(f"\n{line}", style="dim")
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
