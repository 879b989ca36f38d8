"""Draws one flavour of a VNFD: its VDUs, their connection points, internal virtual links below, external CPs above."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.graph import svg
from vnfm.graph.looks import LOOKS, pill
from vnfm.model.connectivity import Cpd, ExtCpd
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour, Vnfd

PIN, CARD_W, CARD_H, GAP = 92.0, 250.0, 164.0, 34.0
SIDE, TOP, RISE, BUS = 36.0, 96.0, 74.0, 44.0
LINK_NAMES = 150.0  # room at the left for the names of internal links


@dataclass(frozen=True, slots=True)
class _Pin:
    """A connection point at a card's edge: upwards to an external CP, downwards to an internal link."""

    cp: Cpd
    x: float
    up: bool


@dataclass(frozen=True, slots=True)
class _Slot:
    """A VDU's card and its pins."""

    vdu: Vdu
    x: float
    w: float
    pins: tuple[_Pin, ...]


def draw_vnfd(vnfd: Vnfd, flavour: str = "") -> str:
    """A flavour of a VNFD as an SVG document; the first for an empty id. Raises ProblemError `unknown-flavour`."""
    chosen = vnfd.flavour(flavour)
    if chosen is None:
        known = ", ".join(f.id for f in vnfd.flavours) or "there is none"
        raise problem(
            "unknown-flavour", f"VNFD {vnfd.id} has no flavour {flavour!r}. Expected: {known}.", instance=vnfd.id
        )
    slots = _slots(chosen)
    inner = max((s.x + s.w for s in slots), default=CARD_W)
    names = LINK_NAMES if chosen.virtual_links else 0.0
    risers = PIN * len(_direct_cps(chosen, slots))
    heading = f"{vnfd.provider} · version {vnfd.version} · flavour {chosen.id}"
    wide = max(names + inner + risers + 2 * SIDE + 20, 560.0)
    shift = (wide - names - inner - risers) / 2 + names
    frame_top = TOP + RISE
    cards_y = frame_top + 60
    buses = {link.id: cards_y + CARD_H + 46 + i * BUS for i, link in enumerate(chosen.virtual_links)}
    frame_bottom = (max(buses.values()) if buses else cards_y + CARD_H) + 34
    body = [
        svg.text(SIDE, 48, vnfd.product or vnfd.id, 24, bold=True, room=wide - 2 * SIDE),
        svg.text(SIDE, 72, heading, 13, fill=svg.GREY, room=wide - 2 * SIDE),
        svg.rect(
            18, frame_top, wide - 36, frame_bottom - frame_top, 14, fill="#f1f5f8", stroke="#b9c6d2", stroke_width=1.5
        ),
    ]
    body += _buses(chosen, buses, wide)
    for slot in slots:
        body += _wires(chosen, slot, buses, shift, cards_y, frame_top)
        body += _vdu(slot, shift + slot.x, cards_y)
        body += [_pin_sign(shift + slot.x + p.x, cards_y if p.up else cards_y + CARD_H) for p in slot.pins]
    body += _direct(chosen, buses, slots, wide, frame_top)
    for number, words in enumerate(_footer(vnfd, chosen)):
        y = frame_bottom + 30 + 18 * number
        body.append(svg.text(SIDE, y, words, 11.5, fill=svg.GREY, room=wide - 2 * SIDE))
    return svg.document(wide, frame_bottom + 72, f"VNFD {vnfd.product}", body)


def _slots(flavour: Flavour) -> tuple[_Slot, ...]:
    slots, x = [], 0.0
    exposed = {e.cpd_id for e in flavour.external_cps}
    links = {link.id for link in flavour.virtual_links}
    for vdu in flavour.vdus:
        cps = sorted((c for c in flavour.cps if c.vdu_id == vdu.id), key=lambda c: (c.order, c.id))
        down = [c for c in cps if c.virtual_link in links and c.id not in exposed]
        up = [c for c in cps if c not in down]
        w = max(CARD_W, PIN * max(len(up), len(down)))
        pins = [_Pin(cp, w * (i + 0.5) / len(row), row is up) for row in (up, down) for i, cp in enumerate(row)]
        slots.append(_Slot(vdu, x, w, tuple(pins)))
        x += w + GAP
    return tuple(slots)


