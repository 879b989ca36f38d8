"""Heat stacks: make, wait by events, find by name or tag, remove, clear away what Heat cannot."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
import structlog

from plugins.openstack import stamp as stamps
from plugins.openstack.cleanup import clear_away
from plugins.openstack.cloud import Cloud
from plugins.openstack.errors import ApiError, cause, hopeless, to_problem
from plugins.openstack.stamp import Stamp
from plugins.openstack.translate import Hot
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pluginkit.handlers import Report
from vnfm.pluginkit.problems import PluginError, already_exists, timed_out

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.15, 2.0
_MOVING_PAUSE_S = 0.05  # one event seldom comes alone
_PAUSE_SHARE = 50  # what has taken a minute need not be asked after more often than every second
_NAME_S, _LOOK_S = 60.0, 0.3
_CROWD = 4  # as many who wait at the same time may ask at full pace
_DONE = ("COMPLETE", "FAILED")
_CANCELLED = "DELETE cancelled"
log = structlog.get_logger("plugins.openstack")


@dataclass(frozen=True, slots=True)
class Stack:
    """As it is listed; `status` is Heat's: CREATE_COMPLETE."""

    id: str
    name: str
    status: str
    reason: str
    stamp: Stamp

    @property
    def path(self) -> str:
        """In Heat's API."""
        return f"/stacks/{self.name}/{self.id}"

    @property
    def complete(self) -> bool:
        """Made, and not being removed."""
        return self.status.endswith("_COMPLETE") and not self.status.startswith("DELETE")

    @property
    def failed(self) -> bool:
        """Given up by Heat."""
        return self.status.endswith("_FAILED")


def listed(found: Mapping[str, Any]) -> Stack | None:
    """One of a list; None where it bears no stamp, or is gone already and about to leave the list."""
    stamp = stamps.read(found.get("tags"))
    if stamp is None or found["stack_status"] == "DELETE_COMPLETE":
        return None
    return Stack(
        id=str(found["id"]),
        name=str(found["stack_name"]),
        status=str(found["stack_status"]),
        reason=str(found.get("stack_status_reason") or ""),
        stamp=stamp,
    )


