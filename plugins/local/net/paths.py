"""Paths through a fabric: what the stamps want is brought about in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from plugins.local.net import naming, netns, nft, rtnl, steering
from plugins.local.net.errors import (
    AlreadyExistsError,
    HostRefusedError,
    InvalidSpecError,
    NotThereError,
    StaleGenerationError,
)
from plugins.local.net.links import remove_namespace
from plugins.local.net.plan import LinkPlan, link_from_stamp, plan_link
from plugins.local.net.specs import Hop, MemberKind, PathSpec, Wiring
from plugins.local.net.stamps import Stamps
from plugins.local.net.steering import Steering

Checkpoint = Callable[[str], None]
_ATTEMPTS = 4
DRAIN_SECONDS = 0.1


def check(spec: PathSpec) -> None:
    """InvalidSpecError naming the first field that has no sense."""
    naming.check_id("path id", spec.id)
    naming.check_id("chain id", spec.chain_id)
    if len(spec.hops) < 2:
        raise InvalidSpecError(f"hops: expected two at least, got {len(spec.hops)}")
    names = [hop.name for hop in spec.hops]
    if len(set(names)) != len(names) or not all(names):
        raise InvalidSpecError(f"hops: expected names of their own, got {names}")
    for hop in spec.hops[:-1]:
        if not hop.egress_cp:
            raise InvalidSpecError(f"hop {hop.name}: egress_cp is missing")
    for hop in spec.hops[1:]:
        if not hop.ingress_cp:
            raise InvalidSpecError(f"hop {hop.name}: ingress_cp is missing")


def to_stamp(spec: PathSpec) -> dict[str, Any]:
    """The stamp of a path."""
    return {
        "id": spec.id,
        "chain_id": spec.chain_id,
        "generation": spec.generation,
        "hops": [[hop.resource_id, hop.kind.value, hop.ingress_cp, hop.egress_cp, hop.name] for hop in spec.hops],
        "owner": dict(spec.owner),
    }


def from_stamp(stamp: Mapping[str, Any]) -> PathSpec | None:
    """The path out of its stamp; None where the stamp is unreadable."""
    try:
        hops = tuple(
            Hop(resource, MemberKind(kind), ingress, egress, name)
            for resource, kind, ingress, egress, name in stamp["hops"]
        )
        return PathSpec(str(stamp["id"]), hops, str(stamp["chain_id"]), int(stamp["generation"]), dict(stamp["owner"]))
    except (KeyError, TypeError, ValueError):
        return None


def fabric_of(spec: PathSpec) -> str:
    """The namespace of a path's steered ports."""
    return naming.fabric_name(spec.chain_id)


def fabric_of_stamp(path_id: str, stamp: Mapping[str, Any]) -> str:
    """The same out of a stamp; one that names no chain stands in no fabric that exists."""
    return naming.fabric_name(str(stamp.get("chain_id") or path_id))


def known(stamps: Stamps, path_id: str) -> PathSpec:
    """The path as stamped; NotThereError for an unknown one."""
    stamp = stamps.paths.read(path_id)
    spec = from_stamp(stamp) if stamp is not None else None
    if spec is None:
        raise NotThereError(f"path {path_id} is not there: allocate it", word="not-found")
    return spec


def _paths_in(stamps: Stamps, fabric: str) -> list[PathSpec]:
    found = (from_stamp(stamp) for stamp in stamps.paths.all().values())
    return [spec for spec in found if spec is not None and fabric_of(spec) == fabric]


def _plans(stamps: Stamps) -> list[LinkPlan]:
    found = (link_from_stamp(stamp) for stamp in stamps.links.all().values())
    return [plan_link(spec) for spec in found if spec is not None]


def fabric_in_use(stamps: Stamps, fabric: str, *, besides: str = "") -> bool:
    """Whether a link other than `besides` has ports in the fabric."""
    return any(plan.carrier == fabric and plan.id != besides for plan in _plans(stamps))


def allocate(stamps: Stamps, spec: PathSpec, checkpoint: Checkpoint) -> None:
    """Put the path in force; its locks are held."""
    stamp = stamps.paths.read(spec.id)
    old = from_stamp(stamp) if stamp is not None else None
    _check_generation(old, spec)
    fabric, plans = fabric_of(spec), _plans(stamps)
    wanted = steering.steering(spec, plans, fabric)
    others = [path for path in _paths_in(stamps, fabric) if path.id != spec.id]
    steering.merged([(spec.id, wanted), *_tolerant(others, plans, fabric)])
    _check_present(wanted, spec, plans, fabric)
    stamps.paths.write(spec.id, to_stamp(spec))
    checkpoint("path.specified")
    if wanted or netns.exists(fabric):
        _reconcile(fabric, [*others, spec], plans, checkpoint, drain=True)
    checkpoint("path.switched")


