"""Tables for people: packages, operations, VNFs, VIMs, and any document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vnfm.cli import shapes
from vnfm.pb.nfvo.v1 import nfvo_pb2

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

COLOURS = {
    "COMPLETED": "green",
    "ONBOARDED": "green",
    "INSTANTIATED": "green",
    "CONNECTED": "green",
    "STARTED": "green",
    "DONE": "green",
    "ENABLED": "green",
    "PROCESSING": "cyan",
    "STARTING": "cyan",
    "ROLLING_BACK": "yellow",
    "ROLLED_BACK": "yellow",
    "FAILED_TEMP": "red",
    "FAILED": "red",
    "UNDO_FAILED": "red",
    "ERROR": "red",
    "error": "red",
    "warning": "yellow",
    "DISABLED": "yellow",
    "WELL": "green",
    "HEALING": "yellow",
    "ABSENT": "red",
    "BUILDING": "cyan",
    "STOPPED": "yellow",
}
IDENTITY: tuple[str, dict[str, Any]] = ("Id", {"no_wrap": True, "min_width": 8})
RUNTIME_COLOURS = {"CONTAINER": "green", "KATA": "magenta", "VM": "blue"}


def coloured(word: str) -> Text:
    """A state or a runtime in its colour."""
    from rich.text import Text

    return Text(word, style=COLOURS.get(word) or RUNTIME_COLOURS.get(word, ""))


def size(count: float | None) -> str:
    """Bytes for eyes: 512 MiB."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def short_id(identifier: str) -> str:
    """The beginning of an id, enough to name it by; a lane keeps its alias: 781b493d:fw."""
    number, colon, lane = identifier.partition(":")
    return number[:8] + colon + lane


def short_time(text: str | None) -> str:
    """2026-01-01T12:00:00.123Z -> 2026-01-01 12:00:00."""
    return text[:19].replace("T", " ") if text else "-"


def grid(title: str, columns: Sequence[str | tuple[str, dict[str, Any]]], rows: Iterable[Sequence[Any]]) -> Table:
    """A table; a column is its name or (name, rich's settings). An empty one says so."""
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, settings = (column, {}) if isinstance(column, str) else column
        table.add_column(name, **({"overflow": "fold"} | settings))
    for row in rows:
        table.add_row(*(cell if not isinstance(cell, str) else _text(cell) for cell in row))
    if not table.row_count:
        table.caption, table.caption_justify = "none", "left"
    return table


def _text(cell: str) -> Text:
    from rich.text import Text

    return Text(cell)


def packages(messages: Sequence[nfvo_pb2.Package]) -> RenderableType:
    """`package list`."""
    rows = (
        (short_id(p.id), p.product or "-", p.version or "-", p.provider or "-", coloured(p.onboarding_state),
         coloured(p.operational_state), p.usage_state)
        for p in messages
    )  # fmt: skip
    return grid("", [IDENTITY, "Product", "Version", "Provider", "Onboarding", "Operational", "Usage"], rows)


def package(message: nfvo_pb2.Package) -> RenderableType:
    """`package show`."""
    from rich.console import Group

    data = shapes.package(message)
    findings, error = data.pop("findings"), data.pop("error")
    parts: list[RenderableType] = [fields(data)]
    if error:
        parts.append(problem(error))
    if findings:
        rows = (
            (coloured(f["severity"]), place(f), f"{f['message']}{' — ' + f['hint'] if f['hint'] else ''}")
            for f in findings
        )
        parts.append(grid("What was noticed", ["", "Where", "What"], rows))
    return Group(*parts)


def place(finding: dict[str, Any]) -> str:
    """file:line:column as far as it is known."""
    numbers = [str(finding[key]) for key in ("line", "column") if finding[key]]
    return ":".join([finding["file"] or "-", *numbers])


def operations(messages: Sequence[nfvo_pb2.VnfLcmOpOcc]) -> RenderableType:
    """`op list`."""
    rows = (
        (short_id(op.id), op.operation, op.target, coloured(op.state), f"{op.progress_percent} %",
         short_time(shapes.time_text(op.started_at)))
        for op in messages
    )  # fmt: skip
    return grid("", [IDENTITY, "Operation", "Target", "State", ("Done", {"justify": "right"}), "Started"], rows)


