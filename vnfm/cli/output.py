"""Printing: JSON and YAML for programs, tables for people. Results go to stdout, all else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Format(StrEnum):
    """What -o takes."""

    json = "json"
    yaml = "yaml"
    table = "table"


def chosen(option: Format | None, stdout: TextIO) -> Format:
    """Without -o a terminal gets tables, a program JSON."""
    return option or (Format.table if stdout.isatty() else Format.json)


def console(stream: TextIO | None = None) -> Console:
    """A rich console; its width is the terminal's, or COLUMNS, or 100."""
    from rich.console import Console

    target = stream or sys.stdout
    plain = Console(file=target, highlight=False)
    if plain.is_terminal or "COLUMNS" in plain._environ:
        return plain
    return Console(file=target, highlight=False, width=100)


def emit(data: Any, form: Format, table: Callable[[], RenderableType]) -> None:
    """`data` as JSON or YAML, or what `table` renders."""
    if form is Format.json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    elif form is Format.yaml:
        sys.stdout.write(_yaml(data))
    else:
        console().print(table())


def emit_line(data: Any, form: Format, line: Callable[[], str]) -> None:
    """One entry of a running list: a JSON object a line, a YAML document, or a line for people."""
    if form is Format.json:
        print(json.dumps(data, ensure_ascii=False), flush=True)
    elif form is Format.yaml:
        sys.stdout.write("---\n" + _yaml(data))
        sys.stdout.flush()
    else:
        print(line(), flush=True)


def _yaml(data: Any) -> str:
    """By libyaml where there is one: a large inventory takes a third of the time."""
    import yaml

    dumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
    text: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def say(text: str) -> None:
    """A message for people, on stderr."""
    print(text, file=sys.stderr, flush=True)
