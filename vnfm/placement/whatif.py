"""What if: hosts drained or gone, chains placed anew. Worked out on a copy; what stands is not touched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vnfm.placement.placer import Placer, answer_of, cost_of
from vnfm.placement.statement import Answer


@dataclass(frozen=True, slots=True)
class Move:
    """A chain as it would be placed anew; `saved` in the statement's units, negative where it gets dearer."""

    before: Answer
    after: Answer
    saved: int


@dataclass(frozen=True, slots=True)
class Consequence:
    """What becomes of the chains that used hosts that are away. `lost` are refused, with the reason."""

    moves: tuple[Move, ...]
    lost: tuple[Answer, ...]


def without(placer: Placer, nodes: Collection[str]) -> Consequence:
    """Drain or lose these nodes, with what runs on top of them. The dearest chains choose first.

    A zone fails by naming its nodes. Raises ProblemError `not-found` for a node that does not exist.
    """
    trial = placer.trial()
    book = trial.book
    away = book.nodes_above(nodes)
    hit = [name for name, draft in book.held.items() if any(seat.node in away for seat in draft.seats.values())]
    before = {name: (trial.answers(name), trial.cost(name)) for name in hit}
    for name in hit:
        book.release(name)
    book.close(away)
    moves, lost = [], []
    for name in sorted(hit, key=lambda x: (-trial.chains[x].value, x)):
        found = trial.find(trial.chains[name])
        if found.draft is None:
            lost.append(Answer(name, accepted=False, reason=trial.refusal(found).as_dict()))
            continue
        answer, cost = before[name]
        after = answer_of(found.ask, book, found.draft)
        moves.append(Move(answer, after, cost - cost_of(found.ask, found.draft, book)))
        book.commit(name, found.draft, found.version)
    return Consequence(tuple(moves), tuple(lost))


def cheaper(placer: Placer, most: int) -> tuple[Move, ...]:
    """Up to `most` chains that would be cheaper where they would be placed now, one after the other, in that order."""
    trial = placer.trial()
    book = trial.book
    moves: list[Move] = []
    for name in sorted(book.held, key=lambda x: (-trial.cost(x), x)):
        if len(moves) == most:
            break
        answer, draft = trial.answers(name), book.held[name]
        book.release(name)
        cost = trial.cost_now(name, draft)
        found = trial.find(trial.chains[name])
        better = found.draft is not None and cost_of(found.ask, found.draft, book) < cost
        if better and found.draft is not None:
            after = answer_of(found.ask, book, found.draft)
            moves.append(Move(answer, after, cost - cost_of(found.ask, found.draft, book)))
            book.commit(name, found.draft, found.version)
        else:
            book.commit(name, draft)
    return tuple(moves)