def _runtime(vdu: Vdu) -> Runtime | None:
    """The lightest realization that the VDU's images and needs leave, which its look hints at."""
    if vdu.disk_image is not None or vdu.needs.own_os or vdu.needs.isolation is Isolation.MACHINE:
        return Runtime.VM
    if not vdu.containers:
        return None
    return Runtime.KATA if vdu.needs.own_kernel or vdu.needs.isolation is Isolation.KERNEL else Runtime.CONTAINER


def _vdu(slot: _Slot, x: float, y: float) -> list[str]:
    vdu, look = slot.vdu, LOOKS[_runtime(slot.vdu)]
    parts = []
    if vdu.max_instances > 1:
        parts += [look.shape(x + o, y - o, slot.w, CARD_H, look.colour, look.tint) for o in (8, 4)]
    room = slot.w - 72
    count = f"{vdu.initial_instances} instance{'' if vdu.initial_instances == 1 else 's'}"
    if (vdu.min_instances, vdu.max_instances) != (vdu.initial_instances, vdu.initial_instances):
        count += f" ({vdu.min_instances} to {vdu.max_instances})"
    size = f"{vdu.cpu_milli / 1000:g} CPU · {_bytes(vdu.memory_bytes)} of memory"
    parts += [
        look.shape(x, y, slot.w, CARD_H, look.colour, look.tint),
        look.sign(x + 18, y + 20, look.colour),
        svg.text(x + 54, y + 35, vdu.id, 16, bold=True, room=room),
        svg.text(x + 54, y + 51, _images(vdu), 11, fill=svg.GREY, room=room),
        svg.text(x + 18, y + 76, count, 11, room=slot.w - 36),
        svg.text(x + 18, y + 92, size, 11, room=slot.w - 36),
    ]
    at, line = x + 18, y + 102
    for word in _needs(vdu):
        badge, w = pill(at, line, svg.fit(word, 9.5, slot.w - 60, True), look.colour, 9.5)
        if at > x + 18 and at + w > x + slot.w - 14:
            at, line = x + 18, line + 23
            badge, w = pill(at, line, svg.fit(word, 9.5, slot.w - 60, True), look.colour, 9.5)
        if line + 20 > y + CARD_H - 10:
            break
        parts.append(badge)
        at += w + 6
    return parts


def _images(vdu: Vdu) -> str:
    images = [vdu.disk_image] if vdu.disk_image else [c.image for c in vdu.containers]
    return ", ".join(f"{image.name} ({image.format.value})" for image in images if image) or vdu.name


def _needs(vdu: Vdu) -> list[str]:
    needs = vdu.needs
    words = [f"isolation {needs.isolation.name.lower()}"] if needs.isolation is not Isolation.NONE else []
    every: Mapping[str, bool] = {
        "own OS": needs.own_os,
        "own kernel": needs.own_kernel and not needs.own_os,
        f"hop ≤ {needs.max_hop_us} µs": needs.max_hop_us is not None,
        f"start ≤ {needs.max_startup_ms} ms": needs.max_startup_ms is not None,
        "pinned CPUs": needs.cpu_pinned,
        f"huge pages {_bytes(needs.hugepage_bytes)}": needs.hugepage_bytes > 0,
        f"SR-IOV ×{needs.sriov_ports}": needs.sriov_ports > 0,
        f"GPU ×{needs.gpus}": needs.gpus > 0,
    }
    return words + [word for word, there in every.items() if there]


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"


