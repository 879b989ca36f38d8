"""The machine under random walks: every failure, every crash, every way out, two lanes in flight."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnfm.lcm.machine import (
    BROKEN,
    CLEAN,
    IN_FLIGHT,
    Event,
    InvalidTransition,
    Node,
    Run,
    St,
    ahead,
    fold,
    next_runs,
    on_retry,
    on_rollback,
    out_of_reach,
    progress_percent,
    rollback_allowed,
    settle,
)
from vnfm.model.lcm import LcmOperationState as Op


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Node, ...]:
    """A DAG of up to eight steps in two lanes; its last ones may be removals."""
    count = draw(st.integers(1, 8))
    removals_from = draw(st.integers(0, count)) if draw(st.booleans()) else count
    found = []
    for index in range(count):
        before = [n.key for n in found]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        if index >= removals_from:
            needs = before[:removals_from] + [n for n in needs if n not in before[:removals_from]]
        found.append(Node(f"{'lr'[index % 2]}{index}", tuple(needs), index >= removals_from))
    return tuple(found)


class Walk:
    """An operation as the runner leads it; what it did to the world is counted beside it."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self.state = Op.PROCESSING
        self.log: list[Event] = []
        self.cancelled = False
        self.exists: set[str] = set()
        self.running: set[Run] = set()  # forgotten in a crash, unlike the log
        self.foresees = False  # intents are put on record ahead of their turn
        self.ahead: set[str] = set()  # what was so and has not begun; forgotten, too

    @property
    def status(self) -> dict[str, St]:
        return fold(self.nodes, self.log)

    def write(self, *events: Event) -> None:
        self.log += events
        _ = self.status  # raises where the log contradicts itself

    def give_up(self) -> None:
        """Nothing new begins: what was only meant to is taken back, unless a crash has made it doubtful."""
        if self.cancelled or not BROKEN.isdisjoint(self.status.values()):
            self.write(*(Event(key, St.PENDING) for key in sorted(self.ahead)))
            self.ahead.clear()
            if not self.running and not next_runs(self.state, self.nodes, self.status, self.cancelled):
                self.write(*(Event(key, St.FAILED) for key in out_of_reach(self.nodes, self.status)))

    def begin(self) -> None:
        for run in next_runs(self.state, self.nodes, self.status, self.cancelled):
            begun = St.UNDO_STARTED if run.undo else St.STARTED
            if self.status[run.step] is not begun:
                node = next(n for n in self.nodes if n.key == run.step)
                if run.undo:
                    users = [n.key for n in self.nodes if run.step in n.needs]
                    assert not [u for u in users if self.status[u] not in CLEAN], "undone under its users"
                    assert not node.forward_only
                else:
                    assert all(self.status[n] is St.DONE for n in node.needs), "begun before its needs"
                self.write(Event(run.step, begun))
            self.running.add(run)
            self.ahead.discard(run.step)
        if self.foresees and self.state is Op.PROCESSING and self.running and not self.cancelled:
            later = ahead(self.nodes, self.status) if BROKEN.isdisjoint(self.status.values()) else ()
            self.write(*(Event(key, St.STARTED) for key in later))
            self.ahead.update(later)

    def end(self, run: Run, good: bool, effect: bool) -> None:
        self.running.discard(run)
        if good or effect:
            (self.exists.discard if run.undo else self.exists.add)(run.step)
        ends = (St.UNDONE, St.UNDO_FAILED) if run.undo else (St.DONE, St.FAILED)
        self.write(Event(run.step, ends[not good]))

    def settle(self) -> None:
        status = self.status
        settled = settle(self.state, status, self.cancelled)
        if settled is not self.state:
            assert not set(status.values()) & IN_FLIGHT, "settled with something in flight"
        self.state = settled


def lead(walk: Walk, data: st.DataObject, misfortunes: int) -> None:
    """On to where it settles."""
    for _ in range(400):
        walk.give_up()
        walk.settle()
        if walk.state not in (Op.PROCESSING, Op.ROLLING_BACK):
            return
        walk.begin()
        assert walk.running, f"stuck: {walk.state} {walk.status}"
        event = data.draw(st.sampled_from(["ok", "fail", "crash", "cancel"])) if misfortunes else "ok"
        misfortunes -= event != "ok"
        if event == "crash":
            walk.running.clear()
            walk.ahead.clear()
        elif event == "cancel":
            walk.cancelled = True
        else:
            run = data.draw(st.sampled_from(sorted(walk.running, key=lambda r: r.step)))
            walk.end(run, event == "ok", data.draw(st.booleans()))
    raise AssertionError("never settles")


