"""What placement takes and gives: Snapshot and Request in, Plan or Refusal out. Frozen throughout.

Units: CPU in milli-CPU, memory, huge pages and disk in bytes, bandwidth in bit/s, link and hop latency in microseconds
one way, start-up in milliseconds. A host is named by the pair (vim, id); such a pair is called a HostKey here.
"""

from vnfm.placement.inventory import (
    Cell,
    FabricEdge,
    Hardware,
    Host,
    HostKey,
    LinkReservation,
    ObservedCost,
    Reservation,
    RuntimeCost,
    WorkerSize,
    ZoneLatency,
)
from vnfm.placement.plan import (
    Assignment,
    OpenedWorker,
    Plan,
    PlannedEnd,
    PlannedLink,
    Price,
    Proof,
    Refusal,
    Rejection,
    RunnerUp,
)
from vnfm.placement.request import Demand, End, Link, PathBound, Request, Rule, RuleKind, Scope

__all__ = [
    "Assignment",
    "Cell",
    "Demand",
    "End",
    "FabricEdge",
    "Hardware",
    "Host",
    "HostKey",
    "Link",
    "LinkReservation",
    "ObservedCost",
    "OpenedWorker",
    "PathBound",
    "Plan",
    "PlannedEnd",
    "PlannedLink",
    "Price",
    "Proof",
    "Refusal",
    "Rejection",
    "Request",
    "Reservation",
    "Rule",
    "RuleKind",
    "RunnerUp",
    "RuntimeCost",
    "Scope",
    "WorkerSize",
    "ZoneLatency",
]
