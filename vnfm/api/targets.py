"""What a call means by a VNF, one of its VNFCs, a connection point, a descriptor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vnfm.model.connectivity import Cpd
from vnfm.model.lcm import Vnfc, VnfInstance
from vnfm.model.package import OnboardingState, OperationalState, VnfPackage
from vnfm.model.problem import problem
from vnfm.model.vnfd import Flavour
from vnfm.store.orders import OrderStore

MIN_BEGINNING = 4  # characters of an id


async def find_vnf(orders: OrderStore, tenant: str, ref: str) -> VnfInstance:
    """By id, name, a beginning of the id, or `CHAIN/ALIAS`."""
    chain_ref, slash, alias = ref.partition("/")
    if not slash:
        return await orders.vnf(tenant, ref)
    chain = await orders.chain(tenant, chain_ref)
    instances = await orders.vnfs(tenant, chain.id)
    found = next((i for i in instances if i.alias == alias), None)
    if found is None:
        known = ", ".join(i.alias for i in instances) or "none"
        raise problem("not-found", f"chain {chain.name} has no VNF {alias!r}; it has: {known}", instance=ref)
    return found


def choose_vnfc(vnfcs: Sequence[Vnfc], wanted: str, name: str) -> Vnfc:
    """The one VNFC that is meant; `wanted` is its VDU or a beginning of its id, empty where there is one only. Raises
    ProblemError `conflict` where there is none, `ambiguous` where it may be several."""
    if not vnfcs:
        raise problem("conflict", f"VNF {name} is not instantiated", instance=name)
    if not wanted and len(vnfcs) == 1:
        return vnfcs[0]
    matching = matching_vnfcs(vnfcs, wanted)
    if len(matching) == 1:
        return matching[0]
    raise problem(
        "ambiguous", f"VNF {name}: --vnfc {wanted or '…'} is needed to choose one of {_known(vnfcs)}", instance=name
    )


def choose_vnfcs(vnfcs: Sequence[Vnfc], wanted: Sequence[str], name: str) -> tuple[Vnfc, ...]:
    """All that are meant: a VDU stands for all its VNFCs. Raises ProblemError `not-found`."""
    chosen: dict[str, Vnfc] = {}
    for one in wanted:
        matching = matching_vnfcs(vnfcs, one)
        if not matching:
            raise problem("not-found", f"VNF {name} has no VNFC {one!r}; it has {_known(vnfcs)}", instance=name)
        chosen |= {v.id: v for v in matching}
    return tuple(chosen.values())


def matching_vnfcs(vnfcs: Iterable[Vnfc], wanted: str) -> list[Vnfc]:
    """Those of that VDU or of ids that begin so."""
    return [v for v in vnfcs if wanted and (v.vdu_id == wanted or v.id.startswith(wanted))]


def _known(vnfcs: Iterable[Vnfc]) -> str:
    return ", ".join(f"{v.vdu_id} ({v.id[:8]})" for v in vnfcs) or "none"


def find_cp(flavour: Flavour, wanted: str, name: str) -> Cpd:
    """The CP of a VDU that is meant by its own id or by that of the external CP before it. Raises ProblemError
    `unknown-cp`."""
    inner = next((e.cpd_id for e in flavour.external_cps if e.id == wanted and e.cpd_id), wanted)
    found = next((c for c in flavour.cps if c.id == inner), None)
    if found is None:
        known = ", ".join(c.id for c in flavour.cps) or "none"
        raise problem("unknown-cp", f"VNF {name} has no connection point {wanted!r}; it has: {known}", instance=name)
    return found


def find_vnfd_id(packages: Iterable[VnfPackage], wanted: str, tenant: str) -> str:
    """The VNFD id that is meant: itself, a package's product name, or an unambiguous beginning, of usable packages
    only. Raises ProblemError `unknown-vnfd`, `ambiguous`."""
    usable = [
        p
        for p in packages
        if p.onboarding_state is OnboardingState.ONBOARDED and p.operational_state is OperationalState.ENABLED
    ]
    for found in (
        [p for p in usable if p.vnfd_id == wanted],
        [p for p in usable if p.product.casefold() == wanted.casefold()],
        [p for p in usable if len(wanted) >= MIN_BEGINNING and p.vnfd_id.startswith(wanted)],
    ):
        if len(found) == 1:
            return found[0].vnfd_id
        if found:
            ids = ", ".join(f"{p.vnfd_id} ({p.product} {p.version})" for p in found[:4])
            raise problem("ambiguous", f"vnfd: {wanted!r} may be any of {ids}: give more of the id", instance=wanted)
    known = ", ".join(f"{p.product} ({p.vnfd_id})" for p in usable[:8]) or "none"
    raise problem(
        "unknown-vnfd",
        f"vnfd: no enabled package of tenant {tenant} is {wanted!r}, by VNFD id or product name; there are: {known}",
        instance=wanted,
    )
