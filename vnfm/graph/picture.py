"""Draws a chain as it stands or is planned: hosts around VNFs, whose look tells container, microVM and VM apart.

Equal pictures give equal bytes. `draw_vnfd` draws a VNFD by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.graph import svg
from vnfm.graph.layout import Box, Layout, Leaf, Place, arrange
from vnfm.graph.legend import MARGIN, PATH_COLOURS, PicturePath, legend, legend_width, path_legend
from vnfm.graph.looks import LOOKS, pill, state_colour
from vnfm.graph.vnfdpicture import draw_vnfd
from vnfm.model.placement import Runtime

__all__ = [
    "ChainPicture",
    "PictureEnd",
    "PictureHost",
    "PictureLink",
    "PicturePath",
    "PictureVnf",
    "draw_chain",
    "draw_vnfd",
]

END_W, END_H = 132.0, 84.0
BUS_GAP = 34.0  # between links that have to run below everything
PATH_GAP = 24.0  # between links of several paths side by side
WIRE, LOST = "#33475b", "#c9302c"


@dataclass(frozen=True, slots=True)
class PictureEnd:
    """An end of the chain. `detail` is what is known of it, its network or address."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PictureHost:
    """A host. `parent` is the id of the host that it is nested in; empty for a machine."""

    id: str
    name: str = ""
    parent: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PictureVnf:
    """A VNF. `runtime` is None before placement; `details` are up to two lines of small print."""

    alias: str
    product: str = ""
    runtime: Runtime | None = None
    host: str = ""
    state: str = ""
    details: tuple[str, ...] = ()
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class PictureLink:
    """A link between two VNFs or ends, by name. What is empty or None is not drawn. `sent` counts packets. `path` is
    set where several paths are drawn apart."""

    source: str
    target: str
    source_port: str = ""
    target_port: str = ""
    source_address: str = ""
    target_address: str = ""
    latency_us: float | None = None
    sent: int | None = None
    received: int | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class ChainPicture:
    """What is drawn. `order` names ends and VNFs from left to right; what it leaves out follows behind."""

    name: str
    ends: tuple[PictureEnd, ...]
    vnfs: tuple[PictureVnf, ...]
    links: tuple[PictureLink, ...]
    hosts: tuple[PictureHost, ...] = ()
    order: tuple[str, ...] = ()
    state: str = ""
    subtitle: str = ""
    paths: tuple[PicturePath, ...] = ()


def draw_chain(picture: ChainPicture) -> str:
    """The picture as an SVG document. Hosts that nothing stands on are left out, unknown parents count as none."""
    columns = _columns(picture)
    layout = arrange(_items(picture, columns), max(len(columns), 1))
    lanes = _lanes(picture, columns)
    feet = _feet(picture, lanes)
    top = 104.0
    legend_y = top + layout.height + (BUS_GAP * len(lanes) + 20 if lanes else 0) + 46
    runtimes = [r for r in LOOKS if any(v.runtime is r for v in picture.vnfs)]
    wide = max(layout.width + 2 * MARGIN, legend_width(runtimes) + 2 * MARGIN, 620.0)
    apart = _apart(picture)
    shift = (wide - layout.width) / 2
    moved = _moved(layout, shift, top)
    body = [*_heading(picture, wide), *_hosts(picture, moved)]
    body += [
        line
        for number, link in enumerate(picture.links)
        for line in _link(
            link,
            moved,
            columns,
            lanes.get(number),
            top + layout.height + 20,
            feet.get(number, (0, 0)),
            _colour(link, picture.paths),
            apart.get(number),
        )
    ]
    body += [_end(end, moved.cards[_key(end.name)]) for end in picture.ends]
    body += [_card(vnf, moved.cards[_key(vnf.alias)]) for vnf in picture.vnfs]
    body += legend(runtimes, legend_y)
    body += path_legend(picture.paths, legend_y + 34)
    return svg.document(wide, legend_y + 44 + (30 if picture.paths else 0), f"Service chain {picture.name}", body)


def _key(name: str) -> str:
    return f"card:{name}"


def _columns(picture: ChainPicture) -> dict[str, int]:
    """The column of each end and VNF."""
    ends, vnfs = [e.name for e in picture.ends], [v.alias for v in picture.vnfs]
    known = {*ends, *vnfs}
    natural = [*ends[:1], *vnfs, *ends[1:]]
    return {name: i for i, name in enumerate(dict.fromkeys([n for n in (*picture.order, *natural) if n in known]))}


