"""What counts as the same request, and who may act."""

from __future__ import annotations

import pytest

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.digest import spec_digest
from vnfm.pluginkit.fence import Fences
from vnfm.pluginkit.problems import PluginError


def _request() -> pb.AllocateComputeRequest:
    return pb.AllocateComputeRequest(
        resource_id="r",
        owner=Owner(tenant="t", manager_id="m", op_occ_id="op-1", fence=1),
        containers=[pb.Container(name="c", env={"b": "2", "a": "1"})],
        ports=[pb.Port(cp_id="in", link=Handle(resource_id="l"))],
    )


def test_another_operation_lease_or_fuller_handle_is_the_same_request() -> None:
    other = _request()
    other.owner.op_occ_id = "op-2"
    other.owner.fence = 9
    other.ports[0].link.CopyFrom(Handle(resource_id="l", native_id="n", state=b"x", state_version=2))
    assert spec_digest(other) == spec_digest(_request())


def test_the_order_of_a_map_does_not_matter() -> None:
    other = _request()
    other.containers[0].env.clear()
    other.containers[0].env["a"] = "1"
    other.containers[0].env["b"] = "2"
    assert spec_digest(other) == spec_digest(_request())


def test_digesting_changes_nothing_in_the_request() -> None:
    request = _request()
    spec_digest(request)
    assert request == _request()


@pytest.mark.parametrize("field", ["tenant", "manager_id", "vnf_instance_id", "chain_id"])
def test_another_owner_is_another_request(field: str) -> None:
    other = _request()
    setattr(other.owner, field, "other")
    assert spec_digest(other) != spec_digest(_request())


def test_another_value_another_link_another_message_differ() -> None:
    memory, link = _request(), _request()
    memory.memory_bytes = 1
    link.ports[0].link.resource_id = "l2"
    owner = Owner(tenant="t", manager_id="m")
    messages = [
        memory,
        link,
        _request(),
        pb.AllocateLinkRequest(resource_id="r", owner=owner),
        pb.AllocateSapRequest(resource_id="r", owner=owner),
    ]
    assert len({spec_digest(message) for message in messages}) == len(messages)


def test_a_lower_fence_is_refused_and_managers_do_not_disturb_each_other() -> None:
    fences = Fences()
    fences.check(Owner(manager_id="a", fence=5))
    fences.check(Owner(manager_id="b", fence=1))
    fences.check(Owner(manager_id="a", fence=5))
    with pytest.raises(PluginError) as refused:
        fences.check(Owner(manager_id="a", fence=4))
    assert refused.value.code.name == "ABORTED"
    assert refused.value.word == "lease-lost"


def test_a_stamp_seeds_the_fence_but_never_lowers_it() -> None:
    fences = Fences()
    fences.seed("a", 7)
    fences.seed("a", 3)
    assert fences.known("a")
    with pytest.raises(PluginError):
        fences.check(Owner(manager_id="a", fence=6))
    fences.check(Owner(manager_id="a", fence=7))
