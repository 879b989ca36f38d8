"""One estate with what is held on it: made once for what the VIMs tell, then it follows the snapshots' holdings."""

from __future__ import annotations

from vnfm.placement.atlas import MEGA, SCALE, Atlas, atlas_of
from vnfm.placement.book import NOTHING, Book, Draft, Seat
from vnfm.placement.estate import GRAIN
from vnfm.placement.network import Network
from vnfm.placement.openings import amounts_of, shares_of
from vnfm.placement.placer import Placer
from vnfm.placement.score import DEFAULT_WEIGHTS
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import LinkReservation, Reservation

LOG = 1 << 20  # changes after which a book is begun anew


class Desk:
    """A book and a placer over an atlas. Used under the lock of `Snapshot.kept` only."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.atlas: Atlas = atlas_of(snapshot, Network.of(snapshot), DEFAULT_WEIGHTS.switch_on * SCALE // GRAIN)
        self._begin()

    def _begin(self) -> None:
        self.book = Book(self.atlas.estate)
        self.placer = Placer(self.book)
        self._held: dict[tuple[str, str], Reservation | LinkReservation] = {}
        self._short = False  # more is held somewhere than is there: what is left cannot be told by differences

    def follow(self, snapshot: Snapshot) -> None:
        """Enter what the snapshot holds, and take out what it does not."""
        now: dict[tuple[str, str], Reservation | LinkReservation] = {}
        now.update((("compute", r.resource_id), r) for r in snapshot.reservations)
        now.update((("link", r.resource_id), r) for r in snapshot.link_reservations)
        gone = [k for k, r in self._held.items() if now.get(k) is not r and now.get(k) != r]
        if (gone and self._short) or len(self.book.touched) > LOG:
            self._begin()
            gone = []
        for key in gone:
            del self._held[key]
            if f"{key[0]} {key[1]}" in self.book.held:
                self.book.release(f"{key[0]} {key[1]}")
        for key, held in now.items():
            if key not in self._held:
                self._held[key] = held
                draft = self._drafted(snapshot, held) if isinstance(held, Reservation) else self._routed(held)
                if draft is not None:
                    self.book.commit(f"{key[0]} {key[1]}", draft)

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


def desk_of(snapshot: Snapshot) -> Desk:
    """The desk of a snapshot's hosts, with what it holds entered. To be called under `snapshot.kept.lock`."""
    desk = snapshot.kept.made.get("desk")
    if not isinstance(desk, Desk):
        desk = snapshot.kept.made["desk"] = Desk(snapshot)
    desk.follow(snapshot)
    return desk
