"""From what VNFs need to where and how they run: demand -> filter -> score -> assign -> explain.

Pure functions over an immutable snapshot: no I/O, no clock, no randomness. The same request on the same snapshot always
gives the same plan. `demand_of` and the rule makers read descriptors, `place` decides, `explain` tells.
"""

from vnfm.placement.demand import demand_of, rule_of_chain, rule_of_vnfd
from vnfm.placement.engine import place
from vnfm.placement.explain import explain
from vnfm.placement.snapshot import Snapshot

__all__ = ["Snapshot", "demand_of", "explain", "place", "rule_of_chain", "rule_of_vnfd"]
