"""Signs of life of guests: a microVM's heartbeat file, a VM's agent."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from plugins.local import qmp
from plugins.local.agent import Agent

HEARTBEAT = "heartbeat"
"""In a microVM's state folder: its time of change is the clock's (CLOCK_MONOTONIC) when the guest last answered."""
AGENT_HEARD = "agent-heard"
"""In a VM's folder: its guest has an agent, which was heard. Without it nothing can be said about the guest."""
_PARTS = 3
_MONITOR_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a microVM's runtime tells of it: qemu's pid (0: not told), why it ended before its payload did, and whether
    the payload has ended."""

    pid: int
    reason: str
    payload_ended: bool


def machine_of(folder: Path) -> Machine | None:
    """By its state folder; None where the runtime keeps no such file."""
    try:
        told = json.loads((folder / "state.json").read_bytes())
        payload_ended = told.get("exit_code") is not None and not told.get("reason")
        return Machine(int(told.get("qemu_pid") or 0), str(told.get("reason") or ""), payload_ended)
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def pulse_age_seconds(folder: Path, monotonic_now: float) -> float | None:
    """Since the guest last answered its relay; None where the runtime notes no such thing."""
    try:
        return monotonic_now - (folder / HEARTBEAT).stat().st_mtime_ns / 1e9
    except OSError:
        return None


def silence_of_microvm(folder: Path, bound_seconds: float) -> str:
    """Why the guest counts as hung; empty where it does not, or nothing is known."""
    age = pulse_age_seconds(folder, time.monotonic())
    if age is None or age < bound_seconds:
        return ""
    return f"the guest has been silent for more than {bound_seconds:g} s"


def note_agent(folder: Path) -> None:
    """The VM's agent was heard."""
    (folder / AGENT_HEARD).touch()


class AgentListener:
    """Asks one VM's agent now and then. Its silence is counted while listening only, so that a pause of this process
    or of the whole host is nobody's silence."""

    def __init__(self, folder: Path, agent: Agent, bound_seconds: float, boot_seconds: float) -> None:
        self._folder = folder
        self._agent = agent
        self._bound_seconds = bound_seconds
        self._boot_seconds = boot_seconds
        self._silent_seconds = 0.0

    async def listen(self) -> str | None:
        """Takes some seconds. Why the guest counts as hung, empty where it does not; None where it has no agent."""
        if not (self._folder / AGENT_HEARD).exists():
            return None
        part = self._bound_seconds / _PARTS
        began = time.monotonic()
        if await self._agent.hear(part):
            self._silent_seconds = 0.0
            await asyncio.sleep(part)
            return ""
        self._silent_seconds += part
        await asyncio.sleep(max(0.0, part - (time.monotonic() - began)))
        if self._silent_seconds < self._bound_seconds:
            return ""
        # A guest that boots anew has its end of the port closed, and gets the time that a boot may take.
        is_open = await asyncio.to_thread(_port_is_open, self._folder)
        if not is_open and self._silent_seconds < self._boot_seconds:
            return ""
        return f"the guest's agent has been silent for more than {self._bound_seconds:g} s"


def _port_is_open(folder: Path) -> bool:
    """Whether the guest has its end of the agent's port open, as qemu sees it. A silent qemu hangs itself."""
    try:
        devices = qmp.execute(folder, "query-chardev", _MONITOR_SECONDS)
    except qmp.QmpError:
        return True
    return any(device.get("label") == "agent" and device.get("frontend-open") for device in devices)


def forget_agent(folder: Path) -> None:
    """Before a start: whether there is one is found out anew."""
    with suppress(FileNotFoundError):
        os.unlink(folder / AGENT_HEARD)
