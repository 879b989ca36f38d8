"""What a placement costs, in integers: less is better. The weights put the aims in order, far enough apart to decide.

wish not met  >>  lightness of the realization  >>  switching a server on, and what that costs  >  start-up, memory and
hops of the realization, price of its CPUs, bandwidth of the links times the edges that they run over.
"""

from __future__ import annotations

from dataclasses import dataclass

from vnfm.placement.inventory import Host, WorkerSize
from vnfm.placement.option import MIB, Option
from vnfm.placement.request import Demand


@dataclass(frozen=True, slots=True)
class Weights:
    """One unit of each aim."""

    wish: int = 10**12
    lightness: int = 10**9
    most_of_the_rest: int = 10**6  # what was measured never turns the order of realizations
    switch_on: int = 10**5
    open_worker: int = 10**4
    startup_per_100_ms: int = 1
    memory_per_mib: int = 1
    hop_per_us: int = 1
    price_per_vcpu: int = 1000  # of one unit of the VIMs' prices


WEIGHTS = Weights()


def realization_score(option: Option, unmet: int, weights: Weights = WEIGHTS) -> int:
    """What the realization costs by itself."""
    cost = option.cost
    fine = (
        weights.startup_per_100_ms * (cost.start_ms // 100)
        + weights.memory_per_mib * (cost.memory_bytes // MIB)
        + weights.hop_per_us * cost.hop_us
    )
    return weights.wish * unmet + weights.lightness * option.lightness + min(fine, weights.most_of_the_rest // 2)


def price_score(demand: Demand, host: Host, weights: Weights = WEIGHTS) -> int:
    """What its CPUs cost on the host."""
    price = round(weights.price_per_vcpu * host.price_per_vcpu * demand.cpu_milli / 1000)
    return min(price, weights.most_of_the_rest // 2)


def switch_on_score(server: Host, weights: Weights = WEIGHTS) -> int:
    """What switching the server on costs; nothing where it is on."""
    if server.active or not weights.switch_on:
        return 0
    return weights.switch_on + min(round(weights.price_per_vcpu * server.on_cost), weights.most_of_the_rest // 2)


def open_worker_score(size: WorkerSize, weights: Weights = WEIGHTS) -> int:
    """What opening a worker VM costs."""
    if not weights.open_worker:
        return 0
    return weights.open_worker + min(round(weights.price_per_vcpu * size.price), weights.most_of_the_rest // 2)
