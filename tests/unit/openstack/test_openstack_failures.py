"""Heat's and Nova's failures become one Problem with the real cause."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from scripted_cloud import OWNER, Answer, Handler, Scripted, cloud_of, said

from plugins.openstack import groups
from plugins.openstack.errors import ApiError, cause, message_of, to_problem
from plugins.openstack.linkhot import path
from plugins.openstack.stacks import Stack, Stacks
from plugins.openstack.stamp import Stamp, stack_name, tags
from vnfm.pb.common.v1.common_pb2 import Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

STAMP = Stamp("r1", pb.KIND_COMPUTE, "d" * 64, OWNER)
NAME = stack_name("m", "r1")
PATH = f"/stacks/{NAME}/s1"
STACK = Stack("s1", NAME, "CREATE_IN_PROGRESS", "", STAMP)


@pytest.mark.parametrize(
    ("words", "word", "code", "retry"),
    [
        (
            "Forbidden: resources.server: Quota exceeded for cores: Requested 4, but already used 18 of 20 cores",
            "quota-exceeded",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            Problem.NEW_PLACEMENT,
        ),
        (
            "No valid host was found. There are not enough hosts available.",
            "insufficient-capacity",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            Problem.NEW_PLACEMENT,
        ),
        (
            "Build of instance 1 aborted: Image 2 is unacceptable: Converted to raw, but format is now vmdk",
            "bad-image",
            grpc.StatusCode.FAILED_PRECONDITION,
            Problem.NEVER,
        ),
        (
            "Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes",
            "bad-image",
            grpc.StatusCode.FAILED_PRECONDITION,
            Problem.NEVER,
        ),
        (
            "Conflict: resources.port0: IP address 10.1.0.1 already allocated in subnet 7",
            "address-in-use",
            grpc.StatusCode.FAILED_PRECONDITION,
            Problem.SAME_CALL,
        ),
        (
            "network: Forbidden: resources.network: (rule:create_network and (rule:create_network:provider:"
            "physical_network)) is disallowed by policy",
            "permission-denied",
            grpc.StatusCode.PERMISSION_DENIED,
            Problem.NEVER,
        ),
        ("something nobody has heard of", "realization-failed", grpc.StatusCode.INTERNAL, Problem.SAME_CALL),
    ],
)
def test_a_fault_is_told_by_its_cause(
    words: str, word: str, code: grpc.StatusCode, retry: Problem.Retry.ValueType
) -> None:
    found = cause(words, instance="r1")
    assert (found.word, found.code, found.problem.retry) == (word, code, retry)
    assert words in found.problem.detail
    assert found.problem.instance == "r1"


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (401, "permission-denied", grpc.StatusCode.PERMISSION_DENIED),
        (403, "permission-denied", grpc.StatusCode.PERMISSION_DENIED),
        (429, "vim-unavailable", grpc.StatusCode.UNAVAILABLE),
        (503, "vim-unavailable", grpc.StatusCode.UNAVAILABLE),
        (0, "vim-unavailable", grpc.StatusCode.UNAVAILABLE),
        (409, "realization-failed", grpc.StatusCode.INTERNAL),
    ],
)
def test_a_status_is_told_by_what_helps(status: int, word: str, code: grpc.StatusCode) -> None:
    found = to_problem(ApiError(status, "said so", "GET compute/servers"), instance="r1")
    assert (found.word, found.code) == (word, code)
    assert "said so" in found.problem.detail


def test_a_quota_that_comes_as_403_is_no_lack_of_rights() -> None:
    assert to_problem(ApiError(403, "Quota exceeded for ram", "POST compute/servers")).word == "quota-exceeded"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"forbidden": {"code": 403, "message": "Policy doesn\'t allow it"}}', "Policy doesn't allow it"),
        ('{"NeutronError": {"type": "X", "message": "MTU is too big", "detail": ""}}', "MTU is too big"),
        (
            '{"code": 409, "title": "Conflict", "explanation": "There was a conflict.", '
            '"error": {"type": "StackExists", "message": "The Stack (a) already exists."}}',
            "The Stack (a) already exists.",
        ),
        ('{"errors": [{"status": 404, "detail": "No resource provider"}]}', "No resource provider"),
        ("<html><body>502 <b>Bad</b> Gateway</body></html>", "502 Bad Gateway"),
        ("", ""),
    ],
)
def test_each_services_words_are_found(body: str, words: str) -> None:
    assert message_of(body) == words


# -- stacks


def event(number: int, name: str, status: str, reason: str = "", physical: str = "") -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "resource_name": name,
        "resource_status": status,
        "resource_status_reason": reason,
        "physical_resource_id": physical,
    }


def listed(status: str = "CREATE_COMPLETE", stamp: Stamp = STAMP) -> dict[str, Any]:
    return {"id": "s1", "stack_name": NAME, "stack_status": status, "tags": tags(stamp)}


def stacks_of(answers: dict[tuple[str, str], list[Answer] | Handler]) -> tuple[Stacks, Scripted]:
    cloud, scripted = cloud_of(answers)
    return Stacks(cloud, 5), scripted


def quiet(percent: int, message: str) -> None:
    return None


def created(answers: dict[tuple[str, str], list[Answer] | Handler]) -> tuple[Stack | PluginError, Scripted]:
    stacks, scripted = stacks_of(answers)
    try:
        return asyncio.run(stacks.create(STAMP, path([]), quiet)), scripted
    except PluginError as error:
        return error, scripted


MADE: tuple[tuple[str, str], list[Answer]] = (("POST", "/stacks"), [said({"stack": {"id": "s1"}}, 201)])


def test_events_are_read_once_each_until_the_stack_is_complete() -> None:
    markers: list[object] = []
    pages = [
        [event(1, NAME, "CREATE_IN_PROGRESS")],
        [],
        [event(2, "server", "CREATE_COMPLETE", physical="nova-1"), event(3, NAME, "CREATE_COMPLETE")],
    ]

    def events(_: object, params: Any) -> Answer:
        markers.append(params.get("marker"))
        return said({"events": pages.pop(0)})

    behind = [said({"stacks": [listed("CREATE_IN_PROGRESS")]}), said({"stacks": [listed()]})]
    found, scripted = created(dict([MADE, (("GET", f"{PATH}/events"), events), (("GET", "/stacks"), behind)]))
    assert isinstance(found, Stack)
    assert found.status == "CREATE_COMPLETE"
    assert markers == [None, "e1", "e1"]
    assert scripted.count("GET", PATH) == 0, "native ids came with the events"


def test_a_failed_server_is_told_in_novas_own_words_with_what_is_left() -> None:
    events = [
        event(1, "port0", "CREATE_COMPLETE", physical="neutron-1"),
        event(
            2, "server", "CREATE_FAILED", "ResourceInError: Went to status ERROR due to Message: Exceeded, Code: 500"
        ),
        event(3, NAME, "CREATE_FAILED", "Resource CREATE failed"),
    ]
    fault = {"message": "No valid host was found. There are not enough hosts available."}
    found, _ = created(
        dict(
            [
                MADE,
                (("GET", f"{PATH}/events"), [said({"events": events})]),
                (("GET", PATH), [said({"stack": {"outputs": [{"output_key": "server", "output_value": "nova-1"}]}})]),
                (("GET", "/servers/nova-1"), [said({"server": {"fault": fault}})]),
            ]
        )
    )
    assert isinstance(found, PluginError)
    assert found.word == "insufficient-capacity"
    assert found.problem.detail.startswith("server: No valid host was found")
    assert [(handle.resource_id, handle.native_id) for handle in found.problem.partial] == [("r1", "s1")]


def test_a_creation_that_was_not_answered_is_joined_when_it_is_asked_for_again() -> None:
    posts: list[Answer] = [ApiError(0, "connection reset", "POST"), said({"error": {"message": "exists"}}, 409)]
    found, scripted = created(
        {
            ("POST", "/stacks"): posts,
            ("GET", "/stacks"): [said({"stacks": [listed("CREATE_IN_PROGRESS")]}), said({"stacks": [listed()]})],
            ("GET", f"{PATH}/events"): [said({"events": [event(1, NAME, "CREATE_COMPLETE")]})],
        }
    )
    assert isinstance(found, Stack)
    assert scripted.count("POST", "/stacks") == 2


def test_a_name_that_is_not_free_yet_is_waited_for() -> None:
    found, scripted = created(
        {
            ("POST", "/stacks"): [said({"message": "exists"}, 409), said({"stack": {"id": "s1"}}, 201)],
            ("GET", "/stacks"): [said({"stacks": [listed("DELETE_IN_PROGRESS")]}), said({"stacks": [listed()]})],
            ("GET", f"{PATH}/events"): [said({"events": [event(1, NAME, "CREATE_COMPLETE")]})],
        }
    )
    assert isinstance(found, Stack)
    assert scripted.count("POST", "/stacks") == 2


def test_a_stack_of_that_name_that_is_not_this_one_stays_and_is_told() -> None:
    other = Stamp("r1", pb.KIND_COMPUTE, "e" * 64, OWNER)
    found, _ = created(
        {
            ("POST", "/stacks"): [said({"error": {"message": "The Stack already exists."}}, 409)],
            ("GET", "/stacks"): [said({"stacks": [listed(stamp=other)]})],
        }
    )
    assert isinstance(found, PluginError)
    assert "already exists" in found.problem.detail


def test_a_strangers_stack_of_that_name_is_told_at_once() -> None:
    found, scripted = created(
        {
            ("POST", "/stacks"): [said({"error": {"message": "The Stack already exists."}}, 409)],
            ("GET", "/stacks"): [said({"stacks": [{**listed(), "tags": ["somebody"]}]})],
        }
    )
    assert isinstance(found, PluginError)
    assert found.code is grpc.StatusCode.ALREADY_EXISTS
    assert "no stamp of ours" in found.problem.detail
    assert scripted.count("POST", "/stacks") == 1


def test_who_has_seen_the_last_event_goes_by_it_while_the_list_is_behind() -> None:
    states = ["CREATE_IN_PROGRESS", "CREATE_COMPLETE", "DELETE_IN_PROGRESS"]
    stacks, _ = stacks_of(
        {
            MADE[0]: MADE[1],
            ("GET", "/stacks"): [said({"stacks": [listed(state)]}) for state in states],
            ("GET", f"{PATH}/events"): [
                said({"events": [event(1, NAME, "CREATE_COMPLETE")]}),
                said({"events": [event(1, NAME, "CREATE_COMPLETE")]}),
                said({"events": [event(2, NAME, "DELETE_COMPLETE")]}),
            ],
            ("DELETE", PATH): [said(None, 204)],
        }
    )

    async def story() -> list[str]:
        made = await stacks.create(STAMP, path([]), quiet)
        seen = [await stacks.find("m", STAMP.resource_id) for _ in range(2)]
        await stacks.delete(made, quiet, force=False)
        return [made.status, *(stack.status if stack else "gone" for stack in [*seen, await stacks.find("m", "r1")])]

    assert asyncio.run(story()) == ["CREATE_COMPLETE", "CREATE_COMPLETE", "CREATE_COMPLETE", "gone"]


def test_a_note_is_written_anew_once_heat_has_written_down_the_old_one() -> None:
    stacks, scripted = stacks_of(
        {
            ("PUT", PATH): [said({"message": "already has an action (CREATE) in progress"}, 409), said(None, 202)],
            ("GET", f"{PATH}/events"): [
                said({"events": [event(1, NAME, "CREATE_COMPLETE")]}),
                said({"events": [event(2, NAME, "UPDATE_COMPLETE")]}),
            ],
        }
    )
    there = Stack("s1", NAME, "CREATE_COMPLETE", "", STAMP)
    assert asyncio.run(stacks.retag(there, STAMP, path(["p1"]), quiet)).status == "UPDATE_COMPLETE"
    assert scripted.count("PUT", PATH) == 2


@pytest.mark.parametrize(
    ("reason", "word", "cancels"),
    [
        (
            "ResourceInError: resources.server: Message: No valid host was found. , Code: 500",
            "insufficient-capacity",
            1,
        ),
        ("Conflict: resources.port0: This subnet is being modified by another concurrent operation.", "", 0),
    ],
)
def test_what_the_cloud_has_refused_for_good_heat_is_not_left_to_try_again(
    reason: str, word: str, cancels: int
) -> None:
    failure = event(1, "server" if word else "port0", "CREATE_FAILED", reason)
    last = event(2, NAME, "CREATE_FAILED", "User cancelled stack CREATE")
    whole = event(2, NAME, "CREATE_COMPLETE")
    found, scripted = created(
        {
            MADE[0]: MADE[1],
            ("GET", f"{PATH}/events"): [said({"events": [failure]}), said({"events": [last if word else whole]})],
            ("POST", f"{PATH}/actions"): [said({"error": {"message": "too late"}}, 400)],
            ("GET", PATH): [said({"stack": {"outputs": []}})],
        }
    )
    assert scripted.count("POST", f"{PATH}/actions") == cancels
    assert (found.word if isinstance(found, PluginError) else "") == word


def deleted(
    answers: dict[tuple[str, str], list[Answer] | Handler], *, force: bool, stack: Stack = STACK
) -> tuple[PluginError | None, Scripted]:
    stacks, scripted = stacks_of(answers)
    try:
        asyncio.run(stacks.delete(stack, quiet, force=force))
    except PluginError as error:
        return error, scripted
    return None, scripted


def resource(kind: str, native_id: str) -> dict[str, str]:
    return {"resource_type": kind, "physical_resource_id": native_id}


STUCK: dict[tuple[str, str], list[Answer] | Handler] = {
    ("DELETE", PATH): [said(None, 204)],
    ("GET", f"{PATH}/resources"): [
        said({"resources": [resource("OS::Neutron::Port", "p1"), resource("OS::Nova::Server", "n1")]})
    ],
    ("POST", "/servers/n1/action"): [said(None, 202)],
    ("DELETE", "/servers/n1"): [said(None, 204)],
    ("DELETE", "/ports/p1"): [said(None, 204)],
}


def test_a_stack_that_is_gone_is_not_seen_while_it_is_still_listed() -> None:
    stacks, _ = stacks_of({("GET", "/stacks"): [said({"stacks": [listed("DELETE_COMPLETE")]})]})
    assert asyncio.run(stacks.find("m", "r1")) is None


def stuck(*ends: str) -> dict[tuple[str, str], list[Answer] | Handler]:
    """Each deletion ends in its way."""
    rounds = [
        [event(2 * n, "server", f"DELETE_{end}", "Server n1 is locked"), event(2 * n + 1, NAME, f"DELETE_{end}")]
        for n, end in enumerate(ends, 1)
    ]

    def events(_: object, params: Any) -> Answer:
        return said({"events": []}) if params.get("limit") == 1 else said({"events": rounds.pop(0)})

    lists = [said({"stacks": [listed("DELETE_IN_PROGRESS")]}), said({"stacks": []})]
    return {**STUCK, ("GET", f"{PATH}/events"): events, ("GET", "/stacks"): lists}


def test_a_stack_that_heat_cannot_delete_is_cleared_away_users_first() -> None:
    found, scripted = deleted(stuck("FAILED", "COMPLETE"), force=True)
    assert found is None
    asked = [(method, path) for method, path, _ in scripted.calls if "/servers/" in path or "/ports/" in path]
    assert asked == [
        ("POST", "/servers/n1/action"),
        ("DELETE", "/servers/n1"),
        ("GET", "/servers/n1"),
        ("DELETE", "/ports/p1"),
    ]
    assert scripted.count("DELETE", PATH) == 2


def test_a_lock_is_only_broken_by_force() -> None:
    _, scripted = deleted(stuck("FAILED", "COMPLETE"), force=False)
    assert scripted.count("POST", "/servers/n1/action") == 0


def test_a_deletion_that_goes_on_already_is_waited_for_and_not_begun_anew() -> None:
    lists = [said({"stacks": [listed("DELETE_IN_PROGRESS")]}), said({"stacks": []})]
    stacks, scripted = stacks_of({("GET", "/stacks"): lists})
    asyncio.run(stacks.delete(replace(STACK, status="DELETE_IN_PROGRESS"), quiet, force=True))
    assert scripted.count("DELETE", PATH) == 0


def test_a_deletion_that_ours_has_replaced_is_no_failure_of_ours() -> None:
    rounds = [
        [
            event(1, "server", "DELETE_FAILED", "DELETE aborted"),
            event(2, NAME, "DELETE_FAILED", "Stack DELETE cancelled"),
        ],
        [event(3, NAME, "DELETE_COMPLETE")],
    ]

    def events(_: object, params: Any) -> Answer:
        return said({"events": []}) if params.get("limit") == 1 else said({"events": rounds.pop(0)})

    answers = stuck()
    answers[("GET", f"{PATH}/events")] = events
    found, scripted = deleted(answers, force=True)
    assert found is None
    assert scripted.count("DELETE", "/servers/n1") == 0


def test_what_resists_to_the_end_is_told_by_its_reason() -> None:
    found, _ = deleted(stuck("FAILED", "FAILED"), force=True)
    assert found is not None
    assert found.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "Server n1 is locked" in found.problem.detail


def test_what_heat_has_given_up_before_is_cleared_away_at_once() -> None:
    found, scripted = deleted(stuck("COMPLETE"), force=True, stack=replace(STACK, status="DELETE_FAILED"))
    assert found is None
    assert scripted.count("DELETE", "/servers/n1") == 1
    assert scripted.count("DELETE", PATH) == 1


def test_heat_is_not_asked_again_for_what_resists_us_too() -> None:
    answers = stuck("FAILED")
    answers[("DELETE", "/servers/n1")] = [said({"conflictingRequest": {"message": "Instance n1 is locked"}}, 409)]
    found, scripted = deleted(answers, force=False)
    assert found is not None
    assert found.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "Instance n1 is locked" in found.problem.detail
    assert scripted.count("DELETE", PATH) == 1


@pytest.mark.parametrize(("members", "swept"), [([], 1), (["n1"], 1), (["n1", "n2"], 0)])
def test_a_server_group_goes_with_its_last_member(members: list[str], swept: int) -> None:
    path = "/os-server-groups/g1"
    group = said({"server_group": {"id": "g1", "members": members}})
    cloud, scripted = cloud_of({("GET", path): [group], ("DELETE", path): [said(None, 204)]})
    asyncio.run(groups.sweep(cloud, "g1", "n1"))
    assert scripted.count("DELETE", path) == swept


def test_what_is_gone_is_deleted() -> None:
    found, _ = deleted({("GET", "/stacks"): [said({"stacks": []})]}, force=False)
    assert found is None
