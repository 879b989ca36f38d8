"""The plugin as the kit sees it: its parts put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from plugins.openstack import corrections, groups, translate
from plugins.openstack.cloud import Cloud, SdkTransport
from plugins.openstack.computes import Computes
from plugins.openstack.errors import ApiError, to_problem
from plugins.openstack.flavors import Flavors
from plugins.openstack.images import Images
from plugins.openstack.links import Links
from plugins.openstack.poller import InventoryPoller
from plugins.openstack.settings import CONFIG_SCHEMA, Login, Settings, parse
from plugins.openstack.stacks import Stacks
from plugins.openstack.volumes import VOLUME, Volumes
from plugins.openstack.watch import Watch
from plugins.openstack.world import Project, World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import ImageSink, Plugin, Report, Stamped
from vnfm.pluginkit.problems import PluginError, not_ready

_THREADS = 32
log = structlog.get_logger("plugins.openstack")


def make_plugin() -> Plugin:
    """Called inside the running event loop."""
    return OpenStackVim().plugin


class OpenStackVim:
    """Hands every call to the part that a configuration has made."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._links: Links | None = None
        self._computes: Computes | None = None
        self._volumes: Volumes | None = None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cloud")
        self._tasks: list[asyncio.Task[None]] = []
        self.plugin = Plugin(
            runtimes=(pb.RUNTIME_VM,),
            configure=self.configure,
            resources=self,
            images=self,
            compute=self,
            links=self,
            join=self,
            paths=self,
            volumes=self,
            capabilities=(
                pb.CAPABILITY_PAUSE,
                pb.CAPABILITY_SRIOV,
                pb.CAPABILITY_CPU_PINNING,
                pb.CAPABILITY_HUGEPAGES,
                pb.CAPABILITY_JOIN_VXLAN,
                pb.CAPABILITY_JOIN_VLAN,
                pb.CAPABILITY_JOIN_FLAT,
            ),
            config_schema=CONFIG_SCHEMA,
            close=self.close,
        )

    # -- life

    async def configure(self, config: Mapping[str, object], secrets: Mapping[str, str]) -> None:
        """Enters every project, reads the inventory once, begins to watch."""
        settings = parse(config, secrets)
        world = await self._enter(settings)
        await world.poller.begin()
        await self._end_tasks()
        self._world, self._links = world, Links(world)
        self._volumes = Volumes(world)
        self._computes = Computes(world, self._links, self._volumes)
        watch = Watch(world, self.plugin.changes.publish)
        keepers = (world.poller.run(), watch.run(), self._warm_up())
        self._tasks = [asyncio.create_task(keeper) for keeper in keepers]
        mode = "admin" if world.poller.admin else "tenant"
        log.info("configured", project=world.default.cloud.project_id, mode=mode, hosts=len(world.poller.hosts))

    async def _enter(self, settings: Settings) -> World:
        default = await self._project(settings.login, settings)
        tenants = {name: await self._project(login, settings) for name, login in settings.tenants.items()}
        clouds = {one.cloud.project_id: one.cloud for one in (default, *tenants.values())}
        endpoints = await _tunnel_ends(default.cloud)
        poller = InventoryPoller(list(clouds.values()), settings, self.plugin.inventory, endpoints)
        return World(settings, default, tenants, Images(default.cloud, shared=bool(tenants)), poller, endpoints)

    async def _project(self, login: Login, settings: Settings) -> Project:
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.run_in_executor(self._pool, SdkTransport, login)
        except ApiError as error:
            raise to_problem(error) from error
        cloud = Cloud(transport, self._pool, settings.patience_s)
        return Project(cloud, Stacks(cloud, settings.stack_minutes), Flavors(cloud, settings.flavors))

    async def _warm_up(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, translate.warm_up)

    async def close(self) -> None:
        """Lets go; what was made stays."""
        await self._end_tasks()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def _at(self) -> World:
        if self._world is None:
            raise not_ready("Configure was not called: call it first, then the same call")
        return self._world

    @property
    def _wiring(self) -> Links:
        if self._links is None:
            raise not_ready("Configure was not called: call it first, then the same call")
        return self._links

    @property
    def _machines(self) -> Computes:
        if self._computes is None:
            raise not_ready("Configure was not called: call it first, then the same call")
        return self._computes

    @property
    def _storage(self) -> Volumes:
        if self._volumes is None:
            raise not_ready("Configure was not called: call it first, then the same call")
        return self._volumes

    # -- resources

    async def find(self, manager_id: str, resource_id: str) -> Stamped | None:
        """What bears this manager's stamp and this id."""
        return await self._at.find(manager_id, resource_id)

    async def find_all(self, manager_id: str) -> Sequence[Stamped]:
        """Everything that bears this manager's stamp."""
        return await self._at.find_all(manager_id)

    async def terminate(self, request: pb.TerminateRequest, found: Stamped | None, report: Report) -> None:
        """Its stack goes, and with it all that it has made."""
        manager_id, resource_id = request.owner.manager_id, request.handle.resource_id
        self._wiring.forget(manager_id, resource_id)
        there = await self._at.stack(manager_id, resource_id)
        if there is None:
            return
        project, stack = there
        outputs = await project.stacks.outputs(stack)
        network_id = str(outputs.get("network") or "")
        if network_id and (users := await self._wiring.users(project, network_id)):
            raise not_ready(f"{', '.join(users[:3])} still use the link: terminate them first", instance=resource_id)
        if volume_id := outputs.get(VOLUME):
            await self._storage.expect_unused(project, str(volume_id), resource_id)
        if stack.stamp.kind == pb.KIND_PATH:
            await self._wiring.close_path(project, manager_id, resource_id, outputs.get("ports") or [])
        await project.stacks.delete(stack, report, force=request.force)
        self._wiring.forget_network(network_id)
        group = str(outputs.get(corrections.GROUP) or "")
        if group and group not in self._machines.groups:
            await self._sweep_group(project, group, str(outputs.get("server")))

    async def _sweep_group(self, project: Project, group: str, server_id: str) -> None:
        try:
            await groups.sweep(project.cloud, group, server_id)
        except (PluginError, ApiError) as error:
            log.warning("server groups not swept", said=str(error)[:200])

    # -- images

    async def stat_image(self, sha256: str) -> int | None:
        """Its size."""
        return await self._at.images.stat_image(sha256)

    async def begin_image(self, sha256: str, image_format: str, total_bytes: int) -> ImageSink:
        """Straight on to Glance."""
        return await self._at.images.begin_image(sha256, image_format, total_bytes)

    async def delete_image(self, sha256: str) -> None:
        """Refused while something runs from it."""
        await self._at.images.delete_image(sha256)

    # -- compute and network

    async def allocate_compute(
        self, request: pb.AllocateComputeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """A VM."""
        return await self._machines.allocate_compute(request, spec_digest, found, report)

    async def allocate_volume(
        self, request: pb.AllocateVolumeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """A volume, where the cloud has Cinder."""
        return await self._storage.allocate_volume(request, spec_digest, found, report)

    async def operate_compute(self, request: pb.OperateComputeRequest, found: Stamped, report: Report) -> pb.Resource:
        """Start, stop, reboot, pause, resume."""
        return await self._machines.operate_compute(request, found, report)

    async def allocate_link(
        self, request: pb.AllocateLinkRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """A network."""
        return await self._wiring.allocate_link(request, spec_digest, found, report)

    async def join_link(self, request: pb.JoinLinkRequest, found: Stamped, report: Report) -> pb.Resource:
        """The other side joins with our segment."""
        return await self._wiring.join_link(request, found, report)

    async def allocate_path(
        self, request: pb.AllocatePathRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Ports that let others' packets pass."""
        return await self._wiring.allocate_path(request, spec_digest, found, report)


async def _tunnel_ends(cloud: Cloud) -> tuple[str, ...]:
    """Where the cloud's hosts end their tunnels, as far as we may know."""
    try:
        agents = (await cloud.call("network", "GET", "/agents"))["agents"]
    except ApiError:
        return ()
    ends = {str((agent.get("configurations") or {}).get("tunneling_ip") or "") for agent in agents if agent["alive"]}
    return tuple(sorted(filter(None, ends)))