def _items(picture: ChainPicture, columns: Mapping[str, int]) -> list[Leaf | Box]:
    """Cards in the boxes of their hosts, hosts in those of their parents."""
    hosts = {host.id: host for host in picture.hosts}
    inside: dict[str, list[Leaf | Box]] = {}
    for end in picture.ends:
        inside.setdefault("", []).append(Leaf(_key(end.name), columns[end.name], END_W, END_H))
    for vnf in picture.vnfs:
        where = vnf.host if vnf.host in hosts else ""
        inside.setdefault(where, []).append(Leaf(_key(vnf.alias), columns[vnf.alias]))
    # Innermost first, so that a box is complete when its parent takes it.
    for host in sorted(hosts.values(), key=lambda h: -len(_line(h, hosts))):
        if host.id in inside:
            parent = host.parent if host.parent in hosts and host.id not in _line(hosts[host.parent], hosts) else ""
            inside.setdefault(parent, []).append(Box(host.id, tuple(inside[host.id])))
    return inside.get("", [])


def _line(host: PictureHost, hosts: Mapping[str, PictureHost]) -> list[str]:
    """The host and those around it, innermost first; a circle ends it."""
    found: list[str] = []
    current: PictureHost | None = host
    while current is not None and current.id not in found:
        found.append(current.id)
        current = hosts.get(current.parent)
    return found


def _lanes(picture: ChainPicture, columns: Mapping[str, int]) -> dict[int, int]:
    """Links between what does not stand side by side run below everything, each in a lane of its own."""
    far = [
        number
        for number, link in enumerate(picture.links)
        if link.source in columns and link.target in columns and abs(columns[link.source] - columns[link.target]) != 1
    ]
    return {number: lane for lane, number in enumerate(far)}


def _colour(link: PictureLink, paths: tuple[PicturePath, ...]) -> str:
    """Red where packets are lost, else its path's."""
    names = [p.name for p in paths]
    if _lost(link) or link.path not in names:
        return LOST if _lost(link) else WIRE
    return PATH_COLOURS[names.index(link.path) % len(PATH_COLOURS)]


def _apart(picture: ChainPicture) -> dict[int, float]:
    """How far above or below the middle each of several links between the same two is drawn."""
    pairs: dict[frozenset[str], list[int]] = {}
    for number, link in enumerate(picture.links):
        pairs.setdefault(frozenset((link.source, link.target)), []).append(number)
    return {
        number: (place - (len(numbers) - 1) / 2) * PATH_GAP
        for numbers in pairs.values()
        if len(numbers) > 1
        for place, number in enumerate(numbers)
    }