@settings(max_examples=300, deadline=None)
@given(graphs(), st.data())
def test_whatever_happens_it_ends_completed_or_with_a_clean_slate(nodes: tuple[Node, ...], data: st.DataObject) -> None:
    walk = Walk(nodes)
    walk.foresees = data.draw(st.booleans())
    for misfortunes in (3, 2, 2, 0):
        lead(walk, data, misfortunes)
        if walk.state is not Op.FAILED_TEMP:
            break
        walk.cancelled = False
        may = rollback_allowed(nodes, walk.status)
        assert may == (not [e for e in walk.log if e.step in {n.key for n in nodes if n.forward_only}])
        if may and data.draw(st.booleans()):
            walk.state = Op.ROLLING_BACK
            walk.write(*on_rollback(walk.status))
        else:
            walk.state = Op.PROCESSING
            walk.write(*on_retry(walk.status))
    else:
        lead(walk, data, 0)
    assert walk.state in (Op.COMPLETED, Op.ROLLED_BACK)
    if walk.state is Op.COMPLETED:
        assert walk.exists == {n.key for n in nodes}
        assert progress_percent(walk.state, walk.status) == 100
    else:
        assert walk.exists == set()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(list(St)), max_size=12))
def test_a_log_that_contradicts_itself_is_refused_and_no_other(states: list[St]) -> None:
    node = Node("a")
    try:
        fold([node], [Event("a", s) for s in states])
    except InvalidTransition:
        return
    # DONE and UNDONE are earned: each stands right behind its STARTED
    before = [St.PENDING, *states]
    for previous, now in itertools.pairwise(before):
        if now in (St.DONE, St.FAILED):
            assert previous is St.STARTED
        if now in (St.UNDONE, St.UNDO_FAILED):
            assert previous is St.UNDO_STARTED


@pytest.mark.parametrize("to", [St.PENDING, St.DONE, St.FAILED, St.UNDO_STARTED, St.UNDONE, St.UNDO_FAILED])
def test_what_never_started_can_only_start(to: St) -> None:
    with pytest.raises(InvalidTransition):
        fold([Node("a")], [Event("a", to)])


def test_two_lanes_a_failure_in_one_lets_the_other_end_and_begins_nothing() -> None:
    nodes = (Node("l1"), Node("l2", ("l1",)), Node("r1"), Node("r2", ("r1",)))
    status = fold(nodes, [Event("l1", St.STARTED), Event("r1", St.STARTED), Event("l1", St.FAILED)])
    assert next_runs(Op.PROCESSING, nodes, status) == (Run("r1"),)
    assert settle(Op.PROCESSING, status) is Op.PROCESSING
    status["r1"] = St.DONE
    assert next_runs(Op.PROCESSING, nodes, status) == ()
    assert settle(Op.PROCESSING, status) is Op.FAILED_TEMP


def test_a_cancel_after_the_last_step_is_too_late() -> None:
    assert settle(Op.PROCESSING, {"a": St.DONE}, cancelled=True) is Op.COMPLETED
    assert settle(Op.ROLLING_BACK, {"a": St.UNDONE}, cancelled=True) is Op.ROLLED_BACK


def test_rollback_is_closed_once_a_removal_began_whichever_way_it_went() -> None:
    nodes = (Node("make"), Node("break", ("make",), forward_only=True))
    made = [Event("make", St.STARTED), Event("make", St.DONE)]
    assert rollback_allowed(nodes, fold(nodes, made))
    for end in ([], [Event("break", St.FAILED)], [Event("break", St.DONE)]):
        assert not rollback_allowed(nodes, fold(nodes, [*made, Event("break", St.STARTED), *end]))


def test_nothing_to_do_is_done() -> None:
    assert settle(Op.PROCESSING, {}) is Op.COMPLETED
    assert settle(Op.ROLLING_BACK, {}) is Op.ROLLED_BACK


def test_what_is_put_on_record_ahead_waits_for_its_turn_and_removals_are_not() -> None:
    nodes = (Node("a"), Node("b", ("a",)), Node("c", ("b",)), Node("gone", ("c",), forward_only=True))
    status = fold(nodes, [Event("a", St.STARTED)])
    assert ahead(nodes, status) == ("b", "c")
    status |= {"b": St.STARTED, "c": St.STARTED}
    assert next_runs(Op.PROCESSING, nodes, status) == (Run("a"),)
    assert out_of_reach(nodes, status) == ("b", "c")
    status["a"] = St.DONE
    assert next_runs(Op.PROCESSING, nodes, status) == (Run("b"),)
    assert ahead(nodes, status) == ()


def test_an_intent_that_nothing_was_done_about_may_be_taken_back() -> None:
    log = [Event("a", St.STARTED), Event("a", St.PENDING)]
    assert fold([Node("a")], log) == {"a": St.PENDING}
    assert settle(Op.PROCESSING, {"a": St.PENDING}, cancelled=True) is Op.FAILED_TEMP
    for after in (St.DONE, St.FAILED, St.UNDO_STARTED):
        with pytest.raises(InvalidTransition):
            fold([Node("a")], [*log, Event("a", after)])