def _check_generation(old: PathSpec | None, spec: PathSpec) -> None:
    if old is None:
        return
    if old.chain_id != spec.chain_id:
        raise AlreadyExistsError(f"path {spec.id} is there for another chain: terminate it first")
    if spec.generation < old.generation:
        raise StaleGenerationError(f"path {spec.id} is at generation {old.generation}, {spec.generation} is older")
    if spec.generation == old.generation and spec.hops != old.hops:
        raise StaleGenerationError(
            f"path {spec.id} has other hops at generation {old.generation}: the generation must rise with the hops"
        )


def _check_present(wanted: Steering, spec: PathSpec, plans: list[LinkPlan], fabric: str) -> None:
    if not wanted:
        return
    present = _device_names(fabric)
    for hop in spec.hops:
        for cp in filter(None, (hop.ingress_cp, hop.egress_cp)):
            found = steering.find_port(plans, hop.resource_id, cp)
            if found and found[1].far in wanted and found[1].far not in present:
                raise NotThereError(f"hop {hop.name}: port {cp} is not there: is its compute running?")


def _device_names(namespace: str) -> frozenset[str]:
    if not netns.exists(namespace):
        return frozenset()
    with netns.route_socket(namespace) as route:
        return frozenset(rtnl.parse_device(answer).name for answer in route.dump(rtnl.dump_devices()))


def _tolerant(paths: list[PathSpec], plans: list[LinkPlan], fabric: str) -> list[tuple[str, Steering]]:
    """The elements of those pairs of neighbours that can be joined now."""
    parts: list[tuple[str, Steering]] = []
    for path in paths:
        for index in range(len(path.hops) - 1):
            pair = PathSpec(path.id, path.hops[index : index + 2], path.chain_id)
            try:
                parts.append((path.id, steering.steering(pair, plans, fabric)))
            except NotThereError:
                continue
    return parts


def restore(stamps: Stamps, fabric: str, checkpoint: Checkpoint) -> None:
    """Bring the fabric to what the stamped paths want of the ports that are there; its lock is held."""
    paths = _paths_in(stamps, fabric)
    if paths and netns.exists(fabric):
        _reconcile(fabric, paths, _plans(stamps), checkpoint)


def remove(stamps: Stamps, path_id: str, fabric: str, checkpoint: Checkpoint) -> None:
    """Take a path out of force, and the fabric where no link needs it; their locks are held."""
    if netns.exists(fabric):
        others = [path for path in _paths_in(stamps, fabric) if path.id != path_id]
        if fabric_in_use(stamps, fabric):
            _reconcile(fabric, others, _plans(stamps), checkpoint)
        else:
            remove_namespace(fabric)
    checkpoint("path.darkened")
    stamps.paths.remove(path_id)


def _reconcile(
    fabric: str,
    paths: list[PathSpec],
    plans: list[LinkPlan],
    checkpoint: Checkpoint,
    *,
    drain: bool = False,
) -> None:
    """Switch to what the paths want of the ports that are there.

    With `drain`, ports that leave the path keep sending where they sent for a moment after the switch, so that what is
    still inside a removed hop is not lost.
    """
    wanted_all = steering.merged(_tolerant(paths, plans, fabric))
    ports = frozenset(port.far for plan in plans if plan.carrier == fabric for port in plan.ports)
    failures = 0
    while True:
        present = _device_names(fabric)
        wanted = {port: to for port, to in wanted_all.items() if port in present and to in present}
        listing = nft.list_table(fabric, naming.TABLE)
        found = steering.parse_table(listing) if listing is not None else steering.Found()
        leaving = steering.leaving(found, wanted, present) if drain else {}
        text = steering.transaction(found, leaving | wanted, ports)
        if text and (wanted or found.exists):
            checkpoint("path.computed")
            try:
                nft.apply(fabric, text)
            except HostRefusedError:
                # A tap may have gone between looking and switching: look again.
                failures += 1
                if failures == _ATTEMPTS:
                    raise
                continue
        if not leaving:
            return
        checkpoint("path.draining")
        time.sleep(DRAIN_SECONDS)
        drain = False


def in_force(fabric: str) -> Steering:
    """The fabric's map as the kernel has it."""
    listing = nft.list_table(fabric, naming.TABLE)
    return dict(steering.parse_table(listing).elements) if listing is not None else {}


def counters(stamps: Stamps, chain_id: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(packets, bytes) that came in by each steered port of a chain, by (resource id, cp id)."""
    fabric = naming.fabric_name(chain_id)
    listing = nft.list_table(fabric, naming.TABLE) if netns.exists(fabric) else None
    counted = {
        entry["counter"]["name"]: (int(entry["counter"]["packets"]), int(entry["counter"]["bytes"]))
        for entry in (listing or {}).get("nftables", ())
        if "counter" in entry
    }
    return {
        (port.member.resource_id, port.member.cp_id): counted[port.far]
        for plan in _plans(stamps)
        if plan.wiring is Wiring.FABRIC and plan.carrier == fabric
        for port in plan.ports
        if port.far in counted
    }
