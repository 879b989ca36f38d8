"""A chain's situation on a terminal: paths, VNFs, what is under way, what happened last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vnfm.cli.render import RUNTIME_COLOURS, coloured, short_id
from vnfm.cli.render_stats import clock, cpu, lost, memory, si, us
from vnfm.cli.situation import Situation

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

HEALTH = {
    "WELL": ("●", "green"),
    "HEALING": ("◐", "yellow"),
    "BUILDING": ("◐", "cyan"),
    "STOPPED": ("○", "yellow"),
    "FAILED": ("✖", "bold red"),
    "ABSENT": ("✖", "bold red"),
    "UNKNOWN": ("?", "dim"),
}
UNSEEN = ("·", "dim")
WIDE = 104  # columns from which hosts are told, too
Cells = tuple[Any, ...]


def view(now: Situation, screen: Console) -> RenderableType:
    """Everything, for a screen of any width."""
    from rich.console import Group

    parts: list[RenderableType] = [head(now)]
    parts += [path_line(path, now) for path in now.chain.get("paths") or []]
    parts += [reason for vnf in now.chain.get("vnfs") or [] for reason in reasons(vnf)]
    parts.append(counters(now, screen.width >= WIDE))
    parts += operation(now, screen)
    if now.chain.get("last_heal"):
        parts.append(last_heal(now.chain["last_heal"]))
    parts += events(list(now.events))
    return Group(*parts)


def head(now: Situation) -> Text:
    """The chain's name and state, and whether anybody answers."""
    from rich.text import Text

    text = Text.assemble((str(now.chain.get("name", "")), "bold"), "  ", coloured(str(now.chain.get("state", ""))))
    unwell = [v for v in now.chain.get("vnfs") or [] if (v.get("health") or {}).get("state") not in (None, "WELL")]
    if unwell:
        text.append(f"  {len(unwell)} not well", "bold red")
    elif now.chain.get("state") == "INSTANTIATED":
        text.append("  all well", "green")
    if now.gone:
        text.append(f"  {now.gone}", "bold red")
    elif now.away_since is not None:
        away_s = time.monotonic() - now.away_since
        text.append(f"  the manager is not reachable for {away_s:.0f} s, trying again", "bold yellow")
    text.append(f"  {clock(now.stats.get('at'))}  q quits", "dim")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def path_line(path: dict[str, Any], now: Situation) -> Text:
    """client ─18.2 us─ ● fw ─…─ server, with the round trip of the last trace."""
    from rich.text import Text

    name = str(path.get("name", ""))
    states = {str(v.get("alias")): v for v in now.chain.get("vnfs") or []}
    traced, probed = traces(now.trace).get(name), (now.chain.get("probes") or {}).get(name)
    counts = (traced or {}).get("counts") or (probed or {}).get("hops") or []
    between = {(str(c.get("from")), str(c.get("to"))): c for c in counts}
    text = Text(f"\n{name}: ", style="bold")
    hops = [str(h) for h in path.get("hops") or []]
    for number, hop in enumerate(hops):
        if number:
            text.append_text(wire(between.get((hops[number - 1], hop))))
        text.append_text(hop_mark(hop, states.get(hop)))
    text.append_text(verdict(traced, probed, now))
    return text


def hop_mark(name: str, vnf: dict[str, Any] | None) -> Text:
    """A hop with its state; replicas are counted."""
    from rich.text import Text

    if vnf is None:
        return Text(name, style="bold")
    mark, style = HEALTH.get(str((vnf.get("health") or {}).get("state")), UNSEEN)
    several = f"×{vnf['replicas']}" if (vnf.get("replicas") or 0) > 1 else ""
    colour = RUNTIME_COLOURS.get(str(vnf.get("runtime")), "")
    return Text.assemble((f"{mark} ", style), (name, colour), (several, "bold"))


def wire(count: dict[str, Any] | None) -> Text:
    """What a link between two hops took; red where it lost packets."""
    from rich.text import Text

    if not count:
        return Text(" ── ", style="dim")
    if (count.get("received") or 0) < (count.get("sent") or 0):
        return Text(f" ─{count.get('received')}/{count.get('sent')}─ ", style="bold red")
    return Text(f" ─{us(count['rtt_us'])}─ " if count.get("rtt_us") else " ── ", style="dim")


def verdict(traced: dict[str, Any] | None, probed: dict[str, Any] | None, now: Situation) -> Text:
    """What the last trace says of the path, else the last probe."""
    from rich.text import Text

    if traced:
        ago = f"  {time.monotonic() - now.traced_at:.0f} s ago"
        if traced.get("broken"):
            return Text.assemble((f"  ✖ {traced['broken']}", "bold red"), (ago, "dim"))
        if traced.get("complete"):
            return Text.assemble(("  RTT ", ""), (us(traced.get("rtt_us")), "bold"), (ago, "dim"))
        return Text(f"  {traced.get('unsupported') or 'no proof'}{ago}", style="yellow")
    if now.trace_refused:
        return Text(f"  {now.trace_refused}", style="yellow")
    if probed:
        return Text(f"  RTT {us(probed.get('rtt_us'))} at {clock(probed.get('at'))}", style="dim")
    return Text("")


