"""An option: one runtime on one host, and the words in which texts speak of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.types import Demand, Hardware, Host, RuntimeCost

MIB = 1 << 20
_EVERYTHING = frozenset(Hardware)


@dataclass(frozen=True, slots=True)
class Option:
    """A runtime on a host. `nested`: the host is itself a VM."""

    host: Host
    runtime: Runtime
    nested: bool
    cost: RuntimeCost

    @property
    def level(self) -> Isolation:
        """The isolation that it gives."""
        if self.runtime is Runtime.VM:
            return Isolation.MACHINE
        if self.runtime is Runtime.KATA:
            return Isolation.KERNEL
        return Isolation.NESTED if self.nested else Isolation.TENANT

    @property
    def lightness(self) -> int:
        """0 for the lightest: container, container in a worker VM, microVM, VM."""
        return int(self.level) - 1

    @property
    def word(self) -> str:
        """How texts call it."""
        return "CONTAINER in a worker VM" if self.runtime is Runtime.CONTAINER and self.nested else str(self.runtime)

    @property
    def offered(self) -> bool:
        """Whether the host has this runtime at all."""
        return self.runtime in self.host.runtimes

    def hands_on(self, what: Hardware) -> bool:
        """Whether the VNFC can have that hardware; a guest in a guest never can."""
        default = frozenset() if self.runtime is Runtime.KATA else _EVERYTHING
        return not self.nested and what in self.host.hardware.get(self.runtime, default)


def values_of(demand: Demand, option: Option) -> Mapping[str, object]:
    """What the texts of the table are filled in with."""
    n, h, c = demand.needs, option.host, option.cost
    return {
        "alias": demand.alias,
        "vdu": demand.vdu,
        "tenant": demand.tenant,
        "runtime": option.runtime,
        "word": option.word,
        "host": h.id,
        "vim": h.vim,
        "isolation": n.isolation.name.lower(),
        "isolation_asks": _ASKS[n.isolation],
        "option_level": option.level.name.lower(),
        "shares": _shares(option),
        "gives": _gives(demand, option),
        "max_startup_ms": n.max_startup_ms,
        "start_ms": c.start_ms,
        "start_source": _source(option, "start_ms"),
        "max_hop_us": n.max_hop_us,
        "hop_us": c.hop_us,
        "hop_source": _source(option, "hop_us"),
        "image": "disk image" if option.runtime is Runtime.VM else "container image",
        "refusal": f": {h.refusals[option.runtime]}" if option.runtime in h.refusals else "",
        "sriov_ports": n.sriov_ports,
        "gpus": n.gpus,
        "hugepage_mib": n.hugepage_bytes // MIB,
        "arch": n.arch,
        "image_arch": demand.image_arch(option.runtime),
        "host_arch": h.arch,
        "min_trust": n.min_trust,
        "trust": h.trust,
        "vims": ", ".join(sorted(demand.vims)),
        "sites": ", ".join(sorted(demand.sites)),
        "zones": ", ".join(sorted(demand.zones)),
        "site": h.site or "no site",
        "zone": h.zone or "no zone",
    }


_ASKS: Mapping[Isolation, str] = {
    Isolation.NONE: "needs no isolation",
    Isolation.TENANT: "may share a kernel within its tenant only",
    Isolation.NESTED: "needs a VM between itself and other tenants",
    Isolation.KERNEL: "needs a kernel of its own",
    Isolation.MACHINE: "needs a machine of its own",
}


def _shares(option: Option) -> str:
    if option.runtime is Runtime.CONTAINER:
        return f"{option.word} shares the worker VM's kernel" if option.nested else "CONTAINER shares the host's"
    return f"{option.word} is a microVM, no full VM" if option.runtime is Runtime.KATA else "VM has its own"


def _gives(demand: Demand, option: Option) -> str:
    if option.runtime is Runtime.CONTAINER:
        owner = "worker VM's" if option.nested else "host's"
        return f"{option.word} shares the {owner} kernel within tenant {demand.tenant} only"
    return f"{option.word} gives it {'a machine' if option.runtime is Runtime.VM else 'a kernel'} of its own"


def _source(option: Option, name: str) -> str:
    if name in option.cost.observed:
        return ", observed"
    if option.runtime not in option.host.costs:
        return ", assumed"
    return ", measured" if option.cost.measured else ""
