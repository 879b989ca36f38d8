"""qemu's monitor (QMP), as much as is needed: one command a connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from plugins.local import qemu
from plugins.local.unixsocket import connect

_SECONDS = 10.0


class QmpError(Exception):
    """The monitor does not answer, or refuses."""


def execute(folder: Path, command: str, seconds: float = _SECONDS) -> Any:
    """The command's return value."""
    try:
        with connect(folder, qemu.QMP_SOCKET, seconds) as channel, channel.makefile("rwb") as stream:
            stream.readline()  # the greeting
            for name in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": name}).encode() + b"\n")
                stream.flush()
                answer = _answer(stream)
            return answer
    except (OSError, ValueError) as error:
        raise QmpError(f"qemu's monitor: {error}") from error


def _answer(stream: Any) -> Any:
    while line := stream.readline(1 << 20):
        message = json.loads(line)
        if "return" in message:
            return message["return"]
        if "error" in message:
            raise QmpError(f"qemu's monitor refuses: {message['error'].get('desc', '')}")
    raise QmpError("qemu's monitor went away")