def operation(message: nfvo_pb2.VnfLcmOpOcc) -> RenderableType:
    """`op show`, and what a command prints about the operation that it started."""
    from rich.console import Group

    data = shapes.operation(message)
    head = {k: data[k] for k in ("id", "operation", "target", "state", "progress_percent")}
    head |= {k: short_time(data[k]) for k in ("started_at", "state_entered_at")}
    if data["parent_id"]:
        head["parent_id"] = data["parent_id"]
    if data["operation"] == "HEAL":
        head |= {"cause": data.get("cause"), "outage_ms": data.get("outage_ms")}
    if data["is_cancel_pending"]:
        head["is_cancel_pending"] = True
    parts: list[RenderableType] = [fields(head)]
    if data["error"]:
        parts.append(problem(data["error"]))
    if data["steps"]:
        rows = ((s["name"], coloured(s["state"]), f"{s['seconds']:.1f} s", s["detail"]) for s in data["steps"])
        parts.append(grid("", ["Step", "State", ("Took", {"justify": "right"}), "Latest word"], rows))
    return Group(*parts)


def operation_line(op: nfvo_pb2.VnfLcmOpOcc) -> str:
    """An operation on one line."""
    running = [s.name for s in op.steps if s.state in ("STARTED", "UNDO_STARTED")]
    return f"{op.id}  {op.operation}  {op.target}  {op.state}  {op.progress_percent} %  {', '.join(running)}".rstrip()


def problem(data: dict[str, Any]) -> RenderableType:
    """A problem, with what may be done about it."""
    from rich.panel import Panel
    from rich.text import Text

    advice = {"SAME_CALL": "the same call may succeed later", "NEW_PLACEMENT": "another host or VIM may do it"}
    lines = [data["detail"] or data["title"]]
    if data["instance"]:
        lines.append(f"about: {data['instance']}")
    if data["retry"] in advice:
        lines.append(advice[data["retry"]])
    return Panel(Text("\n".join(lines)), title=Text(data["title"]), title_align="left", border_style="red")


def vnfs(messages: Sequence[nfvo_pb2.VnfInstance]) -> RenderableType:
    """`vnf list`."""
    rows = (
        (short_id(v.id), v.name, v.vnfd_id, coloured(v.instantiation_state), coloured(v.vnf_state or "-"))
        for v in messages
    )
    return grid("", [IDENTITY, "Name", "VNFD", "Instantiation", "State"], rows)


def vims(messages: Sequence[nfvo_pb2.Vim]) -> RenderableType:
    """`vim list`."""
    rows = (
        (v.name, v.kind, coloured(v.state), v.plugin_version, ", ".join(v.runtimes), str(v.restarts), v.detail)
        for v in messages
    )
    return grid("", ["VIM", "Kind", "State", "Plugin", "Runtimes", "Restarts", "Detail"], rows)


def fields(data: dict[str, Any]) -> RenderableType:
    """Any document: a name and its value a row, lists of objects as tables beneath."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    beneath: list[RenderableType] = []
    for key, value in data.items():
        if _is_table(value):
            beneath.append(_listing(key, value))
        elif isinstance(value, dict) and value:
            beneath += [_listing(k, v) for k, v in value.items() if _is_table(v)]
            lines = [f"{k}: {scalar(v)}" for k, v in value.items() if not _is_table(v)]
            table.add_row(key, Text("\n".join(lines)))
        else:
            text = scalar(value)
            table.add_row(key, coloured(text) if text in COLOURS else Text(text))
    return Group(table, *beneath)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _listing(title: str, entries: Sequence[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    return grid(title, names, [[scalar(entry.get(name)) for name in names] for entry in entries])


def scalar(value: Any) -> str:
    """A value on one line."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(scalar(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={scalar(v)}" for k, v in value.items())
    return str(value)
