"""An inventory as people see it: what is free is told once, and pieces are the whole."""

from __future__ import annotations

from plugins.mock.datacentre import data_centre
from vnfm.api import inventories
from vnfm.api.inventories import InventoryView
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.placement.inventory import Hardware, LinkReservation, ObservedCost, Reservation
from vnfm.pluginkit.publish import chunks
from vnfm.store.holdings import Holdings
from vnfm.vim.inventory import InventoryStore

GIB = 1 << 30
NOTHING = Holdings((), (), ())
OFFER = pb.HandshakeResponse(capabilities=[pb.CAPABILITY_SRIOV, pb.CAPABILITY_GPU])


def _store(hosts: int, chunk_bytes: int = 1 << 14) -> InventoryStore:
    made = data_centre(hosts, 1)
    store = InventoryStore("m")
    for chunk in chunks(4, made.hosts, (), made.fabric, made.licences, chunk_bytes=chunk_bytes):
        assert not store.complete
        store.take(chunk, OFFER)
    return store


def _held(host: str, resource_id: str = "r", vim: str = "m") -> Reservation:
    return Reservation(
        resource_id, vim, host, "t", Runtime.VM, Isolation.TENANT, 500, GIB, hugepage_bytes=2 * GIB, vfs=3, disk_bytes=7
    )


def test_what_a_plugin_told_arrives_whole_however_it_was_cut() -> None:
    told = data_centre(200, 1)
    for chunk_bytes in (300, 1 << 14, 1 << 24):
        store = _store(200, chunk_bytes)
        assert [h.id for h in store.hosts] == [h.id for h in told.hosts]
        for mine, theirs in zip(store.hosts, told.hosts, strict=True):
            assert (mine.parent, mine.site, mine.zone, mine.rack) == (
                theirs.parent_id,
                theirs.site,
                theirs.zone,
                theirs.rack,
            )
            assert (mine.trust, mine.only_tenant, mine.price_per_vcpu, mine.active, mine.on_cost) == (
                theirs.trust,
                theirs.only_tenant,
                theirs.price_per_vcpu,
                theirs.active,
                theirs.on_cost,
            )
            assert [(c.cpu_milli, c.memory_bytes, c.hugepage_bytes, c.vfs, c.gpus) for c in mine.cells] == [
                (c.cpu_milli, c.memory_bytes, c.hugepage_bytes, c.vfs, c.gpus) for c in theirs.cells
            ]
            assert {pb.Runtime.Value(f"RUNTIME_{r}") for r in mine.costs} == set(theirs.runtimes)
            assert all(kinds == {Hardware.SRIOV, Hardware.GPU} for kinds in mine.hardware.values())
        assert [(e.a, e.b, e.bandwidth_bps, e.one_way_us) for e in store.fabric] == [
            (e.a, e.b, e.bandwidth_bps, e.one_way_us) for e in told.fabric
        ]
        assert [(x.vim, x.id, x.site, x.count) for x in store.licences] == [
            ("m", x.id, x.site, x.count) for x in told.licences
        ]


def test_what_a_broken_stream_left_is_forgotten_and_what_was_whole_stays() -> None:
    made = data_centre(30, 1)
    cut = [*chunks(4, made.hosts, chunk_bytes=300)]
    for version in (4, 0):  # 0: a plugin that counts no versions
        store = InventoryStore("m")
        for chunk in cut:
            chunk.version = version
        for part in (cut[:5], cut, cut[:5], cut):
            store.begin()
            for chunk in part:
                store.take(chunk, OFFER)
            if store.complete:
                assert [h.id for h in store.hosts] == [h.id for h in made.hosts]
                assert Hardware.GPU in store.hosts[0].hardware[Runtime.VM]
        assert store.complete


def test_hosts_of_one_kind_share_what_they_have_in_common() -> None:
    hosts = _store(200).hosts
    kinds = {(frozenset(h.runtimes), tuple(sorted(h.costs.items()))) for h in hosts}
    assert len({id(h.costs) for h in hosts}) == len(kinds)


