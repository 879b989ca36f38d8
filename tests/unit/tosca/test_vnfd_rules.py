"""Rules beyond the grammar: each breach has a code, a severity and a place, and what is sound draws none."""

from __future__ import annotations

from pathlib import Path

import pytest
from csar_writer import TYPES, VDU, block, vnfd, write_csar

from vnfm.model.package import Finding
from vnfm.tosca import PackageReading, read_package

SOUND = """
cp:
  type: tosca.nodes.nfv.VduCp
  properties: { layer_protocols: [ ipv4 ] }
  requirements:
    - virtual_binding: vdu1
    - virtual_link: net
net:
  type: tosca.nodes.nfv.VnfVirtualLink
  properties:
    connectivity_type: { layer_protocols: [ ipv4 ] }
    vl_profile: { max_bitrate_requirements: { root: 1000 }, min_bitrate_requirements: { root: 1000 } }
disk:
  type: tosca.nodes.nfv.Vdu.VirtualBlockStorage
  properties: { virtual_block_storage_data: { size_of_storage: 1 GB } }
"""
ATTACHED = VDU + "      requirements:\n        - virtual_storage: disk\n"
POLICIES = """
- aspects:
    type: tosca.policies.nfv.ScalingAspects
    properties:
      aspects: { out: { name: out, description: grow, max_scale_level: 2, step_deltas: [ more ] } }
- deltas:
    type: tosca.policies.nfv.VduScalingAspectDeltas
    targets: [ vdu1 ]
    properties: { aspect: out, deltas: { more: { number_of_instances: 1 } } }
- levels:
    type: tosca.policies.nfv.InstantiationLevels
    properties:
      levels: { whole: { description: all of it, scale_info: { out: { scale_level: 2 } } } }
      default_level: whole
- rates:
    type: tosca.policies.nfv.VirtualLinkBitrateScalingAspectDeltas
    targets: [ net ]
    properties: { aspect: out, deltas: { more: { bitrate_requirements: { root: 500 } } } }
- apart:
    type: tosca.policies.nfv.AntiAffinityRule
    targets: [ vdu1 ]
    properties: { scope: zone }
- open:
    type: tosca.policies.nfv.SecurityGroupRule
    targets: [ cp ]
    properties: { port_range_min: 80, port_range_max: 90 }
"""


def read(tmp_path: Path, text: str) -> PackageReading:
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text}))


def test_what_holds_together_draws_no_word(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(ATTACHED + block(SOUND, 4), policies=POLICIES))
    assert reading.findings == ()
    assert reading.ok


ERRORS = [
    ("virtual_binding: vdu1", "virtual_binding: disk", "cp-binding"),
    ("    - virtual_binding: vdu1\n", "", "cp-unbound"),
    ("size_of_storage: 1 GB", "size_of_storage: 99999 TB", "size-absurd"),
    ("size_of_storage: 1 GB", "size_of_storage: -1 GB", "value-unit"),
    ("size_of_storage: 1 GB", "size_of_storage: 0 GB", "value-range"),
    ("virtual_mem_size: 512 MiB", "virtual_mem_size: 0 MiB", "value-range"),
    ("num_virtual_cpu: 2", "num_virtual_cpu: 100000", "size-absurd"),
    (
        "properties: { aspect: out, deltas: { more: { n",
        "properties: { aspect: up, deltas: { more: { n",
        "aspect-unknown",
    ),
    ("{ scale_level: 2 }", "{ scale_level: 3 }", "scale-level"),
    ("\n    disk:", "\n    cp:", "template-duplicate"),
]
WARNINGS = [
    ("virtual_storage: disk", "virtual_storage: cp", "storage-unknown"),
    ("{ aspect: out, deltas: { more: { b", "{ aspect: up, deltas: { more: { b", "aspect-unknown"),
    ("scale_info: { out:", "scale_info: { up:", "aspect-unknown"),
    ("max_scale_level: 2, step_deltas: [ more ]", "max_scale_level: 3, step_deltas: [ more, more ]", "step-deltas"),
    ("AntiAffinityRule\n    targets: [ vdu1 ]", "AntiAffinityRule\n    targets: [ vdu1, vdu2 ]", "target-unknown"),
    ("AntiAffinityRule\n    targets: [ vdu1 ]", "AntiAffinityRule\n    targets: [ vdu2 ]", "affinity-empty"),
    ("zone }", "galaxy }", "value-enum"),
    ("min_bitrate_requirements: { root: 1000 }", "min_bitrate_requirements: { root: 1001 }", "value-range"),
    ("SecurityGroupRule\n    targets: [ cp ]", "SecurityGroupRule\n    targets: [ vdu1 ]", "target-unknown"),
    ("AspectDeltas\n    targets: [ net ]", "AspectDeltas\n    targets: [ cp ]", "target-unknown"),
    ("port_range_min: 80", "port_range_min: 99", "port-range"),
    ("    - virtual_binding: vdu1\n", "    - machine: vdu1\n", "cp-binding"),
    ("    - virtual_binding: vdu1\n", "    - virtual_binding: vdu1\n    - virtual_link: disk\n", "cp-link"),
    ("default_level: whole", "default_level: most", "level-unknown"),
    ("    - virtual_link: net\n", "", "link-without-ends"),
    ("- virtual_link: net", "- virtual_link: elsewhere", "target-unknown"),
    ("        - virtual_storage: disk\n", "        - local_storage: disk\n", "storage-unused"),
    ("max_number_of_instances: 4", "max_number_of_instances: 1", "affinity-single"),
    ("AntiAffinityRule\n    targets: [ vdu1 ]", "AntiAffinityRule\n    targets: []", "affinity-empty"),
    ("- rates:", "- deltas:", "template-duplicate"),
    (
        "{ type: string, default: simple }",
        "{ type: string, default: simple, constraints: [ valid_values: [ simple, big ] ] }",
        "flavour-without-template",
    ),
]


