"""What stands below a picture: which look is which realization, which colour which path."""

from __future__ import annotations

from dataclasses import dataclass

from vnfm.graph import svg
from vnfm.graph.looks import LOOKS
from vnfm.model.placement import Runtime

MARGIN = 36.0
PATH_COLOURS = ("#2f6db5", "#b5651d", "#3a8f5c", "#8e44ad", "#6b7885")


@dataclass(frozen=True, slots=True)
class PicturePath:
    """A path, where there are several. `detail` is what traffic takes it."""

    name: str
    detail: str = ""


def legend_width(runtimes: list[Runtime | None]) -> float:
    """The room that `legend` takes."""
    return sum(44 + svg.width(LOOKS[r].meaning, 11.5) + 22 for r in runtimes)


def legend(runtimes: list[Runtime | None], y: float) -> list[str]:
    """Which look is which realization."""
    parts, x = [], MARGIN
    for runtime in runtimes:
        look = LOOKS[runtime]
        parts.append(look.sign(x, y - 8, look.colour))
        parts.append(svg.text(x + 34, y + 9, look.meaning, 11.5, fill=svg.GREY))
        x += 44 + svg.width(look.meaning, 11.5) + 22
    return parts


def path_legend(paths: tuple[PicturePath, ...], y: float) -> list[str]:
    """Which colour is which path, and what traffic takes it."""
    parts, x = [], MARGIN
    for number, path in enumerate(paths):
        words = f"path {path.name}{': ' if path.detail else ''}{path.detail}"
        parts.append(svg.line(x, y + 5, x + 26, y + 5, stroke=PATH_COLOURS[number % len(PATH_COLOURS)], stroke_width=3))
        parts.append(svg.text(x + 34, y + 9, words, 11.5, fill=svg.GREY))
        x += 44 + svg.width(words, 11.5) + 22
    return parts
