"""The `vnfm` command. What works on a package's file starts with nothing else loaded; the rest is vnfm.commands."""

from __future__ import annotations

import sys

OFFLINE = ("validate", "graph", "extract", "build")
"""Commands of `vnfm package` that never ask a manager."""


def main() -> None:
    """The command's entry point."""
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:  # while something is loaded; commands see to it by themselves
        raise SystemExit(130) from None


def _run(words: list[str]) -> None:
    if words[:1] == ["package"] and words[1:2] and words[1] in OFFLINE:
        _offline(words[1:])
        return
    from vnfm.commands import Local, app

    app(obj=Local())


def _offline(words: list[str]) -> None:
    if words[0] != "build" and "--help" not in words:
        from vnfm.tosca.worker import prepare

        prepare()  # it loads while this process does
    from vnfm.tools.package import standalone

    standalone()


if __name__ == "__main__":
    main()