def test_pieces_joined_are_the_whole_document() -> None:
    view = InventoryView.of(_store(130), NOTHING)
    pieces = list(view.pieces())
    whole = view.whole()
    for name in ("hosts", "links", "latencies", "licences"):
        assert [entry for piece in pieces for entry in piece.get(name, [])] == whole[name]
    assert all(len(entries) <= inventories.PIECE for piece in pieces for entries in piece.values())
    assert len(whole["hosts"]) == 130
    assert [h["id"] for h in whole["hosts"]] == sorted(h["id"] for h in whole["hosts"])


def test_the_summary_adds_up_to_what_the_hosts_say() -> None:
    store = _store(130)
    document = InventoryView.of(store, NOTHING).whole()
    summary, hosts = document["summary"], document["hosts"]
    servers = [h for h in hosts if h["parent"] is None]
    assert (summary["hosts"], summary["servers"], summary["workers"]) == (130, 117, 13)
    assert sum(site["servers"] for site in summary["sites"]) == 117
    assert summary["cpu"]["total_milli"] == sum(h["cpu"]["total_milli"] for h in servers)
    assert summary["cpu"]["free_milli"] == sum(h["cpu"]["free_milli"] for h in hosts)
    for amount in ("memory_bytes", "hugepage_bytes", "vfs", "gpus"):
        assert summary[amount]["total"] == sum(h[amount]["total"] for h in servers) > 0
    assert summary["links"] == len(document["links"])
    assert summary["runtimes"]["CONTAINER"] == sum("CONTAINER" in h["runtimes"] for h in hosts)


def test_what_we_hold_is_not_free_and_what_we_hold_elsewhere_is() -> None:
    store = _store(130)
    before = InventoryView.of(store, NOTHING).whole()
    host = next(h for h in before["hosts"] if h["vfs"]["free"] >= 3 and h["hugepage_bytes"]["free"] >= 2 * GIB)
    edge = next(e for e in store.fabric if e.a == host["id"])
    holdings = Holdings(
        (_held(host["id"]), _held(host["id"], "s", vim="other")),
        (LinkReservation("l", (edge.id,), 5_000), LinkReservation("k", (f"other:{edge.a}--{edge.b}",), 9)),
        (ObservedCost("m", host["id"], next(iter(Runtime)), start_ms=42), ObservedCost("m", "gone", Runtime.VM, 1)),
    )
    after = InventoryView.of(store, holdings).whole()
    mine = next(h for h in after["hosts"] if h["id"] == host["id"])
    assert host["cpu"]["free_milli"] - mine["cpu"]["free_milli"] == 500
    assert host["memory_bytes"]["free"] - mine["memory_bytes"]["free"] == GIB
    assert host["hugepage_bytes"]["free"] - mine["hugepage_bytes"]["free"] == 2 * GIB
    assert host["vfs"]["free"] - mine["vfs"]["free"] == 3
    assert host["disk_bytes"]["free"] - mine["disk_bytes"]["free"] == 7
    seen = next(iter(Runtime)).value
    assert (mine["measured"][seen]["start_ms"], mine["measured"][seen]["observed"]) == (42, ["start_ms"])
    (link,) = [e for e in after["links"] if e["a"] == edge.a]
    assert link["bandwidth_bps"] == {"total": edge.bandwidth_bps, "free": edge.bandwidth_bps - 5_000}
    same = [h for h in after["hosts"] if h["id"] != host["id"]]
    assert same == [h for h in before["hosts"] if h["id"] != host["id"]]


def test_an_inventory_of_no_hosts_has_a_summary_too() -> None:
    store = InventoryStore("m")
    store.take(pb.InventoryChunk(version=1, last=True), None)
    summary = InventoryView.of(store, NOTHING).summary()
    assert (summary["hosts"], summary["sites"], summary["cpu"]) == (0, [], {"total_milli": 0, "free_milli": 0})
