"""One estate with what is held on it: made once for what the VIMs tell, then it follows the snapshots' holdings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vnfm.placement.atlas import HALVES, MEGA, SCALE, UNTOLD_US, Atlas, atlas_of
from vnfm.placement.book import NOTHING, Book, Draft, Seat
from vnfm.placement.candidates import Candidate, Refused, candidates_of, groups_of
from vnfm.placement.estate import GRAIN
from vnfm.placement.fabric import FAR
from vnfm.placement.ledger import Load, load_of
from vnfm.placement.network import Network, Route
from vnfm.placement.openings import Opening, amounts_of, opening_of, shares_of
from vnfm.placement.placer import Placer
from vnfm.placement.score import DEFAULT_WEIGHTS, Weights
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import Demand, HostKey, LinkReservation, Reservation

KEPT = 512  # kinds of demands whose judgement is kept
LOG = 1 << 20  # changes after which a book is begun anew


class Desk:
    """A book and a placer over an atlas, and what the table says of its hosts. Used under the lock of
    `Snapshot.kept` only. `loads`: by machine, what is held there."""

    def __init__(self, snapshot: Snapshot) -> None:
        places = Network.of(snapshot)
        self._base = snapshot
        kept = snapshot.kept.made.get("atlas")
        if not isinstance(kept, Atlas):
            kept = atlas_of(snapshot, places, DEFAULT_WEIGHTS.switch_on * SCALE // GRAIN)
            snapshot.kept.made["atlas"] = kept
        self.atlas = kept
        self.network = replace(places, router=self)
        self._groups = groups_of(snapshot, self._attached(places))
        self._judged: dict[object, tuple[tuple[Candidate, ...], tuple[Refused, ...]]] = {}
        self._openings: dict[object, Opening] = {}
        self._begin()

    def _begin(self) -> None:
        self.book = Book(self.atlas.estate)
        self.placer = Placer(self.book)
        self.loads: dict[HostKey, Load] = {}
        self._on: dict[HostKey, dict[str, Reservation]] = {}
        self._held: dict[tuple[str, str], Reservation | LinkReservation] = {}
        self._followed: tuple[tuple[Reservation, ...], tuple[LinkReservation, ...]] = ((), ())
        self._short = False  # more is held somewhere than is there: what is left cannot be told by differences

    def _attached(self, places: Network) -> dict[HostKey, object]:
        fabric, node_of = self.atlas.estate.fabric, self.atlas.node_of
        found: dict[HostKey, object] = {}
        for root, zone in places.zones.items():
            spot = self.atlas.estate.spots[node_of[root]]
            room = fabric.bandwidth[spot.uplink] if spot.uplink >= 0 else 0
            found[root] = (zone, places.sites[root], spot.vertex, spot.uplink_us, room)
        return found

    def judged(self, demand: Demand, weights: Weights) -> tuple[tuple[Candidate, ...], tuple[Refused, ...]]:
        """What the table leaves to the demand, best first, and what it refuses."""
        key = _asked(demand, weights)
        found = self._judged.get(key)
        if found is None:
            if len(self._judged) >= KEPT:
                self._judged.clear()
                self._openings.clear()
            found = self._judged[key] = candidates_of(demand, self._groups, self._base, weights)
        return found

    def opening(self, demand: Demand, weights: Weights, candidates: tuple[Candidate, ...]) -> Opening:
        """The opening of a demand with these candidates; kept where they are all that the table leaves."""
        key = _asked(demand, weights)
        if self._judged.get(key, ((), ()))[0] is not candidates:
            return opening_of(demand, candidates, self._base, self.atlas, weights)
        found = self._openings.get(key)
        if found is None:
            found = self._openings[key] = opening_of(demand, candidates, self._base, self.atlas, weights)
        return found

    def way(self, a: HostKey, b: HostKey, bandwidth_bps: int, taken: Mapping[str, int]) -> Route | None:
        """As the search would route now; what is held counts, and `taken` by edge beside it."""
        atlas = self.atlas
        if a == b:
            return Route(0)
        spots, links = atlas.estate.spots, atlas.estate.fabric
        used = {atlas.link_of[e]: -(-bps // MEGA) for e, bps in taken.items()}
        here, there = spots[atlas.node_of[a]], spots[atlas.node_of[b]]
        found = self.placer.routes.route(here, there, -(-bandwidth_bps // MEGA), used, FAR, patient=True)
        if found is None:
            return None
        names = tuple(name for i in found[0] if (name := links.link_ids[i]) in atlas.link_of)
        return Route(None if found[1] >= UNTOLD_US // 2 else found[1] // HALVES, names)

    def follow(self, snapshot: Snapshot) -> None:
        """Enter what the snapshot holds, and take out what it does not."""
        changed: set[HostKey] = set()
        gone, fresh = self._differences(snapshot)
        if (gone and self._short) or len(self.book.touched) > LOG:
            self._begin()
            gone, fresh = self._differences(snapshot)
        self._followed = (snapshot.reservations, snapshot.link_reservations)
        for key in gone:
            before = self._held.pop(key)
            machine = snapshot.machine.get((before.vim, before.host)) if isinstance(before, Reservation) else None
            if machine is not None:
                del self._on[machine][key[1]]
                changed.add(machine)
            if f"{key[0]} {key[1]}" in self.book.held:
                self.book.release(f"{key[0]} {key[1]}")
        for key, held in fresh:
            if key not in self._held:
                self._held[key] = held
                draft = self._drafted(snapshot, held) if isinstance(held, Reservation) else self._routed(held)
                if draft is not None:
                    self.book.commit(f"{key[0]} {key[1]}", draft)
                machine = snapshot.machine.get((held.vim, held.host)) if isinstance(held, Reservation) else None
                if machine is not None and isinstance(held, Reservation):
                    self._on.setdefault(machine, {})[key[1]] = held
                    changed.add(machine)
        for machine in changed:
            self.loads.pop(machine, None)
            if on := self._on[machine]:
                self.loads[machine] = load_of(on.values())
        self.placer.routes.renew()

    def _differences(
        self, snapshot: Snapshot
    ) -> tuple[list[tuple[str, str]], list[tuple[tuple[str, str], Reservation | LinkReservation]]]:
        """Keys of what is held no more, and what is held anew."""
        before, since = self._followed, snapshot.since
        if snapshot.reservations is before[0] and snapshot.link_reservations is before[1]:
            return [], []
        if since and since.reservations is before[0] and since.link_reservations is before[1]:
            return [_key(r) for r in since.gone if _key(r) in self._held], [(_key(r), r) for r in since.fresh]
        now: dict[tuple[str, str], Reservation | LinkReservation] = {_key(r): r for r in snapshot.reservations}
        now.update((_key(r), r) for r in snapshot.link_reservations)
        gone = [k for k, r in self._held.items() if now.get(k) is not r and now.get(k) != r]
        return gone, list(now.items())

    def _drafted(self, snapshot: Snapshot, held: Reservation) -> Draft | None:
        machine = snapshot.machine.get((held.vim, held.host))
        if machine is None:
            return None
        book, node = self.book, self.atlas.node_of[machine]
        asked = amounts_of(held)
        amounts = tuple(max(0, min(a, book.left[r][node])) for r, a in enumerate(asked))
        self._short = self._short or amounts != asked
        draft = Draft(book.tenant(held.tenant))
        shares = shares_of(held)
        draft.used[node] = amounts  # type: ignore[assignment]
        if held.cell is not None and held.cell < book.estate.cells[node]:
            cell = book.cell_left[held.cell]
            bound = tuple(max(0, min(a, cell[r][node])) for r, a in enumerate(asked[:5]))
            self._short = self._short or bound != asked[:5]
            draft.cell_used[node, held.cell] = (*bound, 0)  # type: ignore[assignment]
        draft.seats[0] = Seat(node, 0, -1, NOTHING, shares, None)
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


def _key(held: Reservation | LinkReservation) -> tuple[str, str]:
    return "compute" if isinstance(held, Reservation) else "link", held.resource_id


def _asked(demand: Demand, weights: Weights) -> object:
    """What the table looks at of a demand."""
    n = demand.needs
    bounds = (n.min_trust, n.max_startup_ms, n.max_hop_us, n.numa_strict, n.arch)
    hardware = (n.cpu_pinned, n.hugepage_bytes, n.sriov_ports, n.gpus)
    where = (demand.tenant, demand.vims, demand.sites, demand.zones)
    sizes = (demand.cpu_milli, demand.memory_bytes, demand.disk_bytes, demand.artefacts)
    return (n.isolation, n.own_kernel, n.own_os, n.wishes, bounds, hardware, where, sizes, weights)


def desk_of(snapshot: Snapshot) -> Desk:
    """The desk of a snapshot's hosts, with what it holds entered. To be called under `snapshot.kept.lock`."""
    desk = snapshot.kept.made.get("desk")
    if not isinstance(desk, Desk):
        desk = snapshot.kept.made["desk"] = Desk(snapshot)
    desk.follow(snapshot)
    return desk
