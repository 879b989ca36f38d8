"""What is done about the dead: once, together, more slowly each time, and not for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vnfm.lcm.healing import (
    Condition,
    Death,
    Expected,
    HealingPolicy,
    HealOrder,
    Health,
    Leave,
    PastHeal,
    Wait,
    decide,
)
from vnfm.model.lcm import LcmOperationState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = HealingPolicy(limit=3, window_s=600)


def death(vnfc: str = "a2", vnf: str = "fw", reason: str = "exit 137", seconds_ago: float = 0.0) -> Death:
    expected = Expected(vnfc, "v", "m", "default", f"{vnf}-id", f"c/{vnf}", "chain", f"{vnf}-id/v/0")
    return Death(expected, Condition(Health.FAILED, reason, NOW - timedelta(seconds=seconds_ago)))


def heal(
    ended_ago: float,
    state: LcmOperationState = LcmOperationState.COMPLETED,
    vnfcs: tuple[str, ...] = ("a1",),
    positions: tuple[str, ...] = ("fw-id/v/0",),
    refused: bool = False,
    held: bool = False,
) -> PastHeal:
    return PastHeal("op-12345678", state, NOW - timedelta(seconds=ended_ago), vnfcs, positions, refused, held)


def test_the_first_death_is_healed_at_once_and_the_outage_counts_from_what_the_plugin_saw() -> None:
    order = decide(POLICY, [death(seconds_ago=0.25)], [], NOW)
    assert isinstance(order, HealOrder)
    assert (order.vnf_instance_id, order.vnfcs, order.positions) == ("fw-id", ("a2",), ("fw-id/v/0",))
    assert (order.cause, order.give_up) == ("exit 137", "")
    assert order.died_at == NOW - timedelta(seconds=0.25)


def test_several_deaths_of_a_chain_are_one_heal_that_names_each() -> None:
    order = decide(POLICY, [death("b", "rt", "killed"), death("a", "fw", "hangs", 1.0)], [], NOW)
    assert isinstance(order, HealOrder)
    assert set(order.vnfcs) == {"a", "b"}
    assert order.vnf_instance_id == "fw-id"  # the first to die
    assert "c/fw v: hangs" in order.cause
    assert "c/rt v: killed" in order.cause


def test_each_heal_of_a_position_waits_longer_than_the_one_before() -> None:
    assert decide(POLICY, [death()], [heal(0.4)], NOW) == Wait(0.6)
    assert decide(POLICY, [death()], [heal(0.4), heal(9)], NOW) == Wait(1.6)
    assert isinstance(decide(POLICY, [death()], [heal(1.0)], NOW), HealOrder)


def test_a_heal_of_another_position_does_not_make_this_one_wait() -> None:
    assert isinstance(decide(POLICY, [death()], [heal(0.1, positions=("rt-id/v/0",))], NOW), HealOrder)


def test_beyond_the_limit_a_decision_is_asked_for_with_the_reason_and_the_ways_out() -> None:
    order = decide(POLICY, [death(reason="out of memory")], [heal(10), heal(20), heal(30)], NOW)
    assert isinstance(order, HealOrder)
    assert "was healed 3 times in 10 minutes, and is dead again: out of memory" in order.give_up
    for way in ("op retry", "op rollback", "op fail"):
        assert way in order.give_up


def test_what_lies_before_the_window_is_forgotten() -> None:
    order = decide(POLICY, [death()], [heal(601), heal(700), heal(800)], NOW)
    assert isinstance(order, HealOrder)
    assert not order.give_up


def test_a_heal_that_was_given_up_is_left_until_there_is_another_vnfc() -> None:
    for state in (LcmOperationState.FAILED, LcmOperationState.ROLLED_BACK):
        ended = heal(100, state, vnfcs=("a2",))
        assert isinstance(decide(POLICY, [death("a2")], [ended], NOW), Leave)
        assert isinstance(decide(POLICY, [death("a3")], [ended], NOW), HealOrder)


def test_one_that_was_taken_back_is_no_decision_about_more_dead_than_it_had_and_no_try() -> None:
    past = [heal(0.1, LcmOperationState.ROLLED_BACK, ("a2",))]
    order = decide(POLICY, [death("a2"), death("b", "rt")], past, NOW)
    assert isinstance(order, HealOrder)
    assert set(order.vnfcs) == {"a2", "b"}


def test_a_heal_that_was_refused_is_tried_again_as_often_as_any_other() -> None:
    refused = [heal(ago, LcmOperationState.ROLLED_BACK, ("a2",), refused=True) for ago in (0.5, 3)]
    assert decide(POLICY, [death("a2")], refused, NOW) == Wait(1.5)
    spent = decide(
        POLICY, [death("a2")], [*refused, heal(9, LcmOperationState.ROLLED_BACK, ("a2",), refused=True)], NOW
    )
    assert isinstance(spent, HealOrder)
    assert "could not be healed 3 times" in spent.give_up
    mended = heal(1, vnfcs=("a1",), positions=())  # by hand, after what was in the way is gone
    assert decide(POLICY, [death("a2")], [*refused[1:], mended], NOW) != spent
    assert isinstance(decide(POLICY, [death("a2")], [*refused[1:], mended], NOW), HealOrder)


def test_one_that_may_be_healed_waits_for_one_that_may_not_yet() -> None:
    assert decide(POLICY, [death("a2", "fw"), death("b", "rt")], [heal(0.4)], NOW) == Wait(0.6)


def test_where_not_even_a_decision_could_be_asked_for_it_rests_till_the_window_is_over() -> None:
    back = LcmOperationState.ROLLED_BACK
    past = [heal(ago, back, ("a2",), refused=True) for ago in (110, 120, 130)]
    past.append(heal(100, back, ("a2",), refused=True, held=True))
    assert decide(POLICY, [death("a2")], past, NOW) == Wait(500)
    assert isinstance(decide(POLICY, [death("a2")], past, NOW + timedelta(seconds=501)), HealOrder)
