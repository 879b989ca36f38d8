"""Chains that are alike but for their names share what follows from their files and packages alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lcm_samples import chain, packages, vnfd

from vnfm.lcm.shapes import graph_of, shape_of
from vnfm.model.chain import ServiceChain
from vnfm.model.problem import ProblemError


def test_another_name_is_the_same_shape() -> None:
    known, one = packages(vnfd("a"), vnfd("b")), chain("a", "b")
    other = replace(one, name="other")
    assert shape_of(other, known).layout is shape_of(one, known).layout
    assert graph_of(other, known).name == "other"
    assert graph_of(one, known).name == "c"


def test_each_chain_has_the_ids_of_its_own_instances() -> None:
    known, one = packages(vnfd("a"), vnfd("b")), chain("a", "b")
    first, second = (shape_of(one, known).lanes_with(ids) for ids in ({"a": "i1", "b": "i2"}, {"a": "i3"}))
    assert [x.instance_id for x in first.values()] == ["i1", "i2"]
    assert [x.instance_id for x in second.values()] == ["i3", ""]


@pytest.mark.parametrize(
    "other",
    [
        chain("a"),
        chain("b", "a"),
        replace(chain("a", "b"), vnfs=tuple(replace(v, instances={"back": 2}) for v in chain("a", "b").vnfs)),
        replace(chain("a", "b"), ends=tuple(replace(e, cidr=f"10.{n}.0.0/24") for n, e in enumerate(chain("a").ends))),
    ],
    ids=["fewer", "order", "instances", "networks"],
)
def test_what_differs_in_more_than_the_name_is_worked_out_by_itself(other: ServiceChain) -> None:
    known = packages(vnfd("a"), vnfd("b"))
    kept = shape_of(chain("a", "b"), known)
    assert shape_of(other, known) != kept


def test_a_package_onboarded_anew_is_another() -> None:
    one = chain("a", "b")
    before = shape_of(one, packages(vnfd("a"), vnfd("b", backs=1)))
    after = shape_of(one, packages(vnfd("a"), vnfd("b", backs=3)))
    assert (before.lanes["b"].counts["back"], after.lanes["b"].counts["back"]) == (1, 3)


def test_what_does_not_fit_together_is_said_of_each_chain_by_its_name() -> None:
    one = chain("a", "b")
    for name in ("first", "second"):
        with pytest.raises(ProblemError) as said:
            shape_of(replace(one, name=name), packages(vnfd("a")))
        assert said.value.problem.word == "unknown-vnfd"
        assert said.value.problem.instance.startswith(f"{name}#")