def traces(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By path."""
    return {str(p.get("path")): p for p in trace.get("paths") or []}


def reasons(vnf: dict[str, Any]) -> list[Text]:
    """Why a VNF is not well."""
    from rich.text import Text

    health = vnf.get("health") or {}
    if health.get("state") in (None, "WELL") or not health.get("reason"):
        return []
    since = f" since {clock(health['since'])}" if health.get("since") else ""
    words = f"{vnf.get('alias')} {str(health['state']).lower()}{since}: {one_line(health['reason'])}"
    return [Text(words, style="red", no_wrap=True, overflow="ellipsis")]


def one_line(words: Any) -> str:
    """Reasons may hold the last lines of a log."""
    return " ".join(str(words).split())


def counters(now: Situation, wide: bool) -> RenderableType:
    """A VNFC and its first port a line, further ports beneath; then the ends."""
    from rich.console import Group
    from rich.text import Text

    table = _table(wide)
    sampled = {str(v.get("id")): v for s in now.stats.get("vnfs") or [] for v in s.get("vnfcs") or []}
    for vnf in along_the_way(now.chain):
        for number, vnfc in enumerate(vnf.get("vnfcs") or [{}]):
            _rows(table, vnfc_head(vnf, vnfc, sampled.get(str(vnfc.get("id")), {}), number, wide),
                  sampled.get(str(vnfc.get("id")), {}).get("ports"))  # fmt: skip
    for end in now.stats.get("ends") or []:
        filler = ("",) * (5 if wide else 3)
        _rows(table, (Text(str(end.get("name", "")), style="bold"), *filler), end.get("ports"))
    if now.stats_refused:
        return Group(table, Text(now.stats_refused, style="yellow"))
    return table


def along_the_way(chain: dict[str, Any]) -> list[dict[str, Any]]:
    """The VNFs in the order in which the paths meet them."""
    met = list(dict.fromkeys(str(hop) for path in chain.get("paths") or [] for hop in path.get("hops") or []))
    place = {alias: number for number, alias in enumerate(met)}
    return sorted(chain.get("vnfs") or [], key=lambda v: place.get(str(v.get("alias")), len(place)))


def _table(wide: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    columns = ["VNF", "State", *(["Realized as", "Host"] if wide else []), "CPU", "Memory", "Port"]
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in ("CPU", "Memory") else "left")
    for column in ("in p/s" if wide else "in/s", "bit/s", "out p/s" if wide else "out/s", "bit/s", "lost"):
        table.add_column(column, no_wrap=True, justify="right")
    return table


def vnfc_head(vnf: dict[str, Any], vnfc: dict[str, Any], sample: dict[str, Any], number: int, wide: bool) -> Cells:
    """All but the ports of a VNFC's first line."""
    from rich.text import Text

    state = str(vnfc.get("health") or "-")
    of_vnf = str((vnf.get("health") or {}).get("state") or "-")
    if of_vnf == "HEALING" and state in ("FAILED", "ABSENT"):
        state = of_vnf
    mark, style = HEALTH.get(state, UNSEEN)
    words = Text(f"{mark} {state.lower()}", style=style)
    name = Text(str(vnf.get("alias", "")) if not number else f"  #{number + 1}",
                style=RUNTIME_COLOURS.get(str(vnfc.get("runtime")), ""))  # fmt: skip
    place = (coloured(str(vnfc.get("runtime") or "-")), str(vnfc.get("host") or "-")) if wide else ()
    return (name, words, *place, cpu(sample.get("cpu_milli")), memory(sample))


def _rows(table: Table, first: Cells, ports: Sequence[dict[str, Any]] | None) -> None:
    if not ports:
        table.add_row(*first, *("-",) * 6)
    for number, port in enumerate(ports or []):
        cells = (
            str(port.get("cp", "")),
            *(si(port.get(f"{way}_{unit}")) for way in ("in", "out") for unit in ("pps", "bps")),
            lost(port),
        )
        beginning: Cells = ("",) * len(first) if number else first
        line: Cells = (*beginning, *cells)
        table.add_row(*line)


def operation(now: Situation, screen: Console) -> list[RenderableType]:
    """The operation that is open: a bar while it runs, its problem and the ways out where it waits."""
    from rich.text import Text

    from vnfm.cli.progress import Board

    op = now.operation
    if op is None:
        return []
    if op.state != "FAILED_TEMP":
        board = Board(screen)
        board.update(op)
        return [board.render()]
    short = short_id(op.id)
    text = Text.assemble((f"{op.operation} of {op.target} waits for a decision: ", "bold red"), op.error.detail)
    text.append(f"\n  vnfm op retry {short} · vnfm op rollback {short} · vnfm op fail {short}", "yellow")
    return [text]


def last_heal(heal: dict[str, Any]) -> Text:
    """What was healed last, why, and how long nothing flowed."""
    from rich.text import Text

    text = Text.assemble(
        "Last heal: ", (", ".join(str(v) for v in heal.get("vnfs") or []), "bold"), f" at {clock(heal.get('at'))} ",
        coloured(str(heal.get("state", ""))),
    )  # fmt: skip
    if heal.get("outage_ms") is not None:
        text.append(f"  down for {heal['outage_ms']} ms", "bold")
    text.append(f"  {one_line(heal.get('cause') or '')}", "dim")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def events(found: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """The latest notifications, the newest last."""
    from rich.text import Text

    lines: list[RenderableType] = []
    for event in found:
        body = event["body"]
        words = {
            "VnfLcmOperationOccurrenceNotification": (
                f"{body.get('operation', '')} {body.get('target', '')} {body.get('operation_state', '')}"
            ),
            "VnfcStateChangeNotification": (
                f"{body.get('vnf_instance_name', '')} ({body.get('vdu_id', '')}) {body.get('state', '')} "
                f"{body.get('reason', '')}"
            ),
        }.get(event["type"], event["type"])
        lines.append(Text(f"{clock(event['at'])}  {words}", style="dim", no_wrap=True, overflow="ellipsis"))
    return [Text("\nEvents", style="bold"), *lines] if lines else []
