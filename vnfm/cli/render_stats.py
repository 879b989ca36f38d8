"""Counters and traces for eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vnfm.cli.render import RUNTIME_COLOURS, grid, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

RIGHT: dict[str, Any] = {"justify": "right", "no_wrap": True}
Columns = list[str | tuple[str, dict[str, Any]]]
COUNTERS: Columns = [
    ("CPU", RIGHT),
    ("Memory", RIGHT),
    ("Port", {"no_wrap": True}),
    ("In", RIGHT),
    ("p/s", RIGHT),
    ("bit/s", RIGHT),
    ("Out", RIGHT),
    ("p/s", RIGHT),
    ("bit/s", RIGHT),
    ("Lost", RIGHT),
]
Cells = tuple[Any, ...]


def vnf_stats(data: dict[str, Any]) -> RenderableType:
    """A sample of `vnf stats`."""
    rows = [row for vnfc in data.get("vnfcs") or [] for row in vnfc_rows(str(vnfc.get("vdu_id", "")), vnfc)]
    return counters(f"{data.get('vnf', '')}  {clock(data.get('at'))}", "VNFC", rows)


def chain_stats(data: dict[str, Any]) -> RenderableType:
    """A sample of `chain stats`: VNFs and ends, then what each path carried."""
    from rich.console import Group

    rows: list[Cells] = []
    for vnf in data.get("vnfs") or []:
        for vnfc in vnf.get("vnfcs") or []:
            rows += vnfc_rows(str(vnf.get("alias", "")), vnfc)
    for end in data.get("ends") or []:
        rows += port_rows((str(end.get("name", "")), "", ""), end.get("ports"))
    head = f"{data.get('chain', '')}  {clock(data.get('at'))}"
    return Group(counters(head, "VNF", rows), *(path_counts(p) for p in data.get("paths") or [] if p.get("hops")))


def counters(title: str, first: str, rows: Sequence[Cells]) -> Table:
    """A table that fits into 80 columns."""
    table = grid(title, [(first, {"no_wrap": True}), *COUNTERS], rows)
    table.padding = (0, 1, 0, 0)
    return table


def vnfc_rows(name: str, vnfc: dict[str, Any]) -> list[Cells]:
    """A VNFC: what it uses on its first line, a port a line. Its realization is its name's colour."""
    from rich.text import Text

    label = Text(name, style=RUNTIME_COLOURS.get(str(vnfc.get("runtime")), ""))
    return port_rows((label, cpu(vnfc.get("cpu_milli")), memory(vnfc)), vnfc.get("ports"))


def memory(vnfc: dict[str, Any]) -> str:
    """Used and allowed: 18/64 MiB."""
    used = size(vnfc.get("memory_bytes"))
    if not vnfc.get("memory_limit_bytes"):
        return used
    limit = size(vnfc["memory_limit_bytes"])
    number, _, unit = used.partition(" ")
    return f"{number}/{limit}" if limit.endswith(f" {unit}") else f"{used}/{limit}"


def port_rows(head: Cells, ports: Sequence[dict[str, Any]] | None) -> list[Cells]:
    """`head` stands on the first line only."""
    if not ports:
        return [(*head, *("-",) * (len(COUNTERS) + 1 - len(head)))]
    return [(*(("",) * len(head) if number else head), *port_cells(port)) for number, port in enumerate(ports)]


def port_cells(port: dict[str, Any]) -> Cells:
    """Packets so far, packets and bits a second each way; what was lost is red."""
    ways = (
        (si(port.get(f"{way}_packets")), si(port.get(f"{way}_pps")), si(port.get(f"{way}_bps")))
        for way in ("in", "out")
    )
    return (str(port.get("cp", "")), *(cell for way in ways for cell in way), lost(port))


def lost(port: dict[str, Any]) -> Text:
    """The packets lost at a port, both ways."""
    from rich.text import Text

    number = (port.get("in_dropped") or 0) + (port.get("out_dropped") or 0)
    return Text(si(number), style="red" if number else "dim")


