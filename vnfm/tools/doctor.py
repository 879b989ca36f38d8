"""`vnfm doctor`: what this host can realize, what is missing, and the command that mends it.

The local VIM plugin knows best what it needs, so the checks are its own, run as a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

PLUGIN_DOCTOR = (sys.executable, "-m", "plugins.local", "doctor", "-o", "json")
TIMEOUT_S = 120.0


def examine(command: Sequence[str] = PLUGIN_DOCTOR, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """{"ok", "checks": [{"name", "ok", "detail", "fix"}]}; a doctor that does not answer is a failed check itself."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _no_answer(str(error))
    try:
        report = json.loads(done.stdout)
        checks = [
            {
                "name": str(c["name"]),
                "ok": bool(c["ok"]),
                "detail": str(c.get("detail") or ""),
                "fix": str(c.get("fix") or ""),
            }
            for c in report["checks"]
        ]
        return {"ok": bool(report["ok"]), "checks": checks}
    except (ValueError, KeyError, TypeError):
        words = (done.stderr or done.stdout).strip().splitlines()
        return _no_answer(words[-1] if words else f"exit code {done.returncode}")


def _no_answer(why: str) -> dict[str, Any]:
    detail = f"the local VIM plugin's own checks did not answer: {why}"
    check = {"name": "local VIM plugin", "ok": False, "detail": detail, "fix": "make setup"}
    return {"ok": False, "checks": [check]}


def show(report: dict[str, Any], form: str) -> int:
    """Print the report as json, yaml or table; 0 where all is well, else 1."""
    from vnfm.cli.output import Format, emit
    from vnfm.cli.render import grid

    def table() -> Any:
        from rich.text import Text

        rows = []
        for check in report["checks"]:
            good = check["ok"]
            mark = Text("ok", style="green") if good else Text("missing", style="red")
            fix = "" if good or not check["fix"] else f"\n→ {check['fix']}"
            rows.append((mark, check["name"], f"{check['detail']}{fix}"))
        return grid("", ["", "Check", "Detail"], rows)

    emit(report, Format(form), table)
    return 0 if report["ok"] else 1
