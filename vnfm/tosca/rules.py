"""What holds a flavour together beyond the grammar. Each rule has a code (docs/descriptors.md lists them).

Rules that need what is being read at that moment stand where it is read: bindings in network, counts in policies.
"""

from __future__ import annotations

from collections.abc import Sequence

from vnfm.model.vnfd import Flavour
from vnfm.tosca.notes import Place
from vnfm.tosca.template import Template

MAX_CPU_MILLI = 4096 * 1000
MAX_MEMORY_BYTES = 2**46  # 64 TiB
MAX_DISK_BYTES = 2**53  # 8 PiB


def check(flavour: Flavour, template: Template) -> None:
    """Note all that a whole flavour gets wrong."""
    _links_have_ends(flavour, template)
    _sizes_can_be(flavour, template)
    _storages_are_used(flavour, template)
    _levels_are_covered(flavour, template)


def check_flavours(stated: Sequence[str], allowed: Sequence[str], selected: str, at: Place, template: Template) -> None:
    """Whether each flavour that the VNF's type allows, and the one that it selects, has a template."""
    for name in allowed:
        if name not in stated:
            template.notes.warn(
                "flavour-without-template",
                f"the VNF's type allows the flavour {name}, and no template states it",
                at,
                "add a template whose substitution_mappings have that flavour_id, or drop it from valid_values",
            )
    if selected and selected not in stated:
        template.notes.error(
            "flavour-without-template",
            f"the VNF selects the flavour {selected}, and no template states it",
            at,
            f"there is {', '.join(stated) or 'none'}",
        )


def _links_have_ends(flavour: Flavour, template: Template) -> None:
    used = {cp.virtual_link for cp in flavour.cps} | {e.virtual_link for e in flavour.external_cps}
    used |= {s.virtual_link for s in flavour.storages}
    for link in flavour.virtual_links:
        if link.id not in used:
            template.notes.warn(
                "link-without-ends",
                f"no connection point is on the virtual link {link.id}",
                _at(template, link.id),
                "tie a VduCp to it by a requirement virtual_link, or leave it out",
            )


def _sizes_can_be(flavour: Flavour, template: Template) -> None:
    rows = [(v.id, "CPU", v.cpu_milli, MAX_CPU_MILLI) for v in flavour.vdus]
    limited = [c for v in flavour.vdus for c in (*v.containers, *v.init_containers)]
    rows += [(c.id, "CPU limit", c.cpu_limit_milli, MAX_CPU_MILLI) for c in limited]
    rows += [(v.id, "memory", v.memory_bytes, MAX_MEMORY_BYTES) for v in flavour.vdus]
    rows += [(v.id, "disk", v.disk_bytes, MAX_DISK_BYTES) for v in flavour.vdus]
    rows += [(s.id, "size", s.size_bytes, MAX_DISK_BYTES) for s in flavour.storages]
    for name, what, value, most in rows:
        if value > most:
            is_cpu = "CPU" in what
            template.notes.error(
                "size-absurd",
                f"{name}: {what} of {value} {'milli-CPU' if is_cpu else 'bytes'} is more than any machine has",
                _at(template, name),
                "a container counts in milli-CPU, a Vdu.Compute in CPUs" if is_cpu else "mind the unit",
            )
    for vdu in flavour.vdus:
        image, disk = vdu.disk_image, vdu.disk_bytes
        if image is not None and disk and max(image.min_disk_bytes, 0) > disk:
            template.notes.warn(
                "size-image",
                f"{vdu.id}: the image {image.name} needs {image.min_disk_bytes} bytes of disk, there are {disk}",
                _at(template, vdu.id),
            )
        if image is not None and vdu.memory_bytes and image.min_ram_bytes > vdu.memory_bytes:
            template.notes.warn(
                "size-image",
                f"{vdu.id}: the image {image.name} needs {image.min_ram_bytes} bytes of memory,"
                f" there are {vdu.memory_bytes}",
                _at(template, vdu.id),
            )
        for container in (*vdu.containers, *vdu.init_containers):
            if 0 < container.cpu_limit_milli < container.cpu_milli:
                template.notes.error(
                    "size-limit",
                    f"{container.id}: requested {container.cpu_milli} milli-CPU, the limit is"
                    f" {container.cpu_limit_milli}",
                    _at(template, container.id),
                )


def _storages_are_used(flavour: Flavour, template: Template) -> None:
    used = {name for vdu in flavour.vdus for name in vdu.storages}
    for storage in flavour.storages:
        if storage.id not in used:
            template.notes.warn("storage-unused", f"no VDU has the storage {storage.id}", _at(template, storage.id))


def _levels_are_covered(flavour: Flavour, template: Template) -> None:
    for aspect in flavour.scaling_aspects:
        if (
            aspect.max_level
            and not aspect.step_deltas
            and not any(aspect.id in link.step_bitrates for link in flavour.virtual_links)
        ):
            template.notes.warn(
                "aspect-without-deltas",
                f"the scaling aspect {aspect.id} has {aspect.max_level} levels, and nothing says what they add",
                _policies(template),
                "add a policy VduScalingAspectDeltas for it",
            )


def _at(template: Template, name: str) -> Place:
    node = template.nodes.get(name)
    return node.body.place() if node is not None else template.topology.place()


def _policies(template: Template) -> Place:
    return template.topology.place("policies")
