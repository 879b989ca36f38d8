"""What the search leaves open in a small cloud: an exact model in another process finds it, or proves it impossible."""

from __future__ import annotations

import sys

import pytest
from placement_builders import ALL, GIB, Isolation, Runtime, cloud, demand, host, refused, request

from vnfm.placement.plan import Plan, Proof, Refusal
from vnfm.placement.request import Request, Rule, RuleKind, Scope
from vnfm.placement.settle import settled
from vnfm.placement.snapshot import Snapshot

HOSTS = 10
SECONDS = 60.0  # at most; what is small takes one or two


def _asked(small: int, large: int) -> Request:
    """The small ones come first, and where two of them are, none of the large ones fits any more."""
    few = [demand(f"a{i:02}", cpu_milli=4_000, isolation=Isolation.TENANT, artefacts=ALL) for i in range(small)]
    many = [demand(f"b{i:02}", cpu_milli=6_000, artefacts={Runtime.CONTAINER}) for i in range(large)]
    return request(*few, *many)


def _cloud() -> Snapshot:
    return cloud(*(host(f"h{i}", cpu=10_000, memory=64 * GIB) for i in range(HOSTS)))


def test_what_only_the_exact_model_finds_becomes_a_plan_like_any_other() -> None:
    asked, snapshot = _asked(HOSTS, HOSTS), _cloud()
    no = refused(asked, snapshot)
    assert no.proof is Proof.NOT_PROVED
    loaded = set(sys.modules)
    plan = settled(asked, snapshot, no, SECONDS)
    assert not {name for name in set(sys.modules) - loaded if name.split(".")[0] == "ortools"}
    assert isinstance(plan, Plan)
    for i in range(HOSTS):
        assert sum(r.cpu_milli for r in plan.reservations if r.host == f"h{i}") == 10_000
    assert all(a.reasons for a in plan.assignments)


def test_what_the_exact_model_cannot_place_is_proved_impossible() -> None:
    vnfs = [demand(f"v{i:02}", cpu_milli=3_400, artefacts={Runtime.CONTAINER}) for i in range(2 * HOSTS + 1)]
    snapshot = cloud(*(host(f"h{i}", cpu=10_000, memory=64 * GIB) for i in range(HOSTS)))
    asked = request(*vnfs)
    no = refused(asked, snapshot)
    if no.proof is not Proof.NOT_PROVED:
        pytest.skip(f"the search proves it by itself by now: {no.proof}")
    after = settled(asked, snapshot, no, SECONDS)
    assert isinstance(after, Refusal)
    assert after.proof is Proof.COMBINATION
    assert "an exact model of all 10 hosts has no way to place" in after.detail
    assert after.minimal_change == no.minimal_change


def test_what_is_proved_already_is_left_alone() -> None:
    rule = Rule("apart", RuleKind.ANTI_AFFINITY, Scope.NFVI_NODE, (("a-0",), ("b-0",)))
    asked = request(demand("a"), demand("b"), rules=(rule,))
    no = refused(asked, cloud(host()))
    assert settled(asked, cloud(host()), no, 0.0) is no