def broken(old: str, new: str) -> str:
    sound = vnfd(ATTACHED + block(SOUND, 4), policies=POLICIES, types=TYPES)
    policies = block(POLICIES, 4)
    assert policies in sound
    if old in POLICIES:
        return sound.replace(policies, block(POLICIES.replace(old, new, 1), 4))
    nodes = block(SOUND, 4)
    if old in SOUND:
        return sound.replace(nodes, block(SOUND.replace(old, new, 1), 4))
    assert old in sound, old
    return sound.replace(old, new, 1)


def named(reading: PackageReading, code: str, severity: str) -> list[Finding]:
    return [f for f in reading.findings if f.code == code and f.severity == severity]


@pytest.mark.parametrize(("old", "new", "code"), ERRORS)
def test_a_breach_that_no_model_survives_is_refused(tmp_path: Path, old: str, new: str, code: str) -> None:
    reading = read(tmp_path, broken(old, new))
    found = named(reading, code, "error")
    assert found, reading.findings
    assert not reading.ok
    assert found[0].file == "vnfd.yaml"
    assert found[0].line > 0
    assert found[0].column > 0


@pytest.mark.parametrize(("old", "new", "code"), WARNINGS)
def test_a_breach_that_leaves_a_right_model_is_said(tmp_path: Path, old: str, new: str, code: str) -> None:
    reading = read(tmp_path, broken(old, new))
    assert reading.ok, reading.findings
    found = named(reading, code, "warning")
    assert found, reading.findings
    assert found[0].line > 0


def test_a_level_beyond_the_last_is_usable_where_its_instances_are_written(tmp_path: Path) -> None:
    written = """
    - said:
        type: tosca.policies.nfv.VduInstantiationLevels
        targets: [ vdu1 ]
        properties: { levels: { whole: { number_of_instances: 4 } } }
    """
    policies = POLICIES.replace("{ scale_level: 2 }", "{ scale_level: 3 }") + block(written, 0)
    reading = read(tmp_path, vnfd(ATTACHED + block(SOUND, 4), policies=policies))
    assert named(reading, "scale-level", "warning"), reading.findings
    assert reading.vnfd is not None
    (level,) = reading.vnfd.flavours[0].instantiation_levels
    assert (level.instances, level.scale_levels) == ({"vdu1": 4}, {"out": 2})


def test_deltas_of_an_aspect_too_many_change_nothing(tmp_path: Path) -> None:
    more = """
    - stray:
        type: tosca.policies.nfv.VduScalingAspectDeltas
        targets: [ vdu1 ]
        properties: { aspect: gone, deltas: { more: { number_of_instances: 1 } } }
    """
    reading = read(tmp_path, vnfd(ATTACHED + block(SOUND, 4), policies=POLICIES + block(more, 0)))
    assert named(reading, "aspect-unknown", "warning"), reading.findings
    assert reading.vnfd is not None
    assert [a.id for a in reading.vnfd.flavours[0].scaling_aspects] == ["out"]


def test_connection_points_alone_are_a_part_of_a_descriptor(tmp_path: Path) -> None:
    nodes = block(SOUND.replace("    - virtual_binding: vdu1\n", ""), 4)
    reading = read(tmp_path, vnfd(nodes))
    assert named(reading, "cp-unbound", "warning"), reading.findings
    assert reading.vnfd is not None
    assert [c.id for c in reading.vnfd.flavours[0].cps] == ["cp"]


