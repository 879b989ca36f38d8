"""Flavors: what a VM needs of one, and which of those there are fits. Pure, but for `Flavors`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from plugins.openstack.cloud import Cloud
from plugins.openstack.errors import ApiError, to_problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import NEW_PLACEMENT, PluginError

MIB, GIB = 1 << 20, 1 << 30
PASSED_ON = ("hw:", "trait:", "resources:", "pci_passthrough:", "aggregate_instance_extra_specs:", "quota:", "os:")
"""Annotations that begin so are extra specs as they stand: a VNFD's logical nodes and requested capabilities."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A flavor's sizes and extra specs."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    extra_specs: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The same for the same content."""
        specs = "".join(f"{key}={value};" for key, value in self.extra_specs)
        tail = f"-{hashlib.sha256(specs.encode()).hexdigest()[:10]}" if specs else ""
        return f"vnfm-{self.vcpus}c-{self.memory_mib}m-{self.disk_gib}g{tail}"


def wanted(request: pb.AllocateComputeRequest, disk_gib: int) -> Wanted:
    """Sizes are rounded up to what Nova counts in; MiB stay MiB."""
    return Wanted(
        vcpus=max(1, -(-request.cpu_milli // 1000)),
        memory_mib=max(1, -(-max(request.memory_bytes, request.hugepage_bytes) // MIB)),
        disk_gib=disk_gib,
        extra_specs=tuple(sorted(extra_specs(request).items())),
    )


def extra_specs(request: pb.AllocateComputeRequest) -> dict[str, str]:
    """Pinning, pages and NUMA as Nova says them; what the annotations say goes first."""
    specs: dict[str, str] = {}
    if request.cpu_pinned:
        specs["hw:cpu_policy"] = "dedicated"
    if request.hugepage_bytes:
        specs["hw:mem_page_size"] = "large"
    if request.cpu_pinned or request.hugepage_bytes or request.HasField("numa_cell"):
        specs["hw:numa_nodes"] = "1"
    specs.update({key: value for key, value in request.annotations.items() if key.startswith(PASSED_ON)})
    return specs


def disk_gib(asked_bytes: int, image: Mapping[str, Any]) -> int:
    """What was asked for, and room for the image: by its min_disk and, where Glance knows it, its virtual size."""
    image_bytes = int(image.get("virtual_size") or image.get("size") or 0)
    return max(1, -(-asked_bytes // GIB), int(image.get("min_disk") or 0), -(-image_bytes // GIB))


def exact(flavors: Iterable[Mapping[str, Any]], need: Wanted) -> str:
    """The id of one that is just so; empty where there is none."""
    for flavor in flavors:
        if _sizes(flavor) == (need.memory_mib, need.vcpus, need.disk_gib) and _usable(flavor, need):
            return str(flavor["id"])
    return ""


def smallest(flavors: Iterable[Mapping[str, Any]], need: Wanted) -> str:
    """The id of the smallest that has it all; empty where there is none."""
    fits = [
        flavor
        for flavor in flavors
        if flavor["ram"] >= need.memory_mib
        and flavor["vcpus"] >= need.vcpus
        and (flavor["disk"] >= need.disk_gib)
        and _usable(flavor, need)
    ]
    return str(min(fits, key=_sizes)["id"]) if fits else ""


def _sizes(flavor: Mapping[str, Any]) -> tuple[int, int, int]:
    return int(flavor["ram"]), int(flavor["vcpus"]), int(flavor["disk"])


def _usable(flavor: Mapping[str, Any], need: Wanted) -> bool:
    specs = {key: value for key, value in (flavor.get("extra_specs") or {}).items() if not key.startswith("hw_rng:")}
    bare = not flavor.get("OS-FLV-EXT-DATA:ephemeral") and not flavor.get("swap")
    return bare and not flavor.get("OS-FLV-DISABLED:disabled") and specs == dict(need.extra_specs)


class Flavors:
    """Finds, or makes, the flavor for a need. What was found once is kept in memory: flavors do not change."""

    def __init__(self, cloud: Cloud, policy: str) -> None:
        self._cloud = cloud
        self._policy = policy
        self._known: dict[Wanted, str] = {}

    async def get(self, need: Wanted, instance: str) -> str:
        """A flavor's id. Raises PluginError `no-flavor` where none fits and none may be made."""
        if need not in self._known:
            self._known[need] = await self._find(need, instance)
        return self._known[need]

    def forget(self, need: Wanted) -> None:
        """It may be gone: look again."""
        self._known.pop(need, None)

    async def _find(self, need: Wanted, instance: str) -> str:
        answer = await self._cloud.get("compute", "/flavors/detail", params={"limit": 1000})
        every = answer["flavors"]
        if found := exact(every, need):
            return found
        if self._policy != "existing":
            try:
                return await self._make(need)
            except ApiError as error:
                if error.status != 403 or self._policy == "create":
                    raise to_problem(error, instance=instance) from error
        if found := smallest(every, need):
            return found
        specs = ", ".join(f"{key}={value}" for key, value in need.extra_specs) or "none"
        raise PluginError(
            "no-flavor",
            f"no flavor has {need.vcpus} VCPUs, {need.memory_mib} MiB, {need.disk_gib} GiB and extra specs {specs}; "
            "we may not make one: ask the cloud's operator for it",
            grpc.StatusCode.FAILED_PRECONDITION,
            retry=NEW_PLACEMENT,
            instance=instance,
        )

    async def _make(self, need: Wanted) -> str:
        body = {"name": need.name, "vcpus": need.vcpus, "ram": need.memory_mib, "disk": need.disk_gib, "id": need.name}
        try:
            await self._cloud.call("compute", "POST", "/flavors", {"flavor": body})
        except ApiError as error:
            if error.status != 409:  # another one makes the same, or died half-way
                raise
        if need.extra_specs:
            specs = {"extra_specs": dict(need.extra_specs)}
            await self._cloud.call("compute", "POST", f"/flavors/{need.name}/os-extra_specs", specs)
        return need.name
