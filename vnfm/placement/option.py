"""An option: one runtime on one host, and the words in which texts speak of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.inventory import Hardware, Host, RuntimeCost
from vnfm.placement.request import Demand

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


class Values(dict[str, object]):
    """What the texts of the table are filled in with; each is worked out when a text asks for it."""

    def __init__(self, demand: Demand, option: Option) -> None:
        super().__init__()
        self._demand, self._option = demand, option

    def __missing__(self, name: str) -> object:
        value = self[name] = _VALUES[name](self._demand, self._option)
        return value


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


_VALUES: Mapping[str, Callable[[Demand, Option], object]] = {
    "alias": lambda d, o: d.alias,
    "vdu": lambda d, o: d.vdu,
    "tenant": lambda d, o: d.tenant,
    "runtime": lambda d, o: o.runtime,
    "word": lambda d, o: o.word,
    "host": lambda d, o: o.host.id,
    "vim": lambda d, o: o.host.vim,
    "isolation": lambda d, o: d.needs.isolation.name.lower(),
    "isolation_asks": lambda d, o: _ASKS[d.needs.isolation],
    "option_level": lambda d, o: o.level.name.lower(),
    "shares": lambda d, o: _shares(o),
    "gives": lambda d, o: _gives(d, o),
    "max_startup_ms": lambda d, o: d.needs.max_startup_ms,
    "start_ms": lambda d, o: o.cost.start_ms,
    "start_source": lambda d, o: _source(o, "start_ms"),
    "max_hop_us": lambda d, o: d.needs.max_hop_us,
    "hop_us": lambda d, o: o.cost.hop_us,
    "hop_source": lambda d, o: _source(o, "hop_us"),
    "image": lambda d, o: "disk image" if o.runtime is Runtime.VM else "container image",
    "refusal": lambda d, o: f": {o.host.refusals[o.runtime]}" if o.runtime in o.host.refusals else "",
    "sriov_ports": lambda d, o: d.needs.sriov_ports,
    "gpus": lambda d, o: d.needs.gpus,
    "hugepage_mib": lambda d, o: d.needs.hugepage_bytes // MIB,
    "arch": lambda d, o: d.needs.arch,
    "image_arch": lambda d, o: d.image_arch(o.runtime),
    "host_arch": lambda d, o: o.host.arch,
    "min_trust": lambda d, o: d.needs.min_trust,
    "trust": lambda d, o: o.host.trust,
    "vims": lambda d, o: ", ".join(sorted(d.vims)),
    "sites": lambda d, o: ", ".join(sorted(d.sites)),
    "zones": lambda d, o: ", ".join(sorted(d.zones)),
    "site": lambda d, o: o.host.site or "no site",
    "zone": lambda d, o: o.host.zone or "no zone",
}