def test_an_image_without_a_checksum_is_said_and_one_with_it_is_not(tmp_path: Path) -> None:
    image = "      artifacts:\n        sw_image: { type: tosca.artifacts.nfv.SwImage, file: reg/i:1, properties: %s }\n"
    bare = "{ name: i, version: '1', container_format: docker, disk_format: raw, size: 1 GB }"
    reading = read(tmp_path, vnfd(VDU + image % bare))
    (found,) = named(reading, "image-unchecked", "warning")
    assert reading.ok
    assert found.line > 0
    checked = bare.replace("}", ", checksum: { algorithm: sha-256, hash: " + "a" * 64 + " } }")
    assert not named(read(tmp_path, vnfd(VDU + image % checked)), "image-unchecked", "warning")


def test_a_selected_flavour_that_no_template_states_is_refused(tmp_path: Path) -> None:
    text = vnfd(VDU).replace("      type: acme.VNF\n", "      type: acme.VNF\n      properties: { flavour_id: huge }\n")
    mappings = "  substitution_mappings:\n    node_type: acme.VNF\n    properties: { flavour_id: simple }\n"
    reading = read(tmp_path, text + mappings)
    assert named(reading, "flavour-without-template", "error"), reading.findings
    assert not reading.ok


def test_a_key_that_comes_again_is_told_with_its_place(tmp_path: Path) -> None:
    text = vnfd(VDU.replace("num_virtual_cpu: 2", "num_virtual_cpu: 2, num_virtual_cpu: 3"))
    reading = read(tmp_path, text)
    (found,) = named(reading, "key-duplicate", "warning")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "num_virtual_cpu" in row)
    assert (found.file, found.line, "num_virtual_cpu" in found.message) == ("vnfd.yaml", line, True)
    assert reading.vnfd is not None
    assert reading.vnfd.flavours[0].vdus[0].cpu_milli == 3000


def test_of_a_section_that_comes_again_both_blocks_are_read(tmp_path: Path) -> None:
    again = "  node_templates:\n" + block(VDU.replace("vdu1", "vdu2"), 4)
    reading = read(tmp_path, vnfd(VDU) + again)
    assert len(named(reading, "key-duplicate", "warning")) == 1
    assert reading.ok
    assert reading.vnfd is not None
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["vdu1", "vdu2"]


def test_sections_put_together_may_not_say_one_node_twice(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU) + "  node_templates:\n" + block(VDU, 4))
    assert named(reading, "template-duplicate", "error")


def test_properties_and_requirements_that_come_again_lose_nothing(tmp_path: Path) -> None:
    split = ATTACHED.replace(
        "        description: the only one\n", "      properties:\n        description: the only one\n"
    )
    split += "      requirements:\n        - virtual_storage: more\n"
    more = block(SOUND, 4) + block(SOUND[SOUND.index("disk:") :].replace("disk:", "more:"), 4)
    reading = read(tmp_path, vnfd(split + more))
    assert len(named(reading, "key-duplicate", "warning")) == 2
    assert reading.vnfd is not None
    (vdu,) = reading.vnfd.flavours[0].vdus
    assert (vdu.name, vdu.description, vdu.storages) == ("one", "the only one", ("disk", "more"))


UNIT = """
unit:
  type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
  properties:
    name: unit
    description: one container
    vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 1 }
  requirements:
    - container: main
main:
  type: tosca.nodes.nfv.Vdu.OsContainer
  properties:
    name: main
    description: does the work
    requested_cpu_resources: 100
    cpu_resource_limit: 500
    requested_memory_resources: 64 MiB
    memory_resource_limit: 128 MiB
    sw_image_data: { name: main, version: "1", container_format: docker }
  artifacts:
    sw_image: { type: tosca.artifacts.nfv.SwImage, file: registry.example/main:1 }
"""


@pytest.mark.parametrize(
    ("key", "value", "code", "hint"),
    [
        ("requested_cpu_resources", "-5", "value-unit", "milli-CPU"),
        ("requested_cpu_resources", "0", "value-range", "more than 0"),
        ("requested_cpu_resources", "600", "size-limit", "raise the limit"),
        ("cpu_resource_limit", "-1", "value-unit", "milli-CPU"),
        ("cpu_resource_limit", "900000000", "size-absurd", "milli-CPU"),
        ("requested_memory_resources", "0 MiB", "value-range", "more than 0"),
        ("requested_memory_resources", "256 MiB", "size-limit", "raise the limit"),
        ("memory_resource_limit", "-64 MiB", "value-unit", "512 MiB"),
        ("memory_resource_limit", "64 PiB", "size-absurd", "unit"),
    ],
)
def test_a_containers_amounts_have_to_be_possible(tmp_path: Path, key: str, value: str, code: str, hint: str) -> None:
    assert not [f for f in read(tmp_path, vnfd(UNIT)).findings if f.severity == "error"]
    rows = [f"    {key}: {value}" if row.strip().startswith(f"{key}:") else row for row in UNIT.splitlines()]
    reading = read(tmp_path, vnfd("\n".join(rows)))
    assert not reading.ok
    (found, *_) = named(reading, code, "error")
    assert hint in found.hint
    assert found.line
