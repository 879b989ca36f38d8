"""What a placement costs, in integers: less is better. The weights put the aims in order, far enough apart to decide.

wish not met  >>  lightness of the realization  >>  switching a server on, and what that costs  >  start-up, memory and
hops of the realization, price of its CPUs, latency and bandwidth of the links.
"""

from __future__ import annotations

from dataclasses import dataclass

from vnfm.placement.network import Route
from vnfm.placement.option import MIB, Option
from vnfm.placement.types import Demand, Host, WorkerSize


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
    link_per_us: int = 1
    link_per_mbit_and_edge: int = 1
    unknown_link_us: int = 10_000  # a link whose latency nobody told counts as this long


DEFAULT_WEIGHTS = Weights()


def option_score(demand: Demand, option: Option, unmet: int, weights: Weights) -> int:
    """What this realization costs there, apart from links and from switching the server on."""
    return realization_score(option, unmet, weights) + price_score(demand, option.host, weights)


def realization_score(option: Option, unmet: int, weights: Weights) -> int:
    """What the realization costs by itself."""
    cost = option.cost
    fine = (
        weights.startup_per_100_ms * (cost.start_ms // 100)
        + weights.memory_per_mib * (cost.memory_bytes // MIB)
        + weights.hop_per_us * cost.hop_us
    )
    return weights.wish * unmet + weights.lightness * option.lightness + min(fine, weights.most_of_the_rest // 2)


def price_score(demand: Demand, host: Host, weights: Weights) -> int:
    """What its CPUs cost on the host."""
    price = round(weights.price_per_vcpu * host.price_per_vcpu * demand.cpu_milli / 1000)
    return min(price, weights.most_of_the_rest // 2)


def switch_on_score(server: Host, weights: Weights) -> int:
    """What switching the server on costs; nothing where it is on."""
    if server.active or not weights.switch_on:
        return 0
    return weights.switch_on + min(round(weights.price_per_vcpu * server.on_cost), weights.most_of_the_rest // 2)


def open_worker_score(size: WorkerSize, weights: Weights) -> int:
    """What opening a worker VM costs."""
    if not weights.open_worker:
        return 0
    return weights.open_worker + min(round(weights.price_per_vcpu * size.price), weights.most_of_the_rest // 2)


def link_score(route: Route, bandwidth_bps: int, weights: Weights) -> int:
    """What a link costs on that route."""
    latency_us = weights.unknown_link_us if route.latency_us is None else route.latency_us
    mbit = -(-bandwidth_bps // 1_000_000)
    return weights.link_per_us * latency_us + weights.link_per_mbit_and_edge * mbit * len(route.edges)