class Stacks:
    """One project's stacks."""

    def __init__(self, cloud: Cloud, minutes: int) -> None:
        self._cloud = cloud
        self._minutes = minutes
        self._waiting = 0
        self._outputs: dict[str, dict[str, Any]] = {}
        self._ended: dict[str, str] = {}  # stack -> what its last event has said

    async def find(self, manager_id: str, resource_id: str) -> Stack | None:
        """The stack of these ids that bears our stamp."""
        name = stamps.stack_name(manager_id, resource_id)
        stacks = self._listed(await self._called(name))
        mine = [s for s in stacks if (s.stamp.owner.manager_id, s.stamp.resource_id) == (manager_id, resource_id)]
        return mine[0] if mine else None

    async def all(self, tag: str) -> list[Stack]:
        """All that bear the tag."""
        found = self._cloud.each("orchestration", "/stacks", "stacks", params={"tags": tag})
        return self._listed([one async for one in found])

    async def _called(self, name: str) -> list[Mapping[str, Any]]:
        answer = await self._cloud.get("orchestration", "/stacks", params={"name": name})
        return list(answer["stacks"])

    def _listed(self, found: Iterable[Mapping[str, Any]]) -> list[Stack]:
        """As they are: Heat writes a stack's last event a moment before the stack itself, and who has seen the event
        goes by it."""
        stacks = []
        for one in found:
            ended = self._ended.get(str(one["id"]), "")
            if one["stack_status"] == f"{ended.partition('_')[0]}_IN_PROGRESS":
                one = {**one, "stack_status": ended}
            elif ended:
                del self._ended[str(one["id"])]
            if stack := listed(one):
                stacks.append(stack)
        return stacks

    async def create(self, stamp: Stamp, hot: Hot, report: Report) -> Stack:
        """Make it and wait for it. Raises the real cause, with what exists as `partial`."""
        name = stamps.stack_name(stamp.owner.manager_id, stamp.resource_id)
        body = {
            "stack_name": name,
            "template": hot,
            "tags": ",".join(stamps.tags(stamp)),
            "timeout_mins": self._minutes,
            "disable_rollback": True,
        }
        stack = await self.created(await self._posted(stamp, name, body), report)
        if stack.id in self._outputs:
            told = {name: one["value"] for name, one in hot.get("outputs", {}).items()}
            literal = {name: value for name, value in told.items() if not isinstance(value, Mapping)}
            self._outputs[stack.id].update(literal)
        return stack

    async def _posted(self, stamp: Stamp, name: str, body: Mapping[str, Any]) -> Stack:
        """The stack that is being made. Where there is one of the name already it is joined if it is the same; one that
        goes away just now is waited for, since Heat says that it is gone a moment before its name is free."""
        until_s = time.monotonic() + _NAME_S
        while True:
            try:
                made = await self._cloud.call("orchestration", "POST", "/stacks", body)
                return Stack(str(made["stack"]["id"]), name, "CREATE_IN_PROGRESS", "", stamp)
            except ApiError as error:
                if error.status != 409:
                    raise self._refused(error, stamp) from error
                there = await self.find(stamp.owner.manager_id, stamp.resource_id)
                if there is not None and not there.status.startswith("DELETE"):
                    if there.stamp.digest != stamp.digest or there.failed:
                        raise to_problem(error, instance=stamp.resource_id) from error
                    return there  # of an earlier try that was not answered
                if there is None and any(not _is_going(one) for one in await self._called(name)):
                    detail = f"{error}: that stack bears no stamp of ours, so it stays: delete it in the project"
                    raise already_exists(stamp.resource_id, detail) from error
                if time.monotonic() > until_s:
                    raise to_problem(error, instance=stamp.resource_id) from error
            await asyncio.sleep(_LOOK_S)

    def _refused(self, error: ApiError, stamp: Stamp) -> PluginError:
        if error.status == 500 and self._cloud.transport.delegated:
            return PluginError(
                "trust-refused",
                f"{error}: Heat makes a trust for every stack, which Keystone refuses to an application credential "
                "unless it is unrestricted, and newer Keystones unless [security_compliance] "
                "allow_insecure_application_credential_trust_escalation is set: ask the cloud's operator, or use a "
                "user's password",
                grpc.StatusCode.PERMISSION_DENIED,
                instance=stamp.resource_id,
            )
        return to_problem(error, instance=stamp.resource_id)

    async def created(self, stack: Stack, report: Report) -> Stack:
        """Wait until it is made."""
        failures = await self.wait(stack, "CREATE", report)
        if failures is not None:
            raise await self._why(stack, failures)
        return replace(stack, status="CREATE_COMPLETE")

    async def retag(self, stack: Stack, stamp: Stamp, hot: Hot, report: Report) -> Stack:
        """Another stamp and template for a stack without resources."""
        body = {"template": hot, "tags": ",".join(stamps.tags(stamp)), "timeout_mins": self._minutes}
        marker = await self._last_event(stack)
        try:
            await self._put(stack, body)
        except ApiError as error:
            raise to_problem(error, instance=stamp.resource_id) from error
        self._outputs.pop(stack.id, None)
        failures = await self.wait(stack, "UPDATE", report, marker)
        if failures is not None:
            raise await self._why(stack, failures)
        return replace(stack, status="UPDATE_COMPLETE", stamp=stamp)

    async def _put(self, stack: Stack, body: Mapping[str, Any]) -> None:
        """Heat refuses while what it did last is not written down yet."""
        until_s = time.monotonic() + _NAME_S
        while True:
            try:
                await self._cloud.call("orchestration", "PUT", stack.path, body)
                return
            except ApiError as error:
                if error.status != 409 or time.monotonic() > until_s:
                    raise
            await asyncio.sleep(_LOOK_S)

    async def outputs(self, stack: Stack) -> dict[str, Any]:
        """By name; ids of native objects never change, so they are asked for once."""
        known = self._outputs.get(stack.id)
        if known is None:
            answer = await self._cloud.get_or_none("orchestration", stack.path)
            told = answer["stack"].get("outputs", []) if answer else []
            known = {one["output_key"]: one.get("output_value") for one in told}
            if stack.complete and known and all(known.values()):
                if len(self._outputs) > 10_000:
                    self._outputs.clear()
                self._outputs[stack.id] = known
        return known

    async def delete(self, stack: Stack, report: Report, *, force: bool) -> None:
        """Remove it; what Heat cannot remove we do, and let Heat look again: at once where it has given up before.
        Raises `timed_out` where all resist."""
        self._outputs.pop(stack.id, None)
        failures = {"stack": stack.reason}
        if stack.status != "DELETE_FAILED":
            failures = await self._delete(stack, report)
        if not failures:
            return
        log.warning("Heat cannot delete a stack", stack=stack.name, why=failures)
        report(60, "Heat cannot delete the stack: clearing away by hand")
        resists = await clear_away(self._cloud, stack.path, force=force)
        if not resists:
            resists = list((await self._delete(stack, report)).values())
        if resists:
            words = "; ".join(dict.fromkeys([*resists, *failures.values()]))
            raise timed_out(f"stack {stack.name} resists: {words}", instance=stack.stamp.resource_id)

    async def _delete(self, stack: Stack, report: Report) -> dict[str, str]:
        if stack.status == "DELETE_IN_PROGRESS":  # to ask again would make Heat begin anew
            there = await self._left(stack)
            if there is None:
                return {}
        marker = await self._last_event(stack)
        try:
            await self._cloud.delete("orchestration", stack.path)
        except ApiError as error:
            raise to_problem(error, instance=stack.stamp.resource_id) from error
        return await self.wait(stack, "DELETE", report, marker) or {}

    async def _left(self, stack: Stack) -> Stack | None:
        """What is left of it once the deletion that is going on has ended."""
        begun_s = time.monotonic()
        while True:
            there = await self.find(stack.stamp.owner.manager_id, stack.stamp.resource_id)
            if there is None or there.id != stack.id:
                return None
            if there.status != "DELETE_IN_PROGRESS":
                return there
            await asyncio.sleep(self._pause_s(time.monotonic() - begun_s))

    async def _last_event(self, stack: Stack) -> str:
        params: dict[str, str | int | list[str]] = {"sort_dir": "desc", "limit": 1}
        found = await self._cloud.get_or_none("orchestration", f"{stack.path}/events", params=params)
        events = found["events"] if found else []
        return str(events[0]["id"]) if events else ""

    async def wait(self, stack: Stack, action: str, report: Report, marker: str = "") -> dict[str, str] | None:
        """Until the action has ended: None where it is complete, else resource -> what is said of its failure.

        Events since the last one that was seen; the pause between two looks follows how long it takes already, and
        how many wait at the same time.
        """
        failures: dict[str, str] = {}
        made: dict[str, Any] = {}
        begun_s, given_up = time.monotonic(), False
        self._waiting += 1
        try:
            while True:
                params: dict[str, str | int | list[str]] = {"sort_dir": "asc", "limit": 100}
                if marker:
                    params["marker"] = marker
                found = await self._cloud.get_or_none("orchestration", f"{stack.path}/events", params=params)
                if found is None:
                    return None if action == "DELETE" else {"stack": "was removed meanwhile"}
                for event in found["events"]:
                    marker = str(event["id"])
                    name, status = str(event["resource_name"]), str(event["resource_status"])
                    if status == "CREATE_COMPLETE" and name != stack.name:
                        made[name] = str(event["physical_resource_id"])
                    if status == f"{action}_FAILED" and name != stack.name:
                        failures.setdefault(name, str(event.get("resource_status_reason") or ""))
                    if name == stack.name and status in [f"{action}_{end}" for end in _DONE]:
                        if _CANCELLED in str(event.get("resource_status_reason")) and action == "DELETE":
                            failures.clear()  # an earlier deletion, in whose place ours has come
                            continue
                        self._note_end(stack, status)
                        if status.endswith("COMPLETE"):
                            if made and action == "CREATE":
                                self._outputs[stack.id] = made
                            return None
                        return failures or {"stack": str(event.get("resource_status_reason") or "failed")}
                    report(_percent(found["events"]), f"{name} {status}")
                if action == "CREATE" and not given_up and (given_up := any(map(hopeless, failures.values()))):
                    await self._give_up(stack)
                await asyncio.sleep(self._pause_s(time.monotonic() - begun_s, moving=bool(found["events"])))
        finally:
            self._waiting -= 1

    async def _give_up(self, stack: Stack) -> None:
        """Heat would try again and again, with ever longer pauses, what the cloud has refused for good."""
        with contextlib.suppress(ApiError):  # it has just ended, or may not be cancelled: then Heat's own end has to do
            await self._cloud.call("orchestration", "POST", f"{stack.path}/actions", {"cancel_without_rollback": None})

    def _note_end(self, stack: Stack, status: str) -> None:
        if len(self._ended) > 10_000:
            self._ended.clear()
        if status.endswith("COMPLETE") or status == "CREATE_FAILED":  # others may come again
            self._ended[stack.id] = status

    def _pause_s(self, elapsed_s: float, *, moving: bool = False) -> float:
        pause_s = min(_LAST_PAUSE_S, max(_FIRST_PAUSE_S, elapsed_s / _PAUSE_SHARE))
        pause_s = _MOVING_PAUSE_S if moving else pause_s
        return pause_s * max(1.0, self._waiting / _CROWD)

    async def _why(self, stack: Stack, failures: Mapping[str, str]) -> PluginError:
        """The resource that failed first says it, and of a server Nova's own fault."""
        words = [f"{name}: {text}" for name, text in failures.items()]
        if "server" in failures and (fault := await self._fault(stack)):
            words.insert(0, f"server: {fault}")
        found = cause("; ".join(dict.fromkeys(words)), instance=stack.stamp.resource_id)
        handle = Handle(resource_id=stack.stamp.resource_id, native_id=stack.id, state_version=1)
        found.problem.partial.append(handle)
        return found

    async def _fault(self, stack: Stack) -> str:
        server_id = str((await self.outputs(stack)).get("server") or "")
        if not server_id:
            return ""
        answer = await self._cloud.get_or_none("compute", f"/servers/{server_id}")
        return str(((answer or {}).get("server", {}).get("fault") or {}).get("message", ""))


def _is_going(found: Mapping[str, Any]) -> bool:
    return str(found["stack_status"]).startswith("DELETE")


def _percent(events: Sequence[Mapping[str, Any]]) -> int:
    complete = sum(str(event["resource_status"]).endswith("_COMPLETE") for event in events)
    return min(90, 20 + 15 * complete)