def _feet(picture: ChainPicture, lanes: Mapping[int, int]) -> dict[int, tuple[float, float]]:
    """How far from the middle of its cards each link below leaves, so that no two leave at one place."""
    used: dict[str, int] = {}

    def next_foot(name: str) -> float:
        used[name] = used.get(name, 0) + 1
        return (used[name] // 2) * 18.0 * (-1 if used[name] % 2 else 1)

    return {n: (next_foot(picture.links[n].source), next_foot(picture.links[n].target)) for n in lanes}


def _moved(layout: Layout, dx: float, dy: float) -> Layout:
    def move(places: Mapping[str, Place]) -> dict[str, Place]:
        return {key: Place(p.x + dx, p.y + dy, p.w, p.h) for key, p in places.items()}

    rooms = tuple((left + dx, right + dx) for left, right in layout.rooms)
    return Layout(move(layout.cards), move(layout.boxes), rooms, layout.width, layout.height)


# --- parts -------------------------------------------------------------------------------------------------------


def _heading(picture: ChainPicture, wide: float) -> list[str]:
    room = wide - 2 * MARGIN - 180
    parts = [svg.text(MARGIN, 48, picture.name, 24, bold=True, room=room)]
    if picture.state:
        right = MARGIN + svg.width(svg.fit(picture.name, 24, room, True), 24, True) + 10
        parts.append(pill(right, 31, picture.state.replace("_", " "), state_colour(picture.state))[0])
    if picture.subtitle:
        parts.append(svg.text(MARGIN, 72, picture.subtitle, 13, fill=svg.GREY, room=wide - 2 * MARGIN))
    return parts


def _hosts(picture: ChainPicture, layout: Layout) -> list[str]:
    hosts = {host.id: host for host in picture.hosts}
    parts = []
    for key, place in layout.boxes.items():
        host = hosts[key]
        depth = len(_line(host, hosts)) - 1
        style = {"fill": "#f1f5f8", "stroke": "#b9c6d2"} if depth == 0 else {"fill": "#fafaff", "stroke": "#a9a5e0"}
        parts.append(svg.rect(place.x, place.y, place.w, place.h, 12, stroke_width=1.5, **style))
        parts.append(_rack(place.x + 14, place.y + 11, "#6b7c8c" if depth == 0 else "#6d66c4"))
        name, room = host.name or host.id, place.w - 50
        parts.append(svg.text(place.x + 36, place.y + 22, name, 12.5, bold=True, room=room))
        used = svg.width(svg.fit(name, 12.5, room, True), 12.5, True) + 8
        if host.detail and room - used > 40:
            x = place.x + 36 + used
            parts.append(svg.text(x, place.y + 22, host.detail, 11.5, fill=svg.GREY, room=room - used))
    return parts


def _rack(x: float, y: float, colour: str) -> str:
    """The sign of a host."""
    return "".join(
        svg.rect(x, y + i * 7, 15, 5.5, 1.5, fill="#ffffff", stroke=colour, stroke_width=1.3)
        + svg.circle(x + 3.4, y + i * 7 + 2.75, 0.9, fill=colour)
        for i in range(2)
    )


def _end(end: PictureEnd, place: Place) -> str:
    x, y = place.middle
    lift = 3 if end.detail else -5
    return (
        svg.rect(place.x, place.y, place.w, place.h, place.h / 2, fill="#ffffff", stroke="#33475b", stroke_width=2)
        + svg.text(x, y - lift, end.name, 15, bold=True, anchor="middle", room=place.w - 34)
        + svg.text(x, y + 17, end.detail, 10.5, fill=svg.GREY, anchor="middle", room=place.w - 26, mono=True)
    )


def _title(vnf: PictureVnf) -> str:
    return f"{vnf.alias} ×{vnf.replicas}" if vnf.replicas > 1 else vnf.alias


def _card(vnf: PictureVnf, place: Place) -> str:
    look = LOOKS[vnf.runtime]
    x, y, w = place.x, place.y, place.w
    badge, badge_w = pill(x + 18, y + 62, look.word, look.colour)
    parts = [
        look.shape(x, y, w, place.h, look.colour, look.tint),
        look.sign(x + 18, y + 19, look.colour),
        svg.text(x + 54, y + 34, _title(vnf), 17, bold=True, room=w - 72),
        svg.text(x + 54, y + 50, vnf.product, 11, fill=svg.GREY, room=w - 72),
        badge,
    ]
    room = w - 18 - badge_w - 21 - 9
    if vnf.state and room > 24:
        parts.append(svg.circle(x + 18 + badge_w + 13, y + 71.7, 4, fill=state_colour(vnf.state)))
        words = vnf.state.replace("_", " ").lower()
        parts.append(svg.text(x + 18 + badge_w + 21, y + 75.5, words, 10.5, fill=svg.GREY, room=room))
    for number, detail in enumerate(vnf.details[:2]):
        parts.append(svg.text(x + 18, y + 102 + number * 16, detail, 11, fill=svg.INK, room=w - 36))
    return "".join(parts)


def _link(
    link: PictureLink,
    layout: Layout,
    columns: Mapping[str, int],
    lane: int | None,
    bottom: float,
    feet: tuple[float, float],
    colour: str,
    apart: float | None,
) -> list[str]:
    if link.source not in columns or link.target not in columns or link.source == link.target:
        return []
    source, target = layout.cards[_key(link.source)], layout.cards[_key(link.target)]
    if lane is not None:
        return _below(link, source, target, bottom + lane * BUS_GAP, colour, feet)
    forward = columns[link.source] < columns[link.target]
    left, right = (source, target) if forward else (target, source)
    x1, y1, x2, y2 = left.x + left.w, left.middle[1] + (apart or 0), right.x, right.middle[1] + (apart or 0)
    room = layout.rooms[min(columns[link.source], columns[link.target])]
    middle = sum(room) / 2
    if y1 == y2:
        wire = svg.line(x1, y1, x2, y2, stroke=colour, stroke_width=2.2)
    else:
        bend = f"M{svg.num(x1)} {svg.num(y1)} C{svg.num(middle)} {svg.num(y1)} {svg.num(middle)} {svg.num(y2)}"
        wire = svg.path(f"{bend} {svg.num(x2)} {svg.num(y2)}", fill="none", stroke=colour, stroke_width=2.2)
    if apart is not None:
        return [wire, _plug(x1, y1, colour), _plug(x2, y2, colour), _beside(link, middle, (y1 + y2) / 2, colour)]
    ports = (link.source_port, link.source_address), (link.target_port, link.target_address)
    (left_port, left_address), (right_port, right_address) = ports if forward else ports[::-1]
    plugs = [_plug(x1, y1, colour), _plug(x2, y2, colour)]
    half = (room[1] - room[0]) / 2 - 8
    # Labels keep clear of the wire: a straight one runs between address and port, a bent one leaves a side free.
    bent = (y2 > y1) - (y2 < y1)
    labels = [
        *_labels(room[0] + 4, y1, "start", half, left_address, left_port, -bent),
        *_labels(room[1] - 4, y2, "end", half, right_address, right_port, bent),
    ]
    return [wire, *plugs, *labels, *_measures(link, middle, (y1 + y2) / 2, 2 * half, bool(bent))]


def _beside(link: PictureLink, x: float, y: float, colour: str) -> str:
    """What is said of one of several links side by side: there is room for a line only."""
    words = " · ".join(t for t in _texts(link) if t)
    return svg.text(x, y - 4, words, 10, anchor="middle", fill=colour, room=150, halo="#fbfcfd") if words else ""


def _labels(x: float, y: float, anchor: str, room: float, address: str, port: str, side: int) -> list[str]:
    """An address and a port's name at one end of a link: around the wire, or both above (-1) or below it (1)."""
    address_y, port_y = {0: (y - 8, y + 17), -1: (y - 8, y - 22), 1: (y + 17, y + 31)}[side]
    return [
        svg.text(x, at, words, 10, fill=svg.GREY, anchor=anchor, room=room, mono=mono, halo="#fbfcfd")
        for at, words, mono in ((address_y, address, True), (port_y, port, False))
        if words
    ]


def _below(
    link: PictureLink, source: Place, target: Place, y: float, colour: str, feet: tuple[float, float]
) -> list[str]:
    """A link that leaves downwards, runs below everything and comes up again."""
    x1, y1 = source.middle[0] + feet[0], source.y + source.h
    x2, y2 = target.middle[0] + feet[1], target.y + target.h
    turn = 10 if x2 > x1 else -10
    n = svg.num
    bend = (
        f"M{n(x1)} {n(y1)} V{n(y - 10)} Q{n(x1)} {n(y)} {n(x1 + turn)} {n(y)} "
        f"H{n(x2 - turn)} Q{n(x2)} {n(y)} {n(x2)} {n(y - 10)} V{n(y2)}"
    )
    words = [t for t in (link.source_address, *_texts(link), link.target_address) if t]
    label = svg.text(
        (x1 + x2) / 2, y - 6, " · ".join(words), 10.5, anchor="middle", room=abs(x2 - x1) - 40, halo="#fbfcfd"
    )
    wire = svg.path(bend, fill="none", stroke=colour, stroke_width=2.2)
    return [wire, _plug(x1, y1, colour), _plug(x2, y2, colour), label]


def _plug(x: float, y: float, colour: str) -> str:
    return svg.rect(x - 4.5, y - 4.5, 9, 9, 2, fill="#ffffff", stroke=colour, stroke_width=2)


def _lost(link: PictureLink) -> bool:
    return link.sent is not None and link.received is not None and link.received < link.sent


def _texts(link: PictureLink) -> tuple[str, str]:
    """Latency and packets in words."""
    latency = ""
    if link.latency_us is not None:
        us = link.latency_us
        latency = f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.3g} µs"
    if link.received is None:
        return latency, f"{link.sent} packets" if link.sent is not None else ""
    of = f"{link.received}/{link.sent}" if link.sent is not None else str(link.received)
    return latency, f"{of} packets"


def _measures(link: PictureLink, x: float, y: float, room: float, beside: bool) -> list[str]:
    """Latency and packets above and below a straight wire, or beside a bent one."""
    latency, packets = _texts(link)
    anchor, x = ("start", x + 14) if beside else ("middle", x)
    above, below = (y - 3, y + 13) if beside else (y - 27, y + 38)
    parts = []
    if latency:
        parts.append(svg.text(x, above, latency, 12, bold=True, anchor=anchor, room=room, halo="#fbfcfd"))
    if packets:
        colour = "#c9302c" if _lost(link) else "#1c7a48"
        parts.append(svg.text(x, below, packets, 11, fill=colour, anchor=anchor, room=room, halo="#fbfcfd"))
    return parts
