"""The projects that a VIM's tenants live in, and finding what is ours in them by its stamp."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugins.openstack import states
from plugins.openstack.cloud import Cloud
from plugins.openstack.corrections import META_ID, META_MANAGER
from plugins.openstack.flavors import Flavors
from plugins.openstack.images import Images
from plugins.openstack.poller import InventoryPoller
from plugins.openstack.settings import Settings
from plugins.openstack.stacks import Stack, Stacks
from plugins.openstack.stamp import PREFIX, manager_tag
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped
from vnfm.pluginkit.problems import no_capacity

_SEEN_S = 2.0
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Project:
    """One project of the cloud with our credentials for it."""

    cloud: Cloud
    stacks: Stacks
    flavors: Flavors


@dataclass(frozen=True, slots=True)
class World:
    """What a configuration makes. `tenants`: those of ours with a project of their own."""

    settings: Settings
    default: Project
    tenants: Mapping[str, Project]
    images: Images
    poller: InventoryPoller
    endpoints: tuple[str, ...] = ()
    clock_s: Callable[[], float] = time.monotonic
    _links: dict[Key, tuple[float, Stamped]] = field(default_factory=dict)

    def project(self, tenant: str) -> Project:
        """Where a tenant's resources are made."""
        return self.tenants.get(tenant, self.default)

    @property
    def projects(self) -> list[Project]:
        """Each once."""
        found = {one.cloud.project_id: one for one in (self.default, *self.tenants.values())}
        return list(found.values())

    def host(self, host_id: str, instance: str) -> pb.Host:
        """A host that may carry VMs, as the last reading told."""
        host = self.poller.hosts.get(host_id)
        if host is None or pb.RUNTIME_VM not in host.runtimes:
            known = ", ".join(sorted(self.poller.hosts)[:8])
            raise no_capacity(
                f"host_id: there is no host {host_id!r} that takes VMs; there are: {known}", instance=instance
            )
        return host

    def zone(self, host_id: str) -> str:
        """Nova's words for the host: zone:host where we may choose it, else the zone."""
        zone = self.poller.zones.get(host_id, "")
        return f"{zone or 'nova'}:{host_id}" if self.poller.admin else zone

    async def stack(self, manager_id: str, resource_id: str) -> tuple[Project, Stack] | None:
        """The stack of this id, and where it is."""
        projects = self.projects
        stacks = await asyncio.gather(*(one.stacks.find(manager_id, resource_id) for one in projects))
        return next(((one, stack) for one, stack in zip(projects, stacks, strict=True) if stack), None)

    async def find(self, manager_id: str, resource_id: str) -> Stamped | None:
        """The object of this id as it is now; a link that was seen a moment ago is not asked for again."""
        at_s, seen = self._links.get((manager_id, resource_id), (0.0, None))
        if seen is not None and self.clock_s() - at_s < _SEEN_S:
            return _copy(seen)
        found = await self.stack(manager_id, resource_id)
        if found is None:
            return None
        project, stack = found
        native = await self._native(project, stack)
        stamped = states.stamped(stack, native, self.settings.networks, self.endpoints)
        self.remember(stamped)
        return stamped

    def remember(self, stamped: Stamped) -> None:
        """A link that is there."""
        resource = stamped.resource
        if resource.kind == pb.KIND_LINK and resource.state == pb.STATE_RUNNING:
            if len(self._links) > 4096:
                self._links.clear()
            key = (resource.owner.manager_id, resource.handle.resource_id)
            self._links[key] = (self.clock_s(), _copy(stamped))

    def forget(self, manager_id: str, resource_id: str) -> None:
        """It is going away."""
        self._links.pop((manager_id, resource_id), None)

    async def find_all(self, manager_id: str = "") -> list[Stamped]:
        """Everything of a manager, or of all; three requests a project, however much there is."""
        tag = manager_tag(manager_id) if manager_id else PREFIX
        parts = await asyncio.gather(*(self._all(one, tag) for one in self.projects))
        return [s for part in parts for s in part if manager_id in ("", s.resource.owner.manager_id)]

    async def _all(self, project: Project, tag: str) -> list[Stamped]:
        stacks = await project.stacks.all(tag)
        kinds = {stack.stamp.kind for stack in stacks}
        servers = await listing(project.cloud, "compute") if pb.KIND_COMPUTE in kinds else []
        networks = await listing(project.cloud, "network") if pb.KIND_LINK in kinds else []
        by_key = {key: server for server in servers if (key := server_key(server))}
        by_name = {str(network["name"]): network for network in networks}
        return [
            states.stamped(
                stack,
                by_key.get((stack.stamp.owner.manager_id, stack.stamp.resource_id)) or by_name.get(stack.name),
                self.settings.networks,
                self.endpoints,
            )
            for stack in stacks
        ]

    async def _native(self, project: Project, stack: Stack) -> Mapping[str, Any] | None:
        """What stands behind a stack that is complete: a server, a network."""
        word = {pb.KIND_COMPUTE: ("compute", "server"), pb.KIND_LINK: ("network", "network")}.get(stack.stamp.kind)
        if word is None or not stack.complete:
            return None
        service, name = word
        native_id = (await project.stacks.outputs(stack)).get(name)
        if not native_id:
            return None
        path = f"/{name}s/{native_id}"
        found = await project.cloud.get_or_none("compute" if service == "compute" else "network", path)
        return found[name] if found else None


async def listing(cloud: Cloud, what: str, **more: str | int | list[str]) -> list[Mapping[str, Any]]:
    """All servers, or networks, of the project."""
    if what == "compute":
        return [one async for one in cloud.each("compute", "/servers/detail", "servers", params=more)]
    params: dict[str, str | int | list[str]] = {"project_id": cloud.project_id, **more}
    return [one async for one in cloud.each("network", "/networks", "networks", params=params)]


def server_key(server: Mapping[str, Any]) -> Key | None:
    """Manager and resource_id of a server of ours."""
    metadata = server.get("metadata") or {}
    return (metadata[META_MANAGER], metadata[META_ID]) if META_ID in metadata and META_MANAGER in metadata else None


def _copy(stamped: Stamped) -> Stamped:
    resource = pb.Resource()
    resource.CopyFrom(stamped.resource)
    return Stamped(resource, stamped.spec_digest, stamped.generation, stamped.members)
