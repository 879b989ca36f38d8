"""What the parameters of an order say, and back: changes of chains, heals, scalings, modifications.

An operation's `params` are JSON and are stored with it. By type of operation:

| type        | params                                                                                             |
|-------------|----------------------------------------------------------------------------------------------------|
| CHAIN_*     | `change_params`; the store adds `new_instance_id` and `old_instance_id`                            |
| HEAL        | `heal_params`: VNFCs by resource id (none: all), cause, when the death was seen; those of other    |
|             | VNFs of the same chain may be among them, which are subjects then, too: with one of two dead a     |
|             | probe could not pass                                                                               |
| SCALE       | `scale_params`: SCALE_OUT or SCALE_IN, the aspect (empty: the only one), the number of steps       |
| MODIFY_INFO | `modify_params`: empty values stay as they are                                                     |

The store adds `chain_id` to those on a VNF of a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from vnfm.lcm.operation import Operation
from vnfm.model.change import ChainChange, Insert, Remove, Reorder, Replace, Scale, Swap
from vnfm.model.codec import decode, encode
from vnfm.model.lcm import LcmOperationType
from vnfm.model.needs import Isolation
from vnfm.model.problem import Problem, Retry, problem

KINDS: Mapping[str, type[ChainChange]] = {
    "insert": Insert,
    "remove": Remove,
    "reorder": Reorder,
    "swap": Swap,
    "replace": Replace,
    "scale": Scale,
}
AS_DESCRIBED = "vnfd"  # isolation: what the VNFD says


def change_params(change: ChainChange) -> dict[str, Any]:
    """`{"change": {"kind": "insert", …}}`."""
    kind = next(k for k, cls in KINDS.items() if isinstance(change, cls))
    return {"change": {"kind": kind, **encode(change)}}


def change_of(params: Mapping[str, Any]) -> ChainChange:
    """What `change_params` made."""
    said = dict(params["change"])
    return decode(KINDS[said.pop("kind")], said)


def operation_type(change: ChainChange) -> LcmOperationType:
    """NsScale for a scaling, NsUpdate for everything else."""
    return LcmOperationType.CHAIN_SCALE if isinstance(change, Scale) else LcmOperationType.CHAIN_UPDATE


def heal_params(
    vnfcs: Sequence[str] = (),
    cause: str = "",
    died_at: datetime | None = None,
    positions: Sequence[str] = (),
    give_up: str = "",
) -> dict[str, Any]:
    """`vnfcs` are whole resource ids. `died_at` is when the plugin saw the death: the outage is counted from there.
    Only in what the manager orders by itself: `positions` say whose tries this one is counted to, and `give_up` is why
    it waits in FAILED_TEMP for a decision instead of beginning (see `held_back`)."""
    return {
        "vnfcs": list(vnfcs),
        "cause": cause,
        "died_at": died_at.isoformat() if died_at else "",
        "positions": list(positions),
        "give_up": give_up,
    }


def held_back(operation: Operation) -> Problem | None:
    """Why an operation is granted and yet not begun: it enters FAILED_TEMP with this, where `retry` begins it, and
    `rollback` and `fail` end it with nothing done."""
    reason = str(operation.params.get("give_up", ""))
    return (
        problem("healing-limit", reason, instance=operation.target, retry=Retry.SAME_CALL).problem if reason else None
    )


def scale_params(kind: str, aspect_id: str = "", number_of_steps: int = 1) -> dict[str, Any]:
    """Raises ProblemError `bad-value` unless `kind` is SCALE_OUT or SCALE_IN."""
    if kind not in ("SCALE_OUT", "SCALE_IN"):
        raise problem("bad-value", f"type: is {kind!r}; expected SCALE_OUT or SCALE_IN (SOL003 5.5.2.5)")
    return {"type": kind, "aspect_id": aspect_id, "number_of_steps": max(1, number_of_steps)}


def modify_params(name: str = "", isolation: str = "") -> dict[str, Any]:
    """Raises ProblemError `unknown-level` for an isolation that is none."""
    if isolation not in ("", AS_DESCRIBED):
        isolation_of(isolation)
    return {"name": name, "isolation": isolation}


def isolation_of(word: str) -> Isolation | None:
    """None for `vnfd`: what the VNFD says."""
    if word == AS_DESCRIBED:
        return None
    if word.upper() in Isolation.__members__:
        return Isolation[word.upper()]
    words = ", ".join([*(level.name.lower() for level in Isolation), AS_DESCRIBED])
    raise problem("unknown-level", f"isolation: {word!r} is no isolation level; expected one of {words}")