def path_counts(path: dict[str, Any]) -> RenderableType:
    """What a path's classifier sent into each port."""
    rows = (
        (str(hop.get("name", "")), str(hop.get("cp", "")), count(hop.get("packets")), size(hop.get("bytes")),
         si(hop.get("pps")), si(hop.get("bps")))
        for hop in path["hops"]
    )  # fmt: skip
    columns: Columns = ["Into", "Port", ("Packets", RIGHT), ("Bytes", RIGHT), ("p/s", RIGHT), ("bit/s", RIGHT)]
    return grid(f"Path {path.get('name', '')}", columns, rows)


def trace(data: dict[str, Any]) -> RenderableType:
    """`chain trace`: a packet's way down the hops and up again, a port a line."""
    from rich.console import Group

    return Group(*(part for path in data.get("paths") or [] for part in traced_path(path)))


def traced_path(path: dict[str, Any]) -> list[RenderableType]:
    """One path: when the packet was at each port on its way there, and on its way back."""
    from rich.text import Text

    hops = path.get("hops") or []
    there, back = steps_of(hops, "forward"), steps_of(hops, "return")
    keys = list(dict.fromkeys([*there, *reversed(back)]))
    rows = [
        (key[0] if not i or keys[i - 1][0] != key[0] else "", key[1], *moment(there.get(key)), *moment(back.get(key)))
        for i, key in enumerate(keys)
    ]
    columns: Columns = ["Hop", "Port", ("There ↓", RIGHT), ("took", RIGHT), ("Back ↑", RIGHT), ("took", RIGHT)]
    told = f"{us(path.get('rtt_us'))} there and back" if path.get("complete") else "not complete"
    parts: list[RenderableType] = [grid(f"Path {path.get('path', '')}: {told}", columns, rows)]
    if path.get("unsupported"):
        parts.append(Text(f"no proof: {path['unsupported']}", style="yellow"))
    if path.get("broken"):
        parts.append(Text(str(path["broken"]), style="red"))
    return parts


Step = tuple[float, float | None, bool]
"""When, how long since the passing before, and whether that was within one hop."""


def steps_of(hops: Sequence[dict[str, Any]], direction: str) -> dict[tuple[str, str], Step]:
    """The passings of one direction by (hop, port), in their order."""
    found: dict[tuple[str, str], Step] = {}
    before: dict[str, Any] | None = None
    for hop in hops:
        if hop.get("direction") == direction:
            at = float(hop.get("at_us") or 0.0)
            took = None if before is None else at - float(before.get("at_us") or 0.0)
            within = before is not None and before.get("resource_id") == hop.get("resource_id")
            found.setdefault((str(hop.get("name", "")), str(hop.get("cp", ""))), (at, took, within))
        before = hop
    return found


def moment(step: Step | None) -> tuple[str, Text]:
    """When a packet was seen, and what it took to get there: dim on a link, plain within a VNF."""
    from rich.text import Text

    if step is None:
        return "-", Text("")
    at, took, within = step
    if took is None:
        return us(at), Text("")
    return us(at), Text(f"+{us(took)} {'inside' if within else 'link  '}", style="" if within else "dim")


def us(value: Any) -> str:
    """Microseconds with one digit, milliseconds from one on."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.1f} us"


def cpu(milli: Any) -> str:
    """Thousandths of a CPU as percent of one."""
    return f"{milli / 10:.1f} %" if isinstance(milli, int | float) else "-"


def count(value: Any) -> str:
    """A whole number in groups of three."""
    return f"{value:,.0f}".replace(",", " ") if isinstance(value, int | float) else "-"


def si(value: Any) -> str:
    """A number in three digits: 12.3k."""
    if not isinstance(value, int | float):
        return "-"
    for unit, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def clock(at: Any) -> str:
    """The time of day of a stamp."""
    return str(at)[11:19] if at else ""
