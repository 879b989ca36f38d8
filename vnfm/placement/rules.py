"""From needs to realizations: one table, one row a rule, one reason text a row.

A row says which options (a runtime on a host) it refuses to a demand. What depends on what else is placed (capacity,
kernels shared with other tenants, licences, links, affinity) is not a row but a test of the search.

What speaks for which realization, in the field, and where it stands here:

- for VMs: an OS of its own (many operating systems), isolation `machine` (tight security), SR-IOV, GPU, CPU pinning and
  huge pages (accelerators: none is handed to a nested container, to a microVM only where it takes them), state, work
  on every packet;
- for containers: bounds on start-up and per-hop latency, fast scaling, a short life;
- for microVMs: a kernel of its own, isolation `kernel`, handled like a container;
- for containers in a worker VM: isolation `nested`, managed with a cluster.

Bounds, hardware and isolation are filters: what falls short of them is out, what gives more than is asked gains nothing
by that. The kinds of work are wishes: they never leave a VNF without a place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vnfm.model.needs import Isolation, Trait
from vnfm.model.placement import Runtime
from vnfm.placement.demand import is_wish
from vnfm.placement.inventory import Hardware
from vnfm.placement.option import Option, Values
from vnfm.placement.request import Demand

_ARCHES = {"amd64": "x86_64", "x86": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}


Test = Callable[[Demand, Option], bool]
Change = Callable[[Demand, Option], Demand]


@dataclass(frozen=True, slots=True)
class Row:
    """One rule.

    need: the field of Needs it looks at; where that is only wished for, a refusal becomes a wish not met; empty: never
    asked: whether the demand says anything about it;  refuses: whether this option will not do
    refused, met: the reason texts, filled in from `option.Values`; an empty `met` says nothing
    of_host: it is the host that fails, so another host may do;  otherwise the realization fails
    mere: it only speaks for a realization, and is never more than a wish
    change, changed: the smallest change of the demand that makes the row accept the option, its text and what it makes
    size: changes of lower size are proposed first (bounds before guarantees, the descriptor before the images)
    short: by how much the option falls short, to tell a small change of this row from a big one
    """

    name: str
    need: str
    asked: Callable[[Demand], bool]
    refuses: Test
    refused: str
    met: str
    of_host: bool = False
    mere: bool = False
    change: str = ""
    changed: Change | None = None
    size: int = 0
    short: Callable[[Demand, Option], int] = lambda d, o: 0

    def wished(self, demand: Demand) -> bool:
        """Whether this demand can do without."""
        return self.mere or (bool(self.need) and is_wish(demand.needs, self.need))


def _needs(**fields: Any) -> Change:
    return lambda d, o: replace(d, needs=replace(d.needs, **{k: v(o) for k, v in fields.items()}))


def _hardware(
    name: str, need: str, what: Hardware, *, text: str, thing: str, none: int | bool, empty_change: str
) -> Row:
    return Row(
        name=name,
        need=need,
        asked=lambda d: bool(hardware_need(d, need)),
        refuses=lambda d, o: o.offered and not o.hands_on(what),
        refused=f"needs {text}: {{word}} on host {{host}} has no {thing}",
        met=f"{{word}} on host {{host}} has {text}",
        of_host=True,
        change=empty_change,
        changed=_needs(**{need: lambda o: none}),
        size=40,
    )


def _work(name: str, trait: Trait, does: str, suits: Callable[[Option], bool], what: str) -> Row:
    return Row(
        name=name,
        need="",
        asked=lambda d: trait in d.needs.traits,
        refuses=lambda d, o: not suits(o),
        refused=f"{does}, which speaks for {what}: {{word}} is none",
        met=f"{does}, which speaks for {what}",
        mere=True,
    )


def _is_container(option: Option) -> bool:
    return option.runtime is Runtime.CONTAINER


def _is_vm(option: Option) -> bool:
    return option.runtime is Runtime.VM


def hardware_need(demand: Demand, need: str) -> int:
    """The hardware need of that name as a count; 0: not asked for."""
    n = demand.needs
    counts = {
        "sriov_ports": n.sriov_ports,
        "gpus": n.gpus,
        "cpu_pinned": int(n.cpu_pinned),
        "hugepage_bytes": n.hugepage_bytes,
    }
    return counts[need]


TABLE: tuple[Row, ...] = (
    Row(
        name="isolation",
        need="isolation",
        asked=lambda d: d.needs.isolation > Isolation.NONE,
        refuses=lambda d, o: o.level < d.needs.isolation,
        refused="{isolation_asks} (isolation level {isolation}): {shares}",
        met="{gives} (isolation level {isolation})",
        change="lower isolation of {alias} to {option_level}",
        changed=_needs(isolation=lambda o: o.level),
        size=20,
        short=lambda d, o: d.needs.isolation - o.level,
    ),
    Row(
        name="own kernel",
        need="own_kernel",
        asked=lambda d: d.needs.own_kernel and not d.needs.own_os,
        refuses=lambda d, o: o.runtime is Runtime.CONTAINER,
        refused="needs a kernel of its own (operating_system kernel: own): {shares}",
        met="{word} has a kernel of its own (operating_system kernel: own)",
        change="let {alias} share a kernel (operating_system kernel: any)",
        changed=_needs(own_kernel=lambda o: False),
        size=25,
    ),
    Row(
        name="own OS",
        need="own_os",
        asked=lambda d: d.needs.own_os,
        refuses=lambda d, o: o.runtime is not Runtime.VM,
        refused="needs an operating system of its own (operating_system os: own): {word} brings none, only a VM does",
        met="VM boots an operating system of its own (operating_system os: own)",
        change="let {alias} do without an operating system of its own (operating_system os: any)",
        changed=_needs(own_os=lambda o: False, own_kernel=lambda o: o.runtime is not Runtime.CONTAINER),
        size=30,
    ),
    Row(
        name="start-up",
        need="max_startup_ms",
        asked=lambda d: d.needs.max_startup_ms is not None,
        refuses=lambda d, o: o.offered and o.cost.start_ms > (d.needs.max_startup_ms or 0),
        refused="must start within {max_startup_ms} ms: {word} takes {start_ms} ms on host {host}{start_source}",
        met="{word} meets the {max_startup_ms} ms start-up bound ({start_ms} ms on host {host}{start_source})",
        change="raise the start-up bound of {alias} to {start_ms} ms",
        changed=_needs(max_startup_ms=lambda o: o.cost.start_ms),
        size=10,
        short=lambda d, o: o.cost.start_ms - (d.needs.max_startup_ms or 0),
    ),
    Row(
        name="per-hop latency",
        need="max_hop_us",
        asked=lambda d: d.needs.max_hop_us is not None,
        refuses=lambda d, o: o.offered and o.cost.hop_us > (d.needs.max_hop_us or 0),
        refused="may add {max_hop_us} us per hop: {word} adds {hop_us} us on host {host}{hop_source}",
        met="{word} meets the {max_hop_us} us per-hop bound ({hop_us} us on host {host}{hop_source})",
        change="raise the per-hop bound of {alias} to {hop_us} us",
        changed=_needs(max_hop_us=lambda o: o.cost.hop_us),
        size=10,
        short=lambda d, o: o.cost.hop_us - (d.needs.max_hop_us or 0),
    ),
    Row(
        name="image",
        need="",
        asked=lambda d: True,
        refuses=lambda d, o: o.runtime not in d.artefacts,
        refused="the package has no {image} for {vdu}, which {runtime} needs",
        met="",
        change="add a {image} for {vdu} to the package of {alias}",
        changed=lambda d, o: replace(d, artefacts=d.artefacts | {o.runtime}),
        size=60,
    ),
    Row(
        name="runtime not offered",
        need="",
        asked=lambda d: True,
        refuses=lambda d, o: not o.offered,
        refused="{runtime} is not offered on host {host}{refusal}",
        met="",
        of_host=True,
    ),
    _hardware(
        "SR-IOV",
        "sriov_ports",
        Hardware.SRIOV,
        text="{sriov_ports} SR-IOV port(s)",
        thing="virtual function to hand on",
        none=0,
        empty_change="let {alias} do without SR-IOV ports",
    ),
    _hardware(
        "GPU",
        "gpus",
        Hardware.GPU,
        text="{gpus} GPU(s)",
        thing="GPU to hand on",
        none=0,
        empty_change="let {alias} do without a GPU",
    ),
    _hardware(
        "CPU pinning",
        "cpu_pinned",
        Hardware.CPU_PINNING,
        text="CPUs pinned for it alone",
        thing="way to pin CPUs",
        none=False,
        empty_change="let {alias} do without CPU pinning",
    ),
    _hardware(
        "huge pages",
        "hugepage_bytes",
        Hardware.HUGEPAGES,
        text="{hugepage_mib} MiB of huge pages",
        thing="huge pages to hand on",
        none=0,
        empty_change="let {alias} do without huge pages",
    ),
    Row(
        name="architecture",
        need="",
        asked=lambda d: bool(d.needs.arch),
        refuses=lambda d, o: bool(o.host.arch) and _arch(o.host.arch) != _arch(d.needs.arch),
        refused="needs CPU architecture {arch}: host {host} is {host_arch}",
        met="",
        of_host=True,
    ),
    Row(
        name="image's architecture",
        need="",
        asked=lambda d: bool(d.arches),
        refuses=lambda d, o: (
            bool(o.host.arch and (arch := d.image_arch(o.runtime))) and _arch(o.host.arch) != _arch(arch)
        ),
        refused="the {image} for {vdu} is for {image_arch}: host {host} is {host_arch}",
        met="",
        of_host=True,
    ),
    Row(
        name="trust",
        need="min_trust",
        asked=lambda d: d.needs.min_trust > 0,
        refuses=lambda d, o: o.host.trust < d.needs.min_trust,
        refused="needs trust level {min_trust}: host {host} has {trust}",
        met="host {host} has trust level {trust} (asked for: {min_trust})",
        of_host=True,
        change="lower the trust level that {alias} asks for to {trust}",
        changed=_needs(min_trust=lambda o: o.host.trust),
        size=35,
        short=lambda d, o: d.needs.min_trust - o.host.trust,
    ),
    Row(
        name="other tenant's host",
        need="",
        asked=lambda d: True,
        refuses=lambda d, o: bool(o.host.only_tenant) and o.host.only_tenant != d.tenant,
        refused="host {host} is kept for another tenant",
        met="",
        of_host=True,
    ),
    Row(
        name="VIM",
        need="",
        asked=lambda d: bool(d.vims),
        refuses=lambda d, o: o.host.vim not in d.vims,
        refused="the grant allows only VIM {vims}: host {host} is in {vim}",
        met="",
        of_host=True,
        change="allow VIM {vim} to {alias}",
        changed=lambda d, o: replace(d, vims=d.vims | {o.host.vim}),
        size=45,
    ),
    Row(
        name="site",
        need="",
        asked=lambda d: bool(d.sites),
        refuses=lambda d, o: o.host.site not in d.sites,
        refused="only site {sites} is allowed: host {host} is at {site}",
        met="",
        of_host=True,
        change="allow site {site} to {alias}",
        changed=lambda d, o: replace(d, sites=d.sites | {o.host.site}),
        size=45,
    ),
    Row(
        name="zone",
        need="",
        asked=lambda d: bool(d.zones),
        refuses=lambda d, o: o.host.zone not in d.zones,
        refused="only zone {zones} is allowed: host {host} is in {zone}",
        met="",
        of_host=True,
        change="allow zone {zone} to {alias}",
        changed=lambda d, o: replace(d, zones=d.zones | {o.host.zone}),
        size=45,
    ),
    _work("state", Trait.STATE, "keeps state (workload state: kept)", _is_vm, "a VM"),
    _work("every packet", Trait.PACKETS, "works on every packet (workload packets: every)", _is_vm, "a VM"),
    _work("fast scaling", Trait.SCALING, "scales fast (workload scaling: fast)", _is_container, "a container"),
    _work("short life", Trait.LIFETIME, "lives shortly (workload lifetime: short)", _is_container, "a container"),
    _work(
        "handled like a container",
        Trait.CONTAINER,
        "is handled like a container (workload handling: container)",
        lambda o: not _is_vm(o),
        "a container or a microVM",
    ),
    _work(
        "managed with a cluster",
        Trait.CLUSTER,
        "is managed with a cluster (workload handling: cluster)",
        lambda o: _is_container(o) and o.nested,
        "a container in a worker VM",
    ),
)

ISOLATION = TABLE[0]
NOT_OFFERED = next(r for r in TABLE if r.name == "runtime not offered")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the table says of an option: the rows that refuse it and the wishes it leaves unmet."""

    refusing: tuple[Row, ...]
    unmet: tuple[Row, ...]


def judge(demand: Demand, option: Option) -> Verdict:
    """Ask every row."""
    rows = [r for r in TABLE if r.asked(demand) and r.refuses(demand, option)]
    return Verdict(
        tuple(r for r in rows if not r.wished(demand)),
        tuple(r for r in rows if r.wished(demand)),
    )


def refusal_text(row: Row, demand: Demand, option: Option) -> str:
    """Why the row refuses the option."""
    return row.refused.format_map(Values(demand, option))


def met_texts(demand: Demand, option: Option, unmet: tuple[Row, ...]) -> tuple[str, ...]:
    """What the option has going for it, and which wishes it does not meet."""
    values = Values(demand, option)
    met = [r.met.format_map(values) for r in TABLE if r.met and r not in unmet and r.asked(demand)]
    dropped = [f"a wish was dropped: {r.refused.format_map(values)}" for r in unmet]
    return (*met, *dropped)


def _arch(word: str) -> str:
    return _ARCHES.get(word.lower(), word.lower())
