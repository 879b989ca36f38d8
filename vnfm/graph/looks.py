"""How a realization looks: shape, colour, sign and word, so that one tells them apart at a glance and in print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vnfm.graph import svg
from vnfm.model.placement import Runtime


@dataclass(frozen=True, slots=True)
class Look:
    """`shape` draws the card's outline, `sign` a sign of 26 by 26."""

    word: str
    colour: str
    tint: str
    shape: Callable[[float, float, float, float, str, str], str]
    sign: Callable[[float, float, str], str]
    meaning: str


def _container(x: float, y: float, w: float, h: float, colour: str, tint: str) -> str:
    """Round corners and the ribs of a shipping container along both long sides."""
    ribs = "".join(
        svg.line(x + 16 + i * 8, top, x + 16 + i * 8, top + 5, stroke=colour, stroke_width=1.6, opacity=0.55)
        for top in (y + 3, y + h - 8)
        for i in range(int((w - 32) // 8) + 1)
    )
    return svg.rect(x, y, w, h, 14, fill=tint, stroke=colour, stroke_width=2) + ribs


def _microvm(x: float, y: float, w: float, h: float, colour: str, tint: str) -> str:
    """Cut corners and a second, broken line: a small kernel of its own around it."""

    def corners(inset: float, cut: float) -> list[tuple[float, float]]:
        left, top, right, bottom = x + inset, y + inset, x + w - inset, y + h - inset
        return [
            (left + cut, top),
            (right - cut, top),
            (right, top + cut),
            (right, bottom - cut),
            (right - cut, bottom),
            (left + cut, bottom),
            (left, bottom - cut),
            (left, top + cut),
        ]

    return svg.polygon(corners(0, 18), fill=tint, stroke=colour, stroke_width=2) + svg.polygon(
        corners(5, 16), fill="none", stroke=colour, stroke_width=1.2, stroke_dasharray="5 4", opacity=0.7
    )


def _vm(x: float, y: float, w: float, h: float, colour: str, tint: str) -> str:
    """Square corners, a double line and a bar on top: a whole machine."""
    return (
        svg.rect(x, y, w, h, fill=tint, stroke=colour, stroke_width=2.4)
        + svg.rect(x + 5, y + 5, w - 10, h - 10, fill="none", stroke=colour, stroke_width=1.2)
        + svg.rect(x, y, w, 6, fill=colour)
    )


def _undecided(x: float, y: float, w: float, h: float, colour: str, tint: str) -> str:
    return svg.rect(x, y, w, h, 6, fill=tint, stroke=colour, stroke_width=1.6, stroke_dasharray="3 4")


def _box_sign(x: float, y: float, colour: str) -> str:
    at = [x + 7 + i * 4 for i in range(4)]
    ribs = "".join(svg.line(rib, y + 9, rib, y + 19, stroke=colour, stroke_width=1.5) for rib in at)
    return svg.rect(x + 2, y + 5, 22, 18, 2, fill="#ffffff", stroke=colour, stroke_width=2) + ribs


def _chip_sign(x: float, y: float, colour: str) -> str:
    pins = "".join(
        svg.line(x + 8 + i * 5, top, x + 8 + i * 5, top + 4, stroke=colour, stroke_width=1.6)
        + svg.line(left, y + 8 + i * 5, left + 4, y + 8 + i * 5, stroke=colour, stroke_width=1.6)
        for i in range(3)
        for top, left in ((y + 1, x + 1), (y + 21, x + 21))
    )
    return (
        pins
        + svg.rect(x + 5, y + 5, 16, 16, 2, fill="#ffffff", stroke=colour, stroke_width=2)
        + svg.rect(x + 10, y + 10, 6, 6, fill=colour)
    )


def _screen_sign(x: float, y: float, colour: str) -> str:
    return (
        svg.rect(x + 1, y + 3, 24, 16, 1, fill="#ffffff", stroke=colour, stroke_width=2)
        + svg.line(x + 13, y + 19, x + 13, y + 23, stroke=colour, stroke_width=2)
        + svg.line(x + 7, y + 24, x + 19, y + 24, stroke=colour, stroke_width=2)
    )


def _question_sign(x: float, y: float, colour: str) -> str:
    return svg.circle(x + 13, y + 13, 11, fill="#ffffff", stroke=colour, stroke_width=1.8) + svg.text(
        x + 13, y + 18, "?", 15, fill=colour, bold=True, anchor="middle"
    )


LOOKS: dict[Runtime | None, Look] = {
    Runtime.CONTAINER: Look(
        "CONTAINER", "#0b7a75", "#e7f6f4", _container, _box_sign, "container: shares its host's kernel"
    ),
    Runtime.KATA: Look("MICROVM", "#b4540a", "#fff4e4", _microvm, _chip_sign, "microVM (KATA): a kernel of its own"),
    Runtime.VM: Look("VM", "#4339b8", "#eeeefc", _vm, _screen_sign, "VM: an operating system of its own"),
    None: Look("NOT PLACED", "#6b7885", "#f4f6f8", _undecided, _question_sign, "not placed yet"),
}

STATES: dict[str, str] = {
    "STARTED": "#1c9a57",
    "INSTANTIATED": "#1c9a57",
    "COMPLETED": "#1c9a57",
    "WELL": "#1c9a57",
    "HEALING": "#c27803",
    "BUILDING": "#1f6fd1",
    "ABSENT": "#c9302c",
    "PROCESSING": "#1f6fd1",
    "STARTING": "#1f6fd1",
    "ROLLING_BACK": "#c27803",
    "STOPPED": "#6b7885",
    "NOT_INSTANTIATED": "#6b7885",
    "FAILED": "#c9302c",
    "FAILED_TEMP": "#c9302c",
}


def state_colour(state: str) -> str:
    """The colour of a state; grey for one that we do not know."""
    return STATES.get(state.upper(), "#6b7885")


def pill(x: float, y: float, word: str, colour: str, size: float = 10.5) -> tuple[str, float]:
    """A word on a coloured ground, its top left at (x, y), and how wide it is."""
    w = svg.width(word, size, True) + 16
    return (
        svg.rect(x, y, w, size + 9, (size + 9) / 2, fill=colour)
        + svg.text(x + w / 2, y + size + 3.2, word, size, fill="#ffffff", bold=True, anchor="middle"),
        w,
    )
