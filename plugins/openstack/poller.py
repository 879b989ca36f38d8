"""The inventory, read again and again: one reading serves everyone, and only what has changed is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from plugins.openstack import inventory, joining
from plugins.openstack.cloud import Cloud
from plugins.openstack.corrections import META_ID
from plugins.openstack.errors import ApiError, to_problem
from plugins.openstack.servers import Servers
from plugins.openstack.settings import Settings
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError
from vnfm.pluginkit.publish import InventoryPublisher

_CAPACITY_ROUNDS = 30  # totals change rarely, and cost a request a host
_WORKERS = 500
log = structlog.get_logger("plugins.openstack")


class InventoryPoller:
    """Reads and publishes. `hosts` is the newest reading, by id."""

    def __init__(
        self, clouds: Sequence[Cloud], settings: Settings, publisher: InventoryPublisher, endpoints: Sequence[str] = ()
    ) -> None:
        self._clouds = clouds
        self._servers = [Servers(cloud) for cloud in clouds]
        self._settings = settings
        self._publisher = publisher
        self._endpoints = endpoints
        self.hosts: Mapping[str, pb.Host] = {}
        self.zones: Mapping[str, str] = {}
        self._told: list[bytes] = []
        self._providers: dict[str, dict[str, Any]] = {}
        self._round = 0
        self.admin = False

    async def begin(self) -> None:
        """The first reading: finds out what the credentials allow. Raises PluginError."""
        if self._settings.mode == "tenant":
            self.admin = False
        else:
            try:
                await self._clouds[0].call("compute", "GET", "/os-hypervisors")
                self.admin = True
            except ApiError as error:
                if error.status != 403 or self._settings.mode == "admin":
                    raise to_problem(error) from error
        await self._read()

    async def run(self) -> None:
        """For ever; what fails is tried again at the next round."""
        while True:
            await asyncio.sleep(self._settings.inventory_s)
            try:
                await self._read()
            except PluginError as error:
                log.warning("inventory not read", said=error.problem.detail[:300])

    async def _read(self) -> None:
        servers = [server for one in self._servers for server in await one.read()]
        ours = [server for server in servers if META_ID in (server.get("metadata") or {})]
        hosts = await (self._admin(ours) if self.admin else self._tenant(ours))
        hosts = [host for host in hosts if not self._settings.zones or host.zone in self._settings.zones]
        known = frozenset(host.id for host in hosts)
        others = [server for server in servers if META_ID not in (server.get("metadata") or {})]
        hosts += inventory.worker_hosts(others[:_WORKERS], known, self._settings)
        self.hosts = {host.id: host for host in hosts}
        told = [host.SerializeToString(deterministic=True) for host in hosts]
        if told != self._told or not self._publisher.version:
            await self._publisher.publish(hosts, reaches=self._reaches())
            self._told = told
        self._round += 1

    def _reaches(self) -> list[pb.Reach]:
        networks = self._settings.networks.values()
        return joining.reaches(networks, provider=self.admin, endpoints=self._endpoints)

    async def _tenant(self, ours: Iterable[Mapping[str, Any]]) -> list[pb.Host]:
        zones, limits = await asyncio.gather(
            self._clouds[0].get("compute", "/os-availability-zone"), self._clouds[0].get("compute", "/limits")
        )
        every = zones["availabilityZoneInfo"]
        self.zones = {inventory.zone_id(str(zone["zoneName"])): str(zone["zoneName"]) for zone in every}
        taken = inventory.taken(ours)[""]
        return inventory.tenant_hosts(every, limits["limits"]["absolute"], taken, self._settings)

    async def _admin(self, ours: Iterable[Mapping[str, Any]]) -> list[pb.Host]:
        cloud = self._clouds[0]
        hypervisors, services = await asyncio.gather(
            cloud.get("compute", "/os-hypervisors/detail"),
            cloud.get("compute", "/os-services", params={"binary": "nova-compute"}),
        )
        every = hypervisors["hypervisors"]
        self.zones = {str(one["host"]): str(one["zone"]) for one in services["services"]}
        await self._capacities([str(one["id"]) for one in every])
        projects = [one.project_id for one in self._clouds]
        taken = inventory.taken(ours)
        return inventory.admin_hosts(every, self.zones, self._providers, taken, projects, self._settings)

    async def _capacities(self, ids: Sequence[str]) -> None:
        """Placement's totals: of all at times, of new ones at once."""
        wanted = ids if self._round % _CAPACITY_ROUNDS == 0 else [one for one in ids if one not in self._providers]
        for one in wanted:
            with contextlib.suppress(PluginError):  # without Placement's word the hypervisor's own has to do
                answer = await self._clouds[0].get_or_none("placement", f"/resource_providers/{one}/inventories")
                self._providers[one] = dict((answer or {}).get("inventories", {}))