def _wires(
    flavour: Flavour, slot: _Slot, buses: Mapping[str, float], shift: float, cards_y: float, frame_top: float
) -> list[str]:
    parts = []
    external = {e.cpd_id: e for e in flavour.external_cps}
    for pin in slot.pins:
        x = shift + slot.x + pin.x
        outside = external.get(pin.cp.id)
        if pin.up:
            y = cards_y
            if outside is not None:
                parts.append(svg.line(x, frame_top - 26, x, y, stroke="#33475b", stroke_width=2))
                parts += _port(x, frame_top, outside)
            label_y = y - 12
        else:
            y = cards_y + CARD_H
            parts.append(svg.line(x, y, x, buses[pin.cp.virtual_link], stroke="#33475b", stroke_width=2))
            parts.append(svg.circle(x, buses[pin.cp.virtual_link], 4.5, fill="#33475b"))
            label_y = y + 20
        if outside is None or outside.id != pin.cp.id:
            words = f"{pin.cp.id} · {pin.cp.vnic_type}" if pin.cp.vnic_type not in ("", "normal") else pin.cp.id
            parts.append(svg.text(x + 8, label_y, words, 10.5, fill=svg.GREY, room=PIN - 14, halo="#f1f5f8"))
        elif pin.cp.vnic_type not in ("", "normal"):
            parts.append(svg.text(x + 8, label_y, pin.cp.vnic_type, 10.5, fill=svg.GREY, room=PIN - 14, halo="#f1f5f8"))
    return parts


def _pin_sign(x: float, y: float) -> str:
    return svg.rect(x - 4.5, y - 4.5, 9, 9, 2, fill="#ffffff", stroke="#33475b", stroke_width=2)


def _port(x: float, frame_top: float, external: ExtCpd) -> list[str]:
    """An external CP on the VNF's frame."""
    return [
        svg.circle(x, frame_top, 7, fill="#ffffff", stroke="#33475b", stroke_width=2.2),
        svg.circle(x, frame_top, 2.6, fill="#33475b"),
        svg.text(x, frame_top - 34, external.id, 12, bold=True, anchor="middle", room=PIN - 4),
    ]


def _buses(flavour: Flavour, buses: Mapping[str, float], wide: float) -> list[str]:
    parts = []
    for link in flavour.virtual_links:
        y = buses[link.id]
        detail = " · ".join([*link.cidrs[:1], *([f"≤ {link.max_latency_us} µs"] if link.max_latency_us else [])])
        parts.append(svg.line(34, y, wide - 34, y, stroke="#7b8ea0", stroke_width=4, stroke_linecap="round"))
        parts.append(svg.text(36, y - 9, link.id, 11.5, bold=True, room=LINK_NAMES - 12))
        parts.append(svg.text(36, y + 16, detail, 10.5, fill=svg.GREY, room=LINK_NAMES - 12))
    return parts


def _direct_cps(flavour: Flavour, slots: tuple[_Slot, ...]) -> list[ExtCpd]:
    """External CPs that lead to an internal link instead of a VDU."""
    on_cards = {pin.cp.id for slot in slots for pin in slot.pins if pin.up}
    links = {link.id for link in flavour.virtual_links}
    return [e for e in flavour.external_cps if e.cpd_id not in on_cards and e.virtual_link in links]


def _direct(
    flavour: Flavour, buses: Mapping[str, float], slots: tuple[_Slot, ...], wide: float, frame_top: float
) -> list[str]:
    """They run down the right side."""
    parts, x = [], wide - SIDE - PIN / 2
    for external in _direct_cps(flavour, slots):
        y = buses[external.virtual_link]
        parts.append(svg.line(x, frame_top - 26, x, y, stroke="#33475b", stroke_width=2))
        parts.append(svg.circle(x, y, 4.5, fill="#33475b"))
        parts += _port(x, frame_top, external)
        x -= PIN
    return parts


def _footer(vnfd: Vnfd, flavour: Flavour) -> list[str]:
    levels = ", ".join(level.id + ("*" if level.default else "") for level in flavour.instantiation_levels)
    aspects = ", ".join(f"{aspect.id} (0 to {aspect.max_level})" for aspect in flavour.scaling_aspects)
    known = [f"levels {levels}"] if levels else []
    known += [f"scaling {aspects}"] if aspects else []
    return [f"VNFD {vnfd.id}", " · ".join(known)] if known else [f"VNFD {vnfd.id}"]
