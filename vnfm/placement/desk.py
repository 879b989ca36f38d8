"""One estate with what is held on it: made once for what the VIMs tell, then it follows the snapshots' holdings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from vnfm.placement.amounts import amounts_of, cells_of, disk_mib_of, shares_of, total
from vnfm.placement.atlas import MEGA, Atlas, atlas_of
from vnfm.placement.book import NOTHING, Amounts, Book, Draft, Seat
from vnfm.placement.estate import DISK, UNLIMITED, Ints
from vnfm.placement.inventory import Host, HostKey, LinkReservation, Reservation
from vnfm.placement.network import Network
from vnfm.placement.openings import Group, Opening, OpenKind, opening_of, point_of
from vnfm.placement.placer import Placer
from vnfm.placement.request import Demand
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.sorts import Sorts
from vnfm.placement.tallies import Tally
from vnfm.placement.units import Units

KEPT = 512  # kinds of demands whose judgement is kept

Held = tuple[str, str]  # "compute" or "link", and the resource's id


class Desk:
    """A book and a placer over an atlas. Used under the lock of `Snapshot.kept` only."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.network = Network.of(snapshot)
        self.atlas: Atlas = atlas_of(snapshot, self.network)
        node_of = self.atlas.node_of
        count = len(snapshot.hosts)
        self.nodes: Ints = np.fromiter((node_of[snapshot.machine[h.key]] for h in snapshot.hosts), np.int64, count)
        self.position = {h.key: i for i, h in enumerate(snapshot.hosts)}
        self._names: dict[HostKey, list[HostKey]] = {}  # of a machine
        for host in snapshot.hosts:
            self._names.setdefault(snapshot.machine[host.key], []).append(host.key)
        self._begin()

    def _begin(self) -> None:
        self.book = Book(self.atlas.estate)
        self.placer = Placer(self.book)
        self.units = Units(self.book)
        self._followed: tuple[tuple[Reservation, ...], tuple[LinkReservation, ...]] = ((), ())
        self._on: dict[HostKey, dict[str, Reservation]] = {}
        self._held: dict[Held, Reservation | LinkReservation] = {}
        self._short = False  # more is held somewhere than is there: what is left cannot be told by differences

    def node(self, host: Host) -> int:
        """The node that a host is."""
        return int(self.nodes[self.position[host.key]])

    def held_on(self, machine: HostKey) -> Amounts:
        """All that is held on a machine, its open workers included, also where that is more than there is."""
        node, openings = self.atlas.node_of[machine], self.atlas.estate.openings
        here = self.atlas.estate.on_server(node) if self.atlas.estate.root[node] == node else ()
        opened = [openings[n].amounts for n in here if n in openings and self.book.inside(n)]
        return total([*(amounts_of(r) for r in self._on.get(machine, {}).values()), *opened])

    def follow(self, snapshot: Snapshot) -> None:
        """Enter what the snapshot holds, and take out what it does not."""
        hosts, links = self._followed
        if snapshot.reservations is hosts and snapshot.link_reservations is links:
            self.placer.routes.renew()
            return
        gone, fresh = self._differences(snapshot)
        if gone and self._short:
            self._begin()
            gone, fresh = self._differences(snapshot)
        self._followed = (snapshot.reservations, snapshot.link_reservations)
        for key in gone:
            before = self._held.pop(key)
            if isinstance(before, Reservation) and (machine := snapshot.machine.get((before.vim, before.host))):
                del self._on[machine][key[1]]
            if f"{key[0]} {key[1]}" in self.book.held:
                self.book.release(f"{key[0]} {key[1]}")
        for key, held in fresh:
            if key not in self._held:
                self._enter(snapshot, key, held)
        self.placer.routes.renew()

    def _enter(self, snapshot: Snapshot, key: Held, held: Reservation | LinkReservation) -> None:
        self._held[key] = held
        if isinstance(held, LinkReservation):
            self.book.commit(f"{key[0]} {key[1]}", self._routed(held))
        elif (machine := snapshot.machine.get((held.vim, held.host))) is not None:
            self.book.commit(f"{key[0]} {key[1]}", self._drafted(self.atlas.node_of[machine], held))
            self._on.setdefault(machine, {})[key[1]] = held

    def _differences(self, snapshot: Snapshot) -> tuple[list[Held], list[tuple[Held, Reservation | LinkReservation]]]:
        """Keys of what is held no more, and what is held anew."""
        before, since = self._followed, snapshot.since
        if since and since.reservations is before[0] and since.link_reservations is before[1]:
            return [_key(r) for r in since.gone if _key(r) in self._held], [(_key(r), r) for r in since.fresh]
        now: dict[Held, Reservation | LinkReservation] = {_key(r): r for r in snapshot.reservations}
        now.update((_key(r), r) for r in snapshot.link_reservations)
        gone = [k for k, r in self._held.items() if now.get(k) is not r and now.get(k) != r]
        return gone, list(now.items())

    def _drafted(self, node: int, held: Reservation) -> Draft:
        book = self.book
        asked = amounts_of(held)
        amounts = _amounts(max(0, min(a, book.left[r][node])) for r, a in enumerate(asked))
        self._short = self._short or amounts != asked
        draft = Draft(book.tenant(held.tenant))
        draft.used[node] = amounts
        if held.cell is not None and held.cell < book.estate.cells[node]:
            cell = book.cell_left[held.cell]
            bound = _amounts([*(max(0, min(a, cell[r][node])) for r, a in enumerate(asked[:DISK])), 0])
            self._short = self._short or bound[:DISK] != asked[:DISK]
            draft.cell_used[node, held.cell] = bound
        if held.licence:
            token = (held.licence, book.estate.site_of(node))
            count = max(0, min(held.licence_count, book.licences.get(token, 0)))
            self._short = self._short or count != held.licence_count
            if count:
                draft.licences[token] = count
        draft.seats[0] = Seat(node, 0, -1, NOTHING, shares_of(held), None)
        return draft

    def _routed(self, held: LinkReservation) -> Draft:
        draft, book = Draft(0), self.book
        asked = -(-held.bandwidth_bps // MEGA)
        for edge in held.edges:
            link = self.atlas.link_of.get(edge)
            if link is not None:
                amount = max(0, min(asked, book.bandwidth[link] - draft.link_used.get(link, 0)))
                self._short = self._short or amount != asked
                draft.link_used[link] = draft.link_used.get(link, 0) + amount
        return draft

    def growth(self, snapshot: Snapshot, hosts: Mapping[HostKey, Host]) -> Draft:
        """What these hosts in the place of those of the same key leave more than the book has: as a draft that takes
        less than nothing."""
        draft, book = Draft(0), self.book
        for machine in {snapshot.machine[key] for key in hosts}:
            told = [hosts.get(key) or snapshot.by_key[key] for key in self._names[machine]]
            node, cells, disk = self.atlas.node_of[machine], cells_of(told), disk_mib_of(told)
            vectors = [(c.cpu_milli, c.memory_mib, c.hugepages_mib, c.vfs, c.gpus) for c in cells]
            whole = [*(sum(v[r] for v in vectors) for r in range(DISK)), UNLIMITED if disk is None else disk]
            held = self.held_on(machine)
            draft.used[node] = _amounts(book.left[r][node] - max(0, w - held[r]) for r, w in enumerate(whole))
            for c, vector in enumerate(vectors):
                bound = total(amounts_of(r) for r in self._on.get(machine, {}).values() if r.cell == c)
                left = book.cell_left[c]
                draft.cell_used[node, c] = _amounts(
                    [*(left[r][node] - max(0, v - bound[r]) for r, v in enumerate(vector)), 0]
                )
        return draft


class Offers:
    """What the hosts of a snapshot offer to demands, as the table has it. Used under the same lock as the desk."""

    def __init__(self, sorts: Sorts, desk: Desk) -> None:
        self.sorts, self._desk = sorts, desk
        self.groups = [
            Group(sort, at, sorts.hosts[at[0]], sorts.nested(int(at[0])))
            for sort, at in enumerate(sorts.members())
            if len(at)
        ]
        self._openings: dict[object, Opening] = {}
        self._table: set[Opening] = set()  # those of them
        self._kinds: dict[Opening, OpenKind] = {}
        self._tallies: dict[Opening, Tally] = {}
        self._point = point_of(desk.book.estate.size)
        self._points: dict[int, OpenKind] = {}
        self._book = desk.book  # that kinds and tallies are of

    def opening(self, demand: Demand) -> Opening:
        """What the table leaves to the demand."""
        key = _asked(demand)
        found = self._openings.get(key)
        if found is None:
            if len(self._openings) >= KEPT:
                self._openings.clear()
                self._table.clear()
                self._forget()
            found = self._openings[key] = opening_of(demand, self.groups, self._desk.nodes, self._desk.book.estate.size)
            self._table.add(found)
        return found

    def _forget(self) -> None:
        self._kinds.clear()
        self._tallies.clear()
        self._points.clear()

    def _renew(self) -> None:
        if self._book is not self._desk.book:
            self._forget()
            self._book = self._desk.book

    def kind(self, opening: Opening, tenant: int, docks: int) -> OpenKind:
        """The kind of demands of a tenant with that opening, kept where the opening is the table's."""
        if opening not in self._table:
            return opening.kind(tenant, docks)
        self._renew()
        found = self._kinds.get(opening)
        if found is None:
            found = self._kinds[opening] = opening.kind(tenant, docks)
        return found

    def point(self, tenant: int, docks: int) -> OpenKind:
        """The kind of what asks nothing but to be somewhere: an end without a host."""
        self._renew()
        found = self._points.get(tenant)
        if found is None:
            found = self._points[tenant] = self._point.kind(tenant, docks)
        return found

    def tally(self, opening: Opening, tenant: int) -> Tally:
        """What there is to tell of demands of a tenant with that opening, kept where the opening is the table's."""
        if opening not in self._table:
            return Tally(opening, tenant, self._desk.book, self._desk.nodes)
        self._renew()
        found = self._tallies.get(opening)
        if found is None:
            found = self._tallies[opening] = Tally(opening, tenant, self._desk.book, self._desk.nodes)
        return found


def _amounts(values: Iterable[int]) -> Amounts:
    cpu, memory, huge, vfs, gpus, disk = values
    return (cpu, memory, huge, vfs, gpus, disk)


def _key(held: Reservation | LinkReservation) -> Held:
    return "compute" if isinstance(held, Reservation) else "link", held.resource_id


def _asked(demand: Demand) -> object:
    """What the table looks at of a demand."""
    n = demand.needs
    bounds = (n.min_trust, n.max_startup_ms, n.max_hop_us, n.numa_strict, n.arch)
    hardware = (n.cpu_pinned, n.hugepage_bytes, n.sriov_ports, n.gpus)
    where = (demand.tenant, demand.vims, demand.sites, demand.zones, demand.arches)
    sizes = (demand.cpu_milli, demand.memory_bytes, demand.disk_bytes, demand.artefacts)
    return (
        n.isolation,
        n.own_kernel,
        n.own_os,
        n.wishes,
        n.traits,
        n.licence,
        n.licence_count,
        bounds,
        hardware,
        where,
        sizes,
    )


def desk_of(snapshot: Snapshot) -> Desk:
    """The desk of a snapshot's hosts, with what it holds entered. To be called under `snapshot.kept.lock`."""
    desk = snapshot.kept.apart.get("desk")
    if not isinstance(desk, Desk):
        desk = snapshot.kept.apart["desk"] = Desk(snapshot)
    desk.follow(snapshot)
    return desk


def offers_of(snapshot: Snapshot, desk: Desk) -> Offers:
    """What a snapshot's hosts offer, on its desk."""
    made = snapshot.kept.made
    offers = made.get("offers")
    if not isinstance(offers, Offers):
        if "sorts" not in made:
            made["sorts"] = Sorts(snapshot.hosts, [snapshot.nested(h.key) for h in snapshot.hosts])
        offers = made["offers"] = Offers(made["sorts"], desk)
    return offers
