"""VDUs and their storages (SOL001 6.8.3 Vdu.Compute, 6.8.4 to 6.8.6 storages, 6.8.12 and 6.8.13 containers)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vnfm.model.connectivity import Cpd
from vnfm.model.needs import Needs
from vnfm.model.vdu import Container, ImageFormat, StorageDesc, SwImage, Vdu
from vnfm.tosca import needs as needed
from vnfm.tosca.containers import monitoring, mounts, probes
from vnfm.tosca.images import CONTAINER_FORMATS, ImageReader
from vnfm.tosca.kinds import ATTACHMENT, BLOCK, COMPUTE, FILE, MCIOP, OBJECT, OS_CONTAINER, STORAGES, UNIT
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.view import View
from vnfm.tosca.yamldoc import Map, Seq

KINDS = {
    BLOCK: ("block", "virtual_block_storage_data", "size_of_storage"),
    OBJECT: ("object", "virtual_object_storage_data", "max_size_of_storage"),
    FILE: ("file", "virtual_file_storage_data", "size_of_storage"),
}
MEMORY_BARE_BYTES = 10**6  # IFA011 gives memory in MB and storage in GB
STORAGE_BARE_BYTES = 10**9

ReadText = Callable[[str], bytes]


@dataclass(frozen=True)
class VduReader:
    """Reads the VDUs of a template; `read_text` gives a small file of the package."""

    template: Template
    images: ImageReader
    read_text: ReadText

    def storages(self) -> tuple[StorageDesc, ...]:
        """Every storage, in its order."""
        found = []
        for node in self.template.nodes_of(*STORAGES):
            base = next(b for b in STORAGES if self.template.is_node(node.name, b))
            kind, holder, key = KINDS[base]
            properties = self.template.properties(node)
            data = properties.sub(holder)
            size = data.size_bytes(key, bare=STORAGE_BARE_BYTES, must=True)
            data.above_nothing(key, size)
            if not size:  # as drafts and older profiles had it
                word = next((w for w in ("size_of_storage", "size") if w in properties), "size_of_storage")
                size = properties.size_bytes(word, bare=STORAGE_BARE_BYTES)
            links = self.template.requirements(node, "virtual_link")
            found.append(
                StorageDesc(
                    id=node.name,
                    kind=kind,
                    size_bytes=size,
                    image=next(iter(self.images.images(self.template, node)), None),
                    protocol=data.text("file_system_protocol"),
                    virtual_link=links[0][0] if links else "",
                    rdma=data.flag("rdma_enabled"),
                    per_instance=properties.flag("per_vnfc_instance", default=True),
                )
            )
        return tuple(found)

    def vdus(self, storages: Sequence[StorageDesc], cps: Sequence[Cpd]) -> tuple[Vdu, ...]:
        """Every VDU, in its order."""
        by_name = {s.id: s for s in storages}
        found = []
        for node in self.template.nodes_of(COMPUTE, UNIT):
            attached = self._attached(node, by_name)
            build = self._unit if self.template.is_node(node.name, UNIT) else self._compute
            vdu = build(node, attached)
            ports = sum(1 for cp in cps if cp.vdu_id == vdu.id and cp.vnic_type in ("direct", "direct-physical"))
            found.append(replace(vdu, needs=replace(vdu.needs, sriov_ports=vdu.needs.sriov_ports + ports)))
        return tuple(found)

    def _attached(self, node: Entity, storages: dict[str, StorageDesc]) -> list[StorageDesc]:
        found = []
        wanted = self.template.requirements(node, "virtual_storage")
        for attachment in self.template.nodes_of(ATTACHMENT):
            if any(vdu == node.name for vdu, _ in self.template.requirements(attachment, "virtual_binding")):
                wanted += self.template.requirements(attachment, "virtual_attachment")
        for name, at in wanted:
            if name in storages:
                found.append(storages[name])
            else:
                self.template.notes.warn(
                    "storage-unknown", f"{node.name}: virtual_storage names {name}, which is no storage", at
                )
        return found

    def _compute(self, node: Entity, attached: list[StorageDesc]) -> Vdu:
        properties = self.template.properties(node)
        compute = self.template.capability(node, "virtual_compute")
        memory = compute.sub("virtual_memory").size_bytes("virtual_mem_size", bare=MEMORY_BARE_BYTES, must=True)
        cpu = compute.sub("virtual_cpu").cpu_milli("num_virtual_cpu", must=True)
        older = [self.template.capability(node, name) for name in ("nfv_compute", "host")]  # of profiles before SOL001
        memory = memory or max(o.size_bytes("mem_size", bare=MEMORY_BARE_BYTES) for o in older)
        cpu = cpu or max(o.cpu_milli("num_cpus") for o in older)
        self._positive(compute, cpu, memory)
        if not (cpu and memory):
            what = "memory" if cpu else "CPU" if memory else "CPU and memory"
            self.template.notes.warn(
                "size-unknown",
                f"{node.name} does not say how much {what} it has",
                node.body.place("capabilities"),
                "say num_virtual_cpu and virtual_mem_size in its capability virtual_compute",
            )
        images = self.images.images(self.template, node)
        container = next((i for i in images if i.format in CONTAINER_FORMATS), None)
        disk = next((i for i in images if i is not container and i.format not in CONTAINER_FORMATS), None)
        if disk is None and container is None:
            disk = next((s.image for s in attached if s.image is not None), None)
        if disk is None and container is None and "image" in properties:  # by name, as profiles before SOL001 had it
            disk = SwImage(properties.text("image"), "", ImageFormat.REFERENCE, properties.text("image"))
        if disk is not None and container is None and _is_container_name(properties, disk):
            disk, container = None, disk
        needs = needed.with_compute(needed.needs_of_capabilities(compute), compute, memory)
        vdu = self._common(node, properties, needs, attached)
        own = (self._image_container(node.name, properties, container, cpu, memory),) if container else ()
        return replace(
            vdu,
            cpu_milli=cpu,
            memory_bytes=memory,
            disk_bytes=_disk_bytes(compute, attached, disk) or max(o.size_bytes("disk_size") for o in older),
            disk_image=disk,
            containers=own,
            user_data=self._boot_data(properties),
        )

    def _unit(self, node: Entity, attached: list[StorageDesc]) -> Vdu:
        properties = self.template.properties(node)
        # Some write the capability on the unit as they do on Vdu.Compute; the property is the standard's place.
        needs = needed.merged(
            needed.needs_of_capabilities(properties),
            needed.needs_of_capabilities(self.template.capability(node, "virtual_compute")),
        )
        containers, disk = [], 0
        for entity in self._members(node, "container"):
            view = self.template.properties(entity)
            containers.append(self._container(entity, view))
            needs = needed.merged(needs, needed.needs_of_container(view))
            disk += containers[-1].disk_bytes
        first = [self._container(e, self.template.properties(e)) for e in self._members(node, "init_container")]
        if not containers and not self._deployed_by_chart(node):
            self.template.notes.warn(
                "unit-empty",
                f"{node.name} has no container, and no Mciop deploys it",
                node.body.place(),
                "add a requirement `container`, or name it in an Mciop's associatedVdu",
            )
        vdu = self._common(node, properties, needs, attached)
        return replace(
            vdu,
            cpu_milli=max(sum(c.cpu_milli for c in containers), *(c.cpu_milli for c in first), 0),
            memory_bytes=max(sum(c.memory_bytes for c in containers), *(c.memory_bytes for c in first), 0),
            disk_bytes=disk,
            containers=tuple(containers),
            init_containers=tuple(first),
            annotations={**vdu.annotations, **properties.mapping("labels")},
        )

    def _common(self, node: Entity, properties: View, needs: Needs, attached: list[StorageDesc]) -> Vdu:
        profile = properties.sub("vdu_profile")
        least = profile.whole("min_number_of_instances", 1, must=True)
        most = profile.whole("max_number_of_instances", max(1, least), must=True)
        if least > most:
            profile.notes.error(
                "vdu-profile",
                f"{node.name}: at least {least} and at most {most} instances cannot both be",
                profile.at("min_number_of_instances"),
            )
            most = least
        metadata = self.template.view(node, node.body.sub("metadata"), f"{node.name}.metadata")
        return Vdu(
            id=node.name,
            name=properties.text("name") or node.name,
            description=properties.text("description"),
            cpu_milli=0,
            memory_bytes=0,
            disk_bytes=0,
            needs=needs,
            storages=tuple(s.id for s in attached),
            initial_instances=least,
            min_instances=least,
            max_instances=most,
            annotations={str(k): metadata.text(str(k)) for k in metadata.body},
            kind="Vdu.OsContainerDeployableUnit" if self.template.is_node(node.name, UNIT) else "Vdu.Compute",
            node_type=node.type,
            boot_order=properties.texts("boot_order") if isinstance(properties.body.get("boot_order"), Seq) else (),
            configurable=_scalars(properties, "configurable_properties"),
            monitoring=monitoring(properties),
        )

    def _deployed_by_chart(self, node: Entity) -> bool:
        """Whether an Mciop deploys it: then its containers are in the chart (SOL001 6.8.14)."""
        return any(
            name == node.name
            for mciop in self.template.nodes_of(MCIOP)
            for name, _ in self.template.requirements(mciop, "associatedVdu")
        )

    def _members(self, node: Entity, requirement: str) -> list[Entity]:
        found = []
        for name, at in self.template.requirements(node, requirement):
            if self.template.is_node(name, OS_CONTAINER):
                found.append(self.template.nodes[name])
            else:
                self.template.notes.warn(
                    "container-unknown", f"{node.name}: {requirement} names {name}, which is no Vdu.OsContainer", at
                )
        return found

    def _container(self, node: Entity, view: View) -> Container:
        """CPU as requested; memory as limited, so that what is reserved is what may be used."""
        image = next(iter(self.images.images(self.template, node)), None)
        if image is None:
            view.notes.warn("image-missing", f"{node.name} has no image", node.body.place(), "add an artifact SwImage")
        cpu, cpu_limit = (
            view.cpu_milli(key, bare_milli=1, must=True) for key in ("requested_cpu_resources", "cpu_resource_limit")
        )
        memory, memory_limit = (
            view.size_bytes(key, bare=MEMORY_BARE_BYTES, must=True)
            for key in ("requested_memory_resources", "memory_resource_limit")
        )
        for key, value in (
            ("requested_cpu_resources", cpu),
            ("cpu_resource_limit", cpu_limit),
            ("requested_memory_resources", memory),
            ("memory_resource_limit", memory_limit),
        ):
            view.above_nothing(key, value)
        if 0 < memory_limit < memory:
            view.notes.error(
                "size-limit",
                f"{node.name}: requested {memory} bytes of memory, the limit is {memory_limit}",
                view.at("memory_resource_limit"),
            )
        return Container(
            id=node.name,
            image=image,
            command=view.texts("command") + view.texts("args"),
            env=view.mapping("env"),
            cpu_milli=cpu or cpu_limit,
            memory_bytes=max(memory_limit, memory),
            linux_capabilities=view.texts("linux_capabilities"),
            sysctls=view.mapping("sysctls"),
            cpu_limit_milli=cpu_limit,
            name=view.text("name"),
            disk_bytes=view.size_bytes("ephemeral_storage_resource_limit", must=True)
            or view.size_bytes("requested_ephemeral_storage_resources", must=True),
            probes=probes(view),
            mounts=mounts(view),
            monitoring=monitoring(view),
        )

    def _image_container(self, name: str, view: View, image: SwImage, cpu: int, memory: int) -> Container:
        return Container(
            id=name,
            image=image,
            command=view.texts("command") + view.texts("args"),
            env=view.mapping("env"),
            cpu_milli=cpu,
            memory_bytes=memory,
            linux_capabilities=view.texts("linux_capabilities"),
            sysctls=view.mapping("sysctls"),
        )

    def _boot_data(self, properties: View) -> bytes:
        """boot_data as a text, as `content` or as a file's name (6.2.74 BootData and its forerunners)."""
        value = properties.body.get("boot_data")
        if value is None:  # as China Mobile's and Tacker's profiles have it
            inside = properties.sub("bootdata").sub("user_data").text("contents")
            return (inside or properties.text("user_data")).encode()
        if isinstance(value, str):
            path = "" if "\n" in value else self.images.locate(value, properties.at("boot_data"))
            return self.read_text(path) if path else value.encode()
        data = properties.sub("boot_data").sub("content_or_file_data")
        if "content" in data:
            return data.text("content").encode()
        source = data.text("source_path")
        if not source:
            return b""
        path = self.images.locate(source, data.at("source_path"))
        if not path:
            data.notes.warn("artifact-absent", f"boot_data: {source} is not in the package", data.at("source_path"))
            return b""
        return self.read_text(path)

    def _positive(self, compute: View, cpu: int, memory: int) -> None:
        for name, key, value in (
            ("virtual_cpu", "num_virtual_cpu", cpu),
            ("virtual_memory", "virtual_mem_size", memory),
        ):
            compute.sub(name).above_nothing(key, value)


def _scalars(properties: View, key: str) -> dict[str, str]:
    """A map of texts, or of whatever a vendor's data type holds: then the keys with their scalars."""
    value = properties.body.get(key)
    return properties.mapping(key) if isinstance(value, Map) else {}


def _is_container_name(properties: View, image: SwImage) -> bool:
    """Whether an image that is not in the package is a container's."""
    declared = properties.sub("sw_image_data").text("container_format").lower()
    return image.format is ImageFormat.REFERENCE and declared == "docker"


def _disk_bytes(compute: View, attached: list[StorageDesc], disk: SwImage | None) -> int:
    local = sum(
        entry.size_bytes("size_of_storage", bare=STORAGE_BARE_BYTES)
        for entry in compute.entries("virtual_local_storage", "size_of_storage")
    )
    boot = next((s.size_bytes for s in attached if s.image is not None), 0)
    return boot or local or (disk.min_disk_bytes if disk is not None else 0)
