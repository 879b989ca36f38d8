"""Ways: in which realizations a VNF may run, and on which nodes. Nothing here changes with what is free, so it is
worked out once, and kept with the estate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vnfm.placement.book import Amounts
from vnfm.placement.estate import GPUS, GRAIN, HUGEPAGES, VFS, Bools, Estate, Ints, Key
from vnfm.placement.statement import Realization, Vnf

NEVER = 1 << 58
NEVER_MASKED: Ints = np.array(NEVER)  # for np.putmask, which takes an int slowly
UNHEARD = 1 << 55  # above all costs, below NEVER and what is added to it


class Way(NamedTuple):
    """One realization of a kind: what it takes in all, what it costs beside the node, where it is allowed."""

    variant: int
    amounts: Amounts
    cost: int
    latency_us: int
    shares: int
    allowed: Bools


class Path(NamedTuple):
    """A way before it is known how large the VNF is: what the realization takes and costs beside that."""

    variant: int
    cpu_milli: int
    memory_mib: int
    cost: int
    latency_us: int
    shares: int
    allowed: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Stance:
    """What VNFs of a tenant have in common that may run in the same ways on the same nodes, however large they are.

    `paths`: the cheapest first; none that is allowed nowhere. `costs`: NEVER, and theirs from the last on.
    """

    tenant: int
    paths: tuple[Path, ...]
    costs: Ints
    least_us: int


def unmet(real: Realization, vnf: Vnf) -> str:
    """Why a realization cannot serve a VNF on whichever node; empty where it can."""
    if real.name not in vnf.artefacts:
        return "no artefact"
    if real.isolation < vnf.isolation:
        return f"isolation {real.isolation} < {vnf.isolation}"
    if vnf.own_kernel and not real.own_kernel:
        return "no kernel of its own"
    if vnf.own_os and not real.own_os:
        return "no operating system of its own"
    if vnf.vfs and not real.sriov:
        return "no SR-IOV"
    if vnf.gpus and not real.gpu:
        return "no GPU"
    if vnf.pin and not real.pin:
        return "no CPU pinning"
    if vnf.max_start_ms is not None and real.start_ms > vnf.max_start_ms:
        return f"start {real.start_ms} > {vnf.max_start_ms} ms"
    if vnf.max_hop_us is not None and real.latency_us > vnf.max_hop_us:
        return f"latency {real.latency_us} > {vnf.max_hop_us} us"
    return ""


def shares_of(real: Realization, vnf: Vnf) -> int:
    """How a VNF so realized shares the node's kernel: 0 not, 1 with anyone, 2 within its tenant."""
    return 0 if not real.shared_kernel else 2 if vnf.isolation >= 1 else 1


def costs_of(costs: list[int]) -> Ints:
    """That of having no way, and the costs of ways, the dearest first; they are told the cheapest first."""
    return np.array([NEVER, *reversed(costs)], dtype=np.int64)


class Ground:
    """What kinds have in common: which variants serve which needs, and where they are allowed."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.kept = estate.kept
        self.kept.spare()
        self.least_price = int(estate.price.min()) if estate.size else 0

    def stance(self, vnf: Vnf, tenant: int) -> Stance:
        """The stance of a VNF."""
        key = (
            tenant,
            vnf.artefacts,
            vnf.isolation,
            vnf.trust,
            vnf.sites,
            vnf.zones,
            vnf.max_start_ms,
            vnf.max_hop_us,
            vnf.own_kernel,
            vnf.own_os,
            vnf.pin,
            vnf.vfs > 0,
            vnf.gpus > 0,
            tuple(vnf.arch.items()) if vnf.arch else None,
        )
        found = self.kept.stances.get(key)
        if found is None:
            self.kept.spare()
            found = self.kept.stances[key] = self._stance(vnf, tenant)
        return found

    def serving(self, vnf: Vnf) -> tuple[int, ...]:
        """The variants that serve a VNF on some node."""
        return tuple([i for i, real in enumerate(self.estate.variants) if not unmet(real, vnf)])

    def _stance(self, vnf: Vnf, tenant: int) -> Stance:
        """VNFs that ask for it in other words have the same one."""
        reals, serving = self.estate.variants, self.serving(vnf)
        arch = tuple(vnf.arch.items()) if vnf.arch else None
        key = (tenant, serving, vnf.isolation >= 1, vnf.trust, vnf.sites, vnf.zones, arch)
        found = self.kept.alike.get(key)
        if found is None:
            order = sorted(serving, key=lambda i: (reals[i].cost, reals[i].latency_us, i))
            masks = [(i, reals[i], self._allowed(vnf, tenant, i)) for i in order]
            paths = tuple(
                Path(i, x.cpu_milli, x.memory_mib, x.cost * GRAIN, x.latency_us, shares_of(x, vnf), allowed)
                for i, x, allowed in masks
                if allowed.any()
            )
            least_us = min((x.latency_us for x in paths), default=0)
            found = self.kept.alike[key] = Stance(tenant, paths, costs_of([x.cost for x in paths]), least_us)
        return found

    def _hosts(self, vnf: Vnf, tenant: int) -> tuple[Key, Bools]:
        """The nodes that a VNF may be on by trust, tenant, site and zone."""
        estate = self.estate
        key = (vnf.trust, tenant if tenant < len(estate.tenants) else -2, vnf.sites, vnf.zones)
        found = self.kept.hosts.get(key)
        if found is None:
            found = estate.trust >= vnf.trust
            found &= (estate.owner == -1) | (estate.owner == tenant)
            for names, codes, known in (
                (vnf.sites, estate.site_at, estate.sites),
                (vnf.zones, estate.zone_at, estate.zones),
            ):
                if names is not None:
                    found &= np.isin(codes, [known[x] for x in names if x in known])
            self.kept.hosts[key] = found
        return key, found

    def _allowed(self, vnf: Vnf, tenant: int, variant: int) -> Bools:
        """The nodes that a VNF may be on in that variant."""
        estate = self.estate
        where, hosts = self._hosts(vnf, tenant)
        arch = vnf.arch.get(estate.variants[variant].name)
        key = (where, variant, arch)
        found = self.kept.allowed.get(key)
        if found is None:
            found = hosts & estate.offers[variant]
            if arch is not None:
                found &= (estate.arch == -1) | (estate.arch == estate.arches.get(arch, -2))
            self.kept.allowed[key] = found
        return found

    def fixed(self, vnf: Vnf) -> Ints:
        """What of the scores does not depend on what is free: price, and sparing hardware that is not asked for."""
        key = (vnf.cpu_milli, vnf.gpus > 0, vnf.vfs > 0, vnf.hugepages_mib > 0)
        found = self.kept.fixed.get(key)
        if found is None:
            self.kept.spare()
            estate = self.estate
            found = estate.price * (vnf.cpu_milli * GRAIN)
            spared = ((vnf.gpus, GPUS, 4), (vnf.vfs, VFS, 2), (vnf.hugepages_mib, HUGEPAGES, 1))
            for asked, resource, weight in spared:
                if not asked:
                    found += (estate.free[resource] > 0) * weight
            self.kept.fixed[key] = found
        return found

    def least_fixed(self, vnf: Vnf) -> int:
        """No node's is less."""
        return self.least_price * vnf.cpu_milli * GRAIN
