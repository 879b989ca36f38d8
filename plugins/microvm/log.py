"""Errors in the form in which runc writes them for whoever started it."""

from __future__ import annotations

import json
import time


def write_log(path: str, form: str, level: str, text: str) -> None:
    """Append to the log file; without one nothing is written."""
    if not path:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if form == "json":
        line = json.dumps({"level": level, "msg": text, "time": now})
    else:
        line = f'time="{now}" level={level} msg={json.dumps(text)}'
    try:
        with open(path, "a") as file:
            file.write(line + "\n")
    except OSError:
        # The failure itself was told on standard error as well.
        return
