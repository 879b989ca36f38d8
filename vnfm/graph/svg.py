"""The few SVG shapes that pictures need. Numbers are rounded, so that equal input gives equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

FONT = "'Inter', 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
INK, GREY, FAINT, PAPER = "#1c2733", "#5b6b7b", "#d5dde5", "#ffffff"

_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]/ "), frozenset("mwMW@%—…")


def clean(text: str) -> str:
    """Text as XML can carry it: control characters are replaced, the rest is escaped."""
    return escape("".join(c if c.isprintable() else "�" for c in text), quote=True)


def width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a text is, rather more than less: fonts differ."""
    units = sum(
        0.40 if c in _NARROW else 1.0 if c in _WIDE or ord(c) > 0x2E7F else 0.72 if c.isupper() else 0.63 for c in text
    )
    return units * size * (1.08 if bold else 1.0)


def fit(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, with its middle left out where it is wider than `room`."""
    if width(text, size, bold) <= room:
        return text
    for keep in range(len(text) - 1, 1, -1):
        cut = text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]
        if width(cut, size, bold) <= room:
            return cut
    return "…"


def num(value: float) -> str:
    """A number with one decimal at most."""
    return f"{round(value, 1):g}"


def tag(name: str, attributes: Mapping[str, object], *content: str) -> str:
    """An element. Numbers are rounded; an attribute that is empty is left out."""
    parts = [name]
    for key, value in attributes.items():
        if value != "":
            shown = num(value) if isinstance(value, int | float) else clean(str(value))
            parts.append(f'{key}="{shown}"')
    head = " ".join(parts)
    return f"<{head}>{''.join(content)}</{name}>" if content else f"<{head}/>"


def text(
    x: float,
    y: float,
    words: str,
    size: float = 12,
    *,
    fill: str = INK,
    bold: bool = False,
    anchor: str = "start",
    room: float = 0,
    mono: bool = False,
    halo: str = "",
) -> str:
    """A line of text whose baseline is at y. With `room` it is cut to fit and tells the whole as a tooltip."""
    shown = fit(words, size, room, bold) if room else words
    attributes: dict[str, object] = {
        "x": x,
        "y": y,
        "font-size": size,
        "fill": fill,
        "font-weight": "600" if bold else "",
        "text-anchor": anchor if anchor != "start" else "",
        "font-family": "'JetBrains Mono', 'DejaVu Sans Mono', Consolas, monospace" if mono else "",
    }
    if halo:
        attributes |= {"stroke": halo, "stroke-width": 4, "stroke-linejoin": "round", "paint-order": "stroke"}
    tip = tag("title", {}, clean(words)) if shown != words else ""
    return tag("text", attributes, tip + clean(shown))


def rect(x: float, y: float, w: float, h: float, radius: float = 0, **style: object) -> str:
    """A rectangle; style names have underscores for dashes."""
    return tag("rect", {"x": x, "y": y, "width": w, "height": h, "rx": radius or ""} | _style(style))


def line(x1: float, y1: float, x2: float, y2: float, **style: object) -> str:
    """A straight line."""
    return tag("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2} | _style(style))


def circle(x: float, y: float, r: float, **style: object) -> str:
    """A circle."""
    return tag("circle", {"cx": x, "cy": y, "r": r} | _style(style))


def path(d: str, **style: object) -> str:
    """A path."""
    return tag("path", {"d": d} | _style(style))


def polygon(points: Sequence[tuple[float, float]], **style: object) -> str:
    """A closed shape."""
    return tag("polygon", {"points": " ".join(f"{num(x)},{num(y)}" for x, y in points)} | _style(style))


def _style(style: Mapping[str, object]) -> dict[str, object]:
    return {key.replace("_", "-"): value for key, value in style.items()}


def document(w: float, h: float, title: str, body: Sequence[str]) -> str:
    """A whole SVG file on a light ground."""
    head = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {num(w)} {num(h)}",
        "width": w,
        "height": h,
        "font-family": FONT,
        "role": "img",
    }
    ground = rect(0, 0, w, h, fill="#fbfcfd")
    content = "\n".join(("", tag("title", {}, clean(title)), ground, *body, ""))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tag("svg", head, content)}\n'
