"""From descriptors to demands and rules: what a VDU, a VNFD's policy or a chain's rule asks of placement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from vnfm.model.chain import ChainRule
from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.policies import AffinityRule
from vnfm.model.problem import problem
from vnfm.model.vdu import ImageFormat, Vdu
from vnfm.placement.request import Demand, Rule, RuleKind, Scope

_DISKS = frozenset({ImageFormat.QCOW2, ImageFormat.RAW, ImageFormat.REFERENCE})
_CONTAINERS = frozenset(
    {ImageFormat.OCI_ARCHIVE, ImageFormat.DOCKER_ARCHIVE, ImageFormat.ROOTFS_TAR, ImageFormat.REFERENCE}
)
# A wish may be named by the entry of requested_additional_capabilities or by the field it became.
_ENTRIES: Mapping[str, frozenset[str]] = {
    "isolation": frozenset({"isolation", "min_trust"}),
    "latency": frozenset({"max_startup_ms", "max_hop_us"}),
    "operating_system": frozenset({"own_kernel", "own_os"}),
}


def demand_of(
    vdu: Vdu,
    *,
    demand_id: str,
    alias: str,
    tenant: str,
    vnfd_id: str = "",
    isolation: Isolation | None = None,
    vims: Iterable[str] = (),
    sites: Iterable[str] = (),
    zones: Iterable[str] = (),
) -> Demand:
    """The demand of one instance of `vdu`. `demand_id` is the VNFC's resource id, minted by the caller.

    `isolation` raises what the VDU asks for, never lowers it; what is raised is a must, wished or not.
    """
    return Demand(
        id=demand_id,
        alias=alias,
        vdu=vdu.id,
        tenant=tenant,
        vnfd_id=vnfd_id,
        cpu_milli=max(vdu.cpu_milli, sum(c.cpu_milli for c in vdu.containers)),
        memory_bytes=max(vdu.memory_bytes, sum(c.memory_bytes for c in vdu.containers), vdu.needs.hugepage_bytes),
        disk_bytes=vdu.disk_bytes,
        needs=_raised(vdu.needs, isolation),
        artefacts=artefacts_of(vdu),
        vims=frozenset(vims),
        sites=frozenset(sites),
        zones=frozenset(zones),
        arches=tuple(arches_of(vdu)),
    )


def artefacts_of(vdu: Vdu) -> frozenset[Runtime]:
    """The runtimes that the VDU has an image for: a disk image serves VM, container images CONTAINER and KATA."""
    found: set[Runtime] = set()
    if vdu.disk_image is not None:
        if vdu.disk_image.format in _DISKS:
            found.add(Runtime.VM)
        elif vdu.disk_image.format in _CONTAINERS:
            found |= {Runtime.CONTAINER, Runtime.KATA}
    if vdu.containers and all(c.image is not None and c.image.format in _CONTAINERS for c in vdu.containers):
        found |= {Runtime.CONTAINER, Runtime.KATA}
    return frozenset(found)


def arches_of(vdu: Vdu) -> Iterator[tuple[Runtime, str]]:
    """By runtime: what CPUs the VDU's images are for, where they tell."""
    if vdu.disk_image is not None and vdu.disk_image.arch:
        containers = vdu.disk_image.format not in _DISKS
        for runtime in (Runtime.CONTAINER, Runtime.KATA) if containers else (Runtime.VM,):
            yield runtime, vdu.disk_image.arch
    told = [c.image.arch for c in (*vdu.init_containers, *vdu.containers) if c.image is not None and c.image.arch]
    if told:
        yield Runtime.CONTAINER, told[0]
        yield Runtime.KATA, told[0]


def rule_of_chain(rule: ChainRule, demands: Iterable[Demand], *, rule_id: str = "") -> Rule:
    """A chain's rule: VNF against VNF; the VNFCs of one VNF may share. Raises ProblemError for an unknown word."""
    groups = {alias: tuple(d.id for d in demands if d.alias == alias) for alias in rule.vnfs}
    name = rule_id or f"{rule.kind} {'+'.join(rule.vnfs)}"
    return Rule(name, _kind(rule.kind), _scope(rule.scope), tuple(groups.values()))


def rule_of_vnfd(rule: AffinityRule, alias: str, demands: Iterable[Demand]) -> Rule:
    """A VNFD's rule over the VNFCs of its target VDUs within one VNF: anti-affine VNFCs all differ, pair by pair."""
    ids = tuple(d.id for d in demands if d.alias == alias and d.vdu in rule.targets)
    kind = RuleKind.ANTI_AFFINITY if rule.anti else RuleKind.AFFINITY
    return Rule(f"{alias}/{rule.id}", kind, _scope(rule.scope), tuple((i,) for i in ids))


def is_wish(needs: Needs, need: str) -> bool:
    """Whether the need of that name is only desired (SOL001 support_mandatory false)."""
    return need in needs.wishes or any(need in fields and e in needs.wishes for e, fields in _ENTRIES.items())


def _raised(needs: Needs, isolation: Isolation | None) -> Needs:
    if isolation is None or isolation < needs.isolation:
        return needs
    wishes = needs.wishes
    if "isolation" in wishes and isolation > Isolation.NONE:
        wishes = (wishes - {"isolation"}) | ({"min_trust"} if needs.min_trust else set())
    return replace(needs, isolation=isolation, wishes=wishes)


def _kind(word: str) -> RuleKind:
    try:
        return RuleKind(word.lower().replace("_", "-"))
    except ValueError:
        raise problem("invalid-rule", f"rule kind {word!r}: expected affinity or anti-affinity") from None


def _scope(word: str) -> Scope:
    try:
        return Scope(word.upper())
    except ValueError:
        raise problem(
            "invalid-rule", f"rule scope {word!r}: expected one of {', '.join(Scope)} (SOL003 6.5.3.9)"
        ) from None
