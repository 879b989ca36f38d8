"""Stamps: what stands on a stack is what was put there, whatever the ids and names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_cloud import OWNER

from plugins.openstack import stamp
from plugins.openstack.stamp import Stamp
from vnfm.pb.common.v1.common_pb2 import Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

DIGEST = "ab" * 32
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", fullmatch=True)


def test_a_stamp_comes_back_whole() -> None:
    put = Stamp("r-1", pb.KIND_LINK, DIGEST, OWNER, host_id="sim-1", generation=7, members=("b", "a", "c"))
    assert stamp.read(stamp.tags(put)) == put


@given(
    resource_id=IDS,
    manager_id=IDS,
    tenant=st.text(min_size=1, max_size=200).filter(lambda text: "\0" not in text and text.isprintable()),
    members=st.lists(IDS, max_size=12),
)
def test_no_word_is_too_long_or_too_strange(resource_id: str, manager_id: str, tenant: str, members: list[str]) -> None:
    owner = Owner(manager_id=manager_id, tenant=tenant, fence=2**63)
    put = Stamp(resource_id, pb.KIND_COMPUTE, DIGEST, owner, members=tuple(members))
    told = stamp.tags(put)
    assert all(len(tag) <= 80 and "," not in tag for tag in told), "Heat's limits"
    assert len(set(told)) == len(told)
    assert stamp.read(list(reversed(told))) == put
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.-]{0,254}", stamp.stack_name(manager_id, resource_id)), "Heat's names"


@pytest.mark.parametrize("tags", [None, [], ["vnfm"], ["a=b"], ["vnfm.id=x", "vnfm.kind=KIND_COMPUTE"]])
def test_what_bears_no_stamp_is_not_ours(tags: list[str] | None) -> None:
    assert stamp.read(tags) is None


def test_another_managers_stack_of_the_same_id_has_another_name() -> None:
    assert stamp.stack_name("m1", "r") != stamp.stack_name("m2", "r")
    assert stamp.stack_name("m1", "r").endswith("-r")
    assert stamp.stack_name("m1", "a:b") != stamp.stack_name("m1", "a_b")
