"""What holds for every request and every cloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placement_builders import ALL, COSTS, GIB, MIB, Isolation, Runtime, host, refused_with_change

from vnfm.model.needs import Needs
from vnfm.placement.engine import place
from vnfm.placement.inventory import Cell, Host, Reservation, ZoneLatency
from vnfm.placement.plan import Assignment, Plan, PlannedEnd, PlannedLink, Refusal
from vnfm.placement.request import Demand, End, Link, PathBound, Request, Rule, RuleKind, Scope
from vnfm.placement.snapshot import Snapshot

ordinary = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
GIVES = {Runtime.CONTAINER: 1, Runtime.KATA: 3, Runtime.VM: 4}


@st.composite
def hosts(draw: st.DrawFn, name: str, parent: str = "") -> Host:
    cells = draw(
        st.lists(
            st.builds(
                Cell,
                cpu_milli=st.integers(1, 8).map(lambda n: n * 500),
                memory_bytes=st.integers(1, 10).map(lambda n: n * 256 * MIB),
                cpu_used_by_others_milli=st.sampled_from([0, 0, 500]),
                vfs=st.integers(0, 2),
            ),
            min_size=1,
            max_size=2,
        )
    )
    return host(
        name,
        cells=tuple(cells),
        parent=parent,
        runtimes=frozenset({Runtime.CONTAINER}) if parent else draw(st.sampled_from([ALL, ALL, ALL - {Runtime.VM}])),
        zone=draw(st.sampled_from(["z1", "z2"])),
        trust=draw(st.integers(0, 1)),
        price_per_vcpu=draw(st.sampled_from([0.0, 0.5])),
        active=draw(st.booleans()),
        costs=COSTS,
    )


@st.composite
def clouds(draw: st.DrawFn) -> Snapshot:
    servers = [draw(hosts(f"s{i}")) for i in range(draw(st.integers(1, 3)))]
    workers = [draw(hosts(f"w{i}", draw(st.sampled_from(servers)).id)) for i in range(draw(st.integers(0, 2)))]
    held = [
        Reservation(
            "held", "local", h.id, "red", Runtime.CONTAINER, draw(st.sampled_from(list(Isolation)[:2])), 100, MIB
        )
        for h in [*servers, *workers]
        if draw(st.booleans())
    ][:1]
    told = [ZoneLatency(a, b, 20 if a == b else 300) for a in ("z1", "z2") for b in ("z1", "z2")]
    return Snapshot.of(1, [*servers, *workers], latencies=told, reservations=held)


@st.composite
def demands(draw: st.DrawFn, name: str) -> Demand:
    wishes = draw(
        st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"isolation"}), frozenset({"latency"})])
    )
    needs = Needs(
        isolation=draw(st.sampled_from([*Isolation, Isolation.NONE, Isolation.TENANT])),
        own_kernel=draw(st.sampled_from([False, False, True])),
        max_hop_us=draw(st.sampled_from([None, None, None, 75])),
        min_trust=draw(st.sampled_from([0, 0, 0, 1])),
        sriov_ports=draw(st.sampled_from([0, 0, 0, 1])),
        numa_strict=draw(st.sampled_from([False, False, True])),
        wishes=wishes,
    )
    artefacts = draw(st.sampled_from([ALL, ALL, ALL - {Runtime.VM}, frozenset({Runtime.VM})]))
    cpu, memory = draw(st.sampled_from([500, 1000, 2000])), draw(st.sampled_from([64 * MIB, 512 * MIB]))
    return Demand(f"{name}-0", name, "vdu", "blue", cpu, memory, 0, needs, artefacts)


@st.composite
def requests(draw: st.DrawFn, most: int = 4) -> Request:
    chain = [draw(demands(f"v{i}")) for i in range(draw(st.integers(1, most)))]
    names = ["in", *(d.id for d in chain), "out"]
    links = tuple(Link(f"l{i}", a, b) for i, (a, b) in enumerate(pairwise(names)))
    bound = draw(st.sampled_from([None, 150, 400, 2_000]))
    rules = ()
    if len(chain) > 1 and draw(st.booleans()):
        kind, scope = draw(st.sampled_from(list(RuleKind))), draw(st.sampled_from([Scope.NFVI_NODE, Scope.ZONE]))
        rules = (Rule("rule", kind, scope, ((chain[0].id,), (chain[-1].id,))),)
    paths = () if bound is None else (PathBound("main", tuple(x.id for x in links), bound),)
    return Request("blue", tuple(chain), links, paths, rules, (End("in"), End("out")))


def check(asked: Request, snapshot: Snapshot, plan: Plan) -> None:
    """An auditor of its own: it shares no code with the search."""
    by_id = {d.id: d for d in asked.demands}
    by_key = {(h.vim, h.id): h for h in snapshot.hosts}
    held = {r.resource_id: r for r in plan.reservations}
    assert set(held) == set(by_id) == {a.id for a in plan.assignments}
    used: dict[tuple[str, str], list[Reservation]] = {}
    for r in (*snapshot.reservations, *plan.reservations):
        used.setdefault((r.vim, r.host), []).append(r)
    for key in {(r.vim, r.host) for r in plan.reservations}:
        here = used[key]
        _no_oversubscription(by_key[key], here)
        containers = [r for r in here if r.runtime is Runtime.CONTAINER]
        if any(r.isolation >= Isolation.TENANT for r in containers):
            assert len({r.tenant for r in containers}) == 1 or all(r.resource_id == "held" for r in containers)
    for a in plan.assignments:
        d, h = by_id[a.id], by_key[(a.vim, a.host)]
        level = 2 if a.nested and a.runtime is Runtime.CONTAINER else GIVES[a.runtime]
        if "isolation" not in d.needs.wishes:
            assert level >= d.needs.isolation <= held[a.id].isolation
        assert a.runtime in d.artefacts & h.runtimes
        assert not (d.needs.own_kernel and a.runtime is Runtime.CONTAINER)
        assert h.trust >= d.needs.min_trust or "isolation" in d.needs.wishes
        assert not (d.needs.sriov_ports and (a.nested or a.runtime is Runtime.KATA))
        assert a.host_path == ((h.parent, h.id) if h.parent else (h.id,))
        assert a.reasons
    _rules_and_latency(asked, by_key, plan)


def _no_oversubscription(h: Host, here: list[Reservation]) -> None:
    assert sum(r.cpu_milli for r in here) <= sum(c.cpu_milli - c.cpu_used_by_others_milli for c in h.cells)
    assert sum(r.memory_bytes for r in here) <= sum(c.memory_bytes for c in h.cells)
    assert sum(r.vfs for r in here) <= sum(c.vfs for c in h.cells)
    for i, c in enumerate(h.cells):
        bound = [r for r in here if r.cell == i]
        assert sum(r.cpu_milli for r in bound) <= max(0, c.cpu_milli - c.cpu_used_by_others_milli)
        assert sum(r.memory_bytes for r in bound) <= c.memory_bytes
        assert sum(r.vfs for r in bound) <= c.vfs


def _rules_and_latency(asked: Request, by_key: dict[tuple[str, str], Host], plan: Plan) -> None:
    server = {a.id: by_key[(a.vim, a.host_path[0])] for a in plan.assignments}
    for rule in asked.rules:
        one, two = (server[g[0]] for g in rule.groups)
        same = one.id == two.id if rule.scope is Scope.NFVI_NODE else one.zone == two.zone
        assert same is (rule.kind is RuleKind.AFFINITY)
    runtime = {a.id: a.runtime for a in plan.assignments}
    told = {x.id: x.latency_us for x in plan.links}
    for x in asked.links:
        hop = sum(COSTS[runtime[i]].hop_us for i in (x.a, x.b) if i in runtime)
        if x.a in server and x.b in server:
            a, b = server[x.a], server[x.b]
            hop += 0 if a.id == b.id else 20 if a.zone == b.zone else 300
        assert told[x.id] == hop
    for p in asked.paths:
        assert sum(told[i] or 0 for i in p.links) <= p.max_latency_us


@ordinary
@given(requests(), clouds())
def test_a_plan_never_oversubscribes_nor_weakens_what_was_asked(asked: Request, snapshot: Snapshot) -> None:
    outcome = place(asked, snapshot)
    if isinstance(outcome, Plan):
        check(asked, snapshot, outcome)


def _every_way(asked: Request, snapshot: Snapshot) -> Iterator[Plan]:
    """All plans there could be, most of them wrong; links told as they would be."""
    by_key = {(h.vim, h.id): h for h in snapshot.hosts}
    for ways in product(product(snapshot.hosts, Runtime), repeat=len(asked.demands)):
        placed = dict(zip((d.id for d in asked.demands), ways, strict=True))
        links = []
        for x in asked.links:
            ends = [placed[i] for i in (x.a, x.b) if i in placed]
            hop = sum(COSTS[runtime].hop_us for _, runtime in ends)
            roots = [by_key[(h.vim, h.parent or h.id)] for h, _ in ends]
            if len(roots) == 2 and roots[0].id != roots[1].id:
                hop += 20 if roots[0].zone == roots[1].zone else 300
            links.append(PlannedLink(x.id, hop, 0))
        cells = [
            range(len(h.cells)) if d.needs.numa_strict else (None,)
            for d, (h, _) in zip(asked.demands, ways, strict=True)
        ]
        for chosen in product(*cells):
            yield Plan(1, *_as_plan(asked, placed, chosen, tuple(links)))


def _as_plan(
    asked: Request,
    placed: dict[str, tuple[Host, Runtime]],
    cells: tuple[int | None, ...],
    links: tuple[PlannedLink, ...],
) -> tuple[tuple[Assignment, ...], tuple[PlannedLink, ...], tuple[PlannedEnd, ...], tuple[Reservation, ...]]:
    assignments, held = [], []
    for d, cell in zip(asked.demands, cells, strict=True):
        h, r = placed[d.id]
        path = (h.parent, h.id) if h.parent else (h.id,)
        assignments.append(Assignment(d.id, d.alias, d.vdu, "", h.vim, h.id, path, r, bool(h.parent), cell, ("-",)))
        memory = d.memory_bytes + COSTS[r].memory_bytes
        isolation = d.needs.isolation
        held.append(
            Reservation(
                d.id, h.vim, h.id, d.tenant, r, isolation, d.cpu_milli, memory, vfs=d.needs.sriov_ports, cell=cell
            )
        )
    return tuple(assignments), links, (), tuple(held)


def _stands(asked: Request, snapshot: Snapshot, plan: Plan) -> bool:
    try:
        check(asked, snapshot, plan)
    except AssertionError:
        return False
    hop = {a.id: COSTS[a.runtime].hop_us for a in plan.assignments}
    return all(d.needs.max_hop_us is None or hop[d.id] <= d.needs.max_hop_us for d in asked.demands)


@ordinary
@given(requests(most=2), clouds())
def test_what_is_refused_is_impossible_in_every_way(asked: Request, snapshot: Snapshot) -> None:
    """Brute force over all hosts, runtimes and cells; wishes are left out, since the auditor does not rank them."""
    plain = replace(asked, demands=tuple(replace(d, needs=replace(d.needs, wishes=frozenset())) for d in asked.demands))
    outcome = place(plain, snapshot)
    assert isinstance(outcome, Plan) is any(_stands(plain, snapshot, p) for p in _every_way(plain, snapshot))


@ordinary
@given(requests(), clouds())
def test_release_undoes_place(asked: Request, snapshot: Snapshot) -> None:
    outcome = place(asked, snapshot)
    if isinstance(outcome, Plan):
        held = snapshot.holding(outcome.reservations, outcome.link_reservations)
        assert held != snapshot
        assert held.releasing([r.resource_id for r in outcome.reservations] + [x.id for x in outcome.links]) == snapshot


@ordinary
@given(requests(), clouds())
def test_a_refusals_change_really_admits(asked: Request, snapshot: Snapshot) -> None:
    outcome = place(asked, snapshot)
    if not isinstance(outcome, Refusal):
        return
    assert outcome.detail
    again, change = refused_with_change(asked, snapshot)
    assert again == outcome
    assert outcome.minimal_change == (change.text if change else "not found")
    if change is not None:
        changed = change.snapshot(snapshot)
        after = place(change.request, changed)
        assert isinstance(after, Plan)
        check(change.request, changed, after)


@ordinary
@given(requests(), clouds(), st.randoms(use_true_random=False))
def test_neither_order_nor_host_names_decide_the_runtimes(asked: Request, snapshot: Snapshot, random: object) -> None:
    names = [h.id for h in snapshot.hosts]
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    new = dict(zip(names, shuffled, strict=True))
    other = Snapshot.of(
        1,
        [replace(h, id=new[h.id], parent=new.get(h.parent, "")) for h in reversed(snapshot.hosts)],
        latencies=snapshot.latencies,
        reservations=[replace(r, host=new[r.host]) for r in snapshot.reservations],
    )
    turned = replace(asked, demands=asked.demands[::-1], links=asked.links[::-1], ends=asked.ends[::-1])
    first, second = place(asked, snapshot), place(turned, other)
    assert type(first) is type(second)
    if isinstance(first, Plan) and isinstance(second, Plan):
        assert {a.id: (a.runtime, a.nested) for a in first.assignments} == {
            a.id: (a.runtime, a.nested) for a in second.assignments
        }
    if isinstance(first, Refusal) and isinstance(second, Refusal):
        assert first.proof is second.proof


@ordinary
@given(requests(), clouds())
def test_the_same_question_has_the_same_answer(asked: Request, snapshot: Snapshot) -> None:
    assert place(asked, snapshot) == place(asked, snapshot)


@ordinary
@given(requests(), clouds())
def test_more_room_never_turns_a_plan_into_a_refusal(asked: Request, snapshot: Snapshot) -> None:
    if isinstance(place(asked, snapshot), Plan):
        more = host("extra", cells=(Cell(64_000, 64 * GIB, vfs=8),), zone="z1", trust=3)
        assert isinstance(place(asked, snapshot.with_hosts([])), Plan)
        bigger = Snapshot.of(
            1, [*snapshot.hosts, more], latencies=snapshot.latencies, reservations=snapshot.reservations
        )
        assert isinstance(place(asked, bigger), Plan)
