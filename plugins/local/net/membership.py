"""Who is on which link, who comes and who goes: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from plugins.local.net.plan import LinkPlan, Port, plan_link, plans_of
from plugins.local.net.specs import LinkSpec, Member, Wiring


def is_on(spec: LinkSpec, resource_id: str) -> bool:
    """Whether the resource has a port on the link."""
    return any(member.resource_id == resource_id for member in (*spec.members, *spec.late))


def is_member(links: Mapping[str, LinkSpec], resource_id: str) -> bool:
    """Whether the resource is on any of the links."""
    return any(is_on(spec, resource_id) for spec in links.values())


def joined(spec: LinkSpec, member: Member) -> LinkSpec:
    """The link with the member on it: one it was made for, or a late one."""
    gone = tuple(one for one in spec.gone if one != member.resource_id)
    if member in spec.members or member in spec.late:
        return replace(spec, gone=gone)
    return replace(spec, late=(*spec.late, member), gone=gone)


def left(spec: LinkSpec, resource_id: str) -> LinkSpec:
    """The link without the resource: a late member goes, of one it was made for the place stays."""
    late = tuple(one for one in spec.late if one.resource_id != resource_id)
    if any(one.resource_id == resource_id for one in spec.members) and resource_id not in spec.gone:
        return replace(spec, late=late, gone=(*spec.gone, resource_id))
    return replace(spec, late=late)


def ports_that_go(spec: LinkSpec, resource_id: str) -> list[tuple[LinkPlan, Port]]:
    """What a resource that leaves takes with it: all but its end of a pair, which would take the other with it."""
    return [
        (plan, port)
        for plan in plans_of(spec)
        if plan.wiring is not Wiring.PAIR
        for port in plan.ports
        if port.member.resource_id == resource_id
    ]


def ends_in_use(links: Mapping[str, LinkSpec], resource_id: str, is_in_use: Callable[[str], bool]) -> frozenset[str]:
    """The interfaces of a resource that are ends of pairs whose other end belongs to somebody who is in use."""
    found: set[str] = set()
    for spec in links.values():
        plan = plan_link(spec)
        if plan.wiring is not Wiring.PAIR:
            continue
        for port, other in (plan.ports, plan.ports[::-1]):
            peer = other.member.resource_id
            if port.member.resource_id == resource_id and peer != resource_id and is_in_use(peer):
                found.add(port.interface)
    return frozenset(found)
