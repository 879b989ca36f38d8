"""The file that says what a container is doing.  Written by `create` until the relay is up, then by the relay alone."""

from __future__ import annotations

import json
import os

NAME = "state.json"
CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"

# Values are whatever JSON holds.
Fields = dict[str, object]


def read(folder: str) -> Fields:
    """All fields; FileNotFoundError without the file."""
    with open(f"{folder}/{NAME}", "rb") as file:
        fields: Fields = json.loads(file.read())
        return fields


def update(folder: str, **changes: object) -> None:
    """Change some fields, whole or not at all."""
    try:
        fields = read(folder)
    except FileNotFoundError:
        fields = {}
    fields.update(changes)
    temporary = f"{folder}/.{NAME}.{os.getpid()}"
    with open(temporary, "w") as file:
        json.dump(fields, file)
    os.replace(temporary, f"{folder}/{NAME}")


def start_time(pid: int) -> int:
    """When a process started, in the kernel's ticks: with the pid it names one process.  0 = no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    # A zombie has ended, though its number is still taken.
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
