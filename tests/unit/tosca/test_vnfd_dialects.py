"""Descriptors as people write them beside the standard: read as they are meant, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from csar_writer import HEAD, TYPES, VDU, block, vnfd, write_csar

from vnfm.model.vnfd import Flavour
from vnfm.tosca import PackageReading, read_package


def read(tmp_path: Path, text: str | bytes, **files: str) -> PackageReading:
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text, **files}))


def only(reading: PackageReading) -> Flavour:
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    (flavour,) = reading.vnfd.flavours
    return flavour


def warned(reading: PackageReading, code: str) -> list[str]:
    found = [f for f in reading.findings if f.code == code]
    assert all(f.severity == "warning" and f.line > 0 for f in found), found
    return [f.message for f in found]


PROFILE = """
tosca_definitions_version: tosca_simple_profile_for_nfv_1_0_0
topology_template:
  node_templates:
    web:
      type: tosca.nodes.nfv.VDU.Tacker
      capabilities: { nfv_compute: { properties: { num_cpus: 2, mem_size: 1 GB, disk_size: 4 GB } } }
    port:
      type: tosca.nodes.nfv.CP.Tacker
      requirements:
        - virtualLink: { node: lan }
        - virtualBinding: { node: web }
    lan: { type: tosca.nodes.nfv.VL.ELAN }
    data: { type: tosca.nodes.BlockStorage.Tacker, properties: { size: 3 GB } }
    glue:
      type: tosca.nodes.BlockAttachment
      requirements: [ { virtualBinding: { node: web } }, { virtualAttachment: { node: data } } ]
    door: { type: tosca.nodes.nfv.FIP, requirements: [ link: port ] }
"""


def test_a_profile_before_the_standard_is_read_by_what_its_types_became(tmp_path: Path) -> None:
    reading = read(tmp_path, PROFILE)
    flavour = only(reading)
    (vdu,) = flavour.vdus
    assert (vdu.id, vdu.cpu_milli, vdu.memory_bytes, vdu.storages) == ("web", 2000, 10**9, ("data",))
    assert [(c.id, c.vdu_id, c.virtual_link) for c in flavour.cps] == [("port", "web", "lan")]
    assert [link.id for link in flavour.virtual_links] == ["lan"]
    assert [(s.id, s.size_bytes) for s in flavour.storages] == [("data", 3 * 10**9)]
    assert any("Tacker's own profile" in m for m in warned(reading, "type-former"))
    assert [m for m in warned(reading, "type-unknown") if "door" in m]  # no part of a VNF: left out


FOREIGN = """
box:
  type: elsewhere.nodes.nfv.Vdu.Compute
  requirements: [ virtual_storage: disk ]
box2:
  type: elsewhere.Machine
  capabilities: { virtual_compute: { properties: { virtual_cpu: { num_virtual_cpu: 1 } } } }
port:
  type: elsewhere.Nic
  requirements: [ virtual_binding: box, virtual_link: lan ]
lan: { type: elsewhere.Wire }
disk: { type: elsewhere.Plate }
fs: { type: elsewhere.nodes.VirtualFileStorage }
out: { type: elsewhere.VnfExtCp }
settings: { type: elsewhere.Configuration, properties: { a: b } }
untyped: { properties: { vl_profile: {} } }
"""


def test_types_that_nobody_defines_are_told_by_name_and_by_shape(tmp_path: Path) -> None:
    head = HEAD + "  - https://types.example/not_here.yaml\n  - gone.yaml\n"
    reading = read(tmp_path, vnfd(block(FOREIGN, 4), head=head))
    flavour = only(reading)
    assert [v.id for v in flavour.vdus] == ["box", "box2"]
    assert [(c.id, c.vdu_id, c.virtual_link) for c in flavour.cps] == [("port", "box", "lan")]
    assert [link.id for link in flavour.virtual_links] == ["lan", "untyped"]
    assert [(s.id, s.kind) for s in flavour.storages] == [("disk", "block"), ("fs", "file")]
    assert [e.id for e in flavour.external_cps if not e.implied] == ["out"]
    assert len(warned(reading, "type-guessed")) == 8
    assert [m for m in warned(reading, "type-unknown") if "settings" in m]
    assert warned(reading, "import-not-fetched")
    assert warned(reading, "import-not-found")


def test_a_missing_import_refuses_what_is_nothing_without_it(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd("", head=HEAD + "  - the_flavour.yaml\n"))
    assert not reading.ok
    assert [(f.code, f.line) for f in reading.findings if f.severity == "error"] == [("import-not-found", 5)]


DRAFT_CPS = """
inner:
  type: tosca.nodes.nfv.Cpd
  properties: { layer_protocol: ipv6 }
  requirements: { virtual_binding: vdu1, virtual_link: [ lan, virtual_linkable ] }
outer:
  type: acme.Socket
  requirements: [ internal_virtual_link: lan ]
own:
  type: acme.Socket
  requirements:
    - virtual_binding:
      node: vdu1
    - virtual_link:
      node: lan
lan:
  type: tosca.nodes.nfv.VnfVirtualLink
  properties: { vl_profile: { virtual_link_protocol_data: { l3_protocol_data: { cidr: 10.7.0.0/24 } } } }
"""


def test_connection_points_of_the_general_type_are_what_they_ask_for(tmp_path: Path) -> None:
    types = TYPES + "  acme.Socket: { derived_from: tosca.nodes.nfv.Cp }\n"
    reading = read(tmp_path, vnfd(VDU + block(DRAFT_CPS, 4), types=types))
    flavour = only(reading)
    assert [(c.id, c.vdu_id, c.virtual_link) for c in flavour.cps] == [
        ("inner", "vdu1", "lan"),
        ("own", "vdu1", "lan"),
    ]
    assert flavour.cps[0].layer_protocols == ("ipv6",)
    assert [(e.id, e.virtual_link) for e in flavour.external_cps] == [("outer", "lan")]
    assert flavour.virtual_links[0].cidrs == ("10.7.0.0/24",)


POD = """
pod:
  type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
  requirements: [ container: app ]
app: { type: tosca.nodes.nfv.Vdu.OsContainer }
port: { type: tosca.nodes.nfv.VduCp, requirements: [ virtual_binding: app ] }
"""


def test_a_port_of_a_container_is_its_unit_s(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(block(POD, 4)))
    assert [(c.id, c.vdu_id) for c in only(reading).cps] == [("port", "pod")]
    assert warned(reading, "cp-container")


def test_a_unit_without_containers_is_one(tmp_path: Path) -> None:
    bare = "pod: { type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit }"
    reading = read(tmp_path, vnfd(block(bare, 4)))
    assert [v.id for v in only(reading).vdus] == ["pod"]
    assert "tosca-parser-occurrences" not in {f.code for f in reading.findings}


BESIDE = """
groups:
  pair: { type: tosca.groups.nfv.PlacementGroup, properties: { members: [ vdu1, nobody ] } }
policies:
  aspects:
    type: tosca.policies.nfv.ScalingAspects
    properties: { aspects: [ out: { max_scale_level: 3, step_deltas: [ first, later ] } ] }
  more:
    type: tosca.policies.nfv.VduScalingAspectDeltas
    targets: vdu1
    properties: { aspect: out, deltas: { first: { number_of_instances: 1 }, later: { number_of_instances: 2 } } }
  levels:
    type: elsewhere.policies.InstantiationLevels
    properties:
      levels: { low: { description: a }, high: { description: b, scale_info: { out: { scale_level: 3 } } } }
  near: { type: tosca.policies.nfv.AffinityRule, targets: [ pair ], properties: { scope: NFVI-node } }
  near: { type: tosca.policies.nfv.AntiAffinityRule, targets: [ vdu1, "" ], properties: { scope: zone } }
"""


def test_policies_and_groups_beside_the_template_belong_to_it(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd() + BESIDE)
    flavour = only(reading)
    assert [(a.id, a.step_deltas) for a in flavour.scaling_aspects] == [("out", {"vdu1": (1, 2, 2)})]
    assert [(lv.id, lv.instances) for lv in flavour.instantiation_levels] == [
        ("low", {"vdu1": 1}),
        ("high", {"vdu1": 6}),
    ]
    assert [(g.id, g.members) for g in flavour.placement_groups] == [("pair", ("vdu1", "nobody"))]
    assert [(r.anti, r.targets) for r in flavour.affinity] == [(False, ("vdu1",)), (True, ("vdu1",))]
    for code in ("topology-misplaced", "group-form", "step-deltas", "target-unknown", "template-duplicate"):
        assert warned(reading, code), code


@pytest.mark.parametrize(
    "capability",
    [
        "{ virtual_memory: { virtual_mem_size: 2 GiB }, virtual_cpu: { num_virtual_cpu: 3 } }",
        "{ properties: { virtual_memory: { properties: { virtual_mem_size: 2 GiB } },"
        " virtual_cpu: { properties: { num_virtual_cpu: 3 } } } }",
    ],
)
def test_a_capability_with_its_properties_at_another_depth(tmp_path: Path, capability: str) -> None:
    nodes = "box: { type: tosca.nodes.nfv.Vdu.Compute, capabilities: { virtual_compute: " + capability + " } }"
    reading = read(tmp_path, vnfd(block(nodes, 4)))
    (vdu,) = only(reading).vdus
    assert (vdu.cpu_milli, vdu.memory_bytes) == (3000, 2 * 2**30)
    assert warned(reading, "capability-form")


def test_a_vdu_that_does_not_say_its_size(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU.replace("512 MiB", "<memory>")))
    assert only(reading).vdus[0].memory_bytes == 0
    assert warned(reading, "size-unknown")
    assert warned(reading, "value-unit")


def test_mappings_that_come_again_count_each(tmp_path: Path) -> None:
    ports = "".join(f"{n}: {{ type: tosca.nodes.nfv.VduCp, requirements: [ virtual_binding: vdu1 ] }}\n" for n in "ab")
    more = """
    substitution_mappings:
      node_type: acme.VNF
      properties: { flavour_id: simple }
      requirements:
        virtual_link: [ a, virtual_link ]
        virtual_link: [ b, virtual_link ]
    """
    reading = read(tmp_path, vnfd(VDU + block(ports, 4), more=more))
    assert [e.id for e in only(reading).external_cps] == ["a", "b"]
    assert warned(reading, "mapping-duplicate")


def test_names_are_as_they_are_written(tmp_path: Path) -> None:
    nodes = """
    1: { type: tosca.nodes.nfv.Vdu.Compute }
    on: { type: tosca.nodes.nfv.VduCp, requirements: [ virtual_binding: 1 ] }
    """
    flavour = only(read(tmp_path, vnfd(block(nodes, 4))))
    assert [v.id for v in flavour.vdus] == ["1"]
    assert [(c.id, c.vdu_id) for c in flavour.cps] == [("on", "1")]


def test_who_the_vnf_is_by_other_profiles_words(tmp_path: Path) -> None:
    vnf = "it: { type: tosca.nodes.nfv.VNF, properties: { vnfd_id: abc, vendor: Acme } }"
    text = HEAD + "metadata: { vnfd_version: '7' }\ntopology_template:\n  node_templates:\n" + block(vnf, 4) + VDU
    reading = read(tmp_path, text)
    assert reading.vnfd is not None
    assert (reading.vnfd.id, reading.vnfd.version, reading.vnfd.provider) == ("abc", "7", "Acme")


def test_an_input_that_nobody_declares_stays_empty(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU.replace("description: the only one", "description: { get_input: nothing }")))
    assert only(reading).vdus[0].description == ""
    assert warned(reading, "input-unknown")


def test_text_in_another_encoding_and_a_second_document(tmp_path: Path) -> None:
    text = vnfd().replace("the only one", "größer").encode("cp1252")
    reading = read(tmp_path, text + b"---\nmore: things\n")
    assert only(reading).vdus[0].description == "größer"
    assert warned(reading, "yaml-encoding")
    assert warned(reading, "yaml-documents")


def test_a_vnf_of_charts_alone_is_told_by_its_type(tmp_path: Path) -> None:
    reading = read(tmp_path, HEAD + TYPES)
    assert only(reading).id == "simple"
    assert reading.vnfd is not None
    assert reading.vnfd.provider == "Acme"
    assert {f.code for f in reading.findings} >= {"flavour-empty"}


@pytest.mark.parametrize("kind", ["NS", "PNF"])
def test_other_descriptors_are_no_vnfd(tmp_path: Path, kind: str) -> None:
    text = f"{HEAD}node_types: {{ acme.It: {{ derived_from: tosca.nodes.nfv.{kind} }} }}\n"
    reading = read(tmp_path, text + "topology_template: { substitution_mappings: { node_type: acme.It } }\n")
    assert [f.code for f in reading.findings if f.severity == "error"] == ["not-a-vnfd"]


LARGE_PAGES = """
app:
  type: tosca.nodes.nfv.Vdu.OsContainer
  properties:
    huge_pages_resources: [ { hugepage_size: 2 MiB, requested_size: 64 MiB } ]
    extended_resource_requests: [ { extended_resource: { kind: acme.example/gpu }, amount: 2 } ]
pod:
  type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
  requirements: [ container: app ]
box:
  type: tosca.nodes.nfv.Vdu.Compute
  capabilities:
    virtual_compute:
      properties:
        virtual_cpu: { num_virtual_cpu: 1 }
        virtual_memory:
          virtual_mem_size: 1 GiB
          huge_pages_requirements: [ { hugepage_size: 1 GiB, requested_size: 512 MiB } ]
"""


def test_large_pages_and_extended_resources_as_lists(tmp_path: Path) -> None:
    needs = {v.id: v.needs for v in only(read(tmp_path, vnfd(block(LARGE_PAGES, 4)))).vdus}
    assert (needs["pod"].hugepage_bytes, needs["pod"].gpus) == (64 * 2**20, 2)
    assert needs["box"].hugepage_bytes == 512 * 2**20


TOGETHER = """
toscaDefinitionsVersion: tosca_simple_yaml_1_2
topologyTemplate:
  substitutionMappings: { nodeType: tosca.nodes.nfv.VNF, requirements: { virtualLink: [ eth0, out ] } }
  nodeTemplates:
    theVnf: { type: tosca.nodes.nfv.VNF, properties: { descriptorId: abc, flavourId: tiny } }
    theBox:
      type: tosca.nodes.nfv.Vdu.Compute
      capabilities:
        virtualCompute:
          properties: { virtualMemory: { virtualMemSize: 1 GiB }, virtualCpu: { numVirtualCpu: 2 } }
      requirements: { virtualStorage: [ diskOne, diskTwo ] }
    diskOne:
      type: tosca.nodes.nfv.Vdu.VirtualBlockStorage
      properties: { virtualBlockStorageData: { sizeOfStorage: 2 GB } }
    diskTwo: { type: tosca.nodes.nfv.Vdu.VirtualBlockStorage }
    eth0: { type: tosca.nodes.nfv.VduCp, requirements: { virtualBinding: [ theBox ] } }
"""


def test_keynames_that_are_written_together(tmp_path: Path) -> None:
    reading = read(tmp_path, TOGETHER)
    flavour = only(reading)
    assert flavour.id == "tiny"
    assert [(v.id, v.memory_bytes, v.storages) for v in flavour.vdus] == [("theBox", 2**30, ("diskOne", "diskTwo"))]
    assert [(s.id, s.size_bytes) for s in flavour.storages] == [("diskOne", 2 * 10**9), ("diskTwo", 0)]
    assert [(e.id, e.implied) for e in flavour.external_cps] == [("eth0", False)]
    assert warned(reading, "keyname-form")
    assert reading.vnfd is not None
    assert reading.vnfd.id == "abc"


def test_nodes_that_nobody_knows_are_not_an_empty_vnf(tmp_path: Path) -> None:
    nodes = "lan: { type: carrier.Network }\nhost: { type: carrier.Component }\n"
    reading = read(tmp_path, vnfd("").rstrip() + "\n" + block(nodes, 4))
    assert not reading.ok
    assert {f.code for f in reading.findings if f.severity == "error"} == {"type-unknown"}


def test_a_policy_that_has_its_name_inside(tmp_path: Path) -> None:
    policy = """
    - name: grow
      type: tosca.policies.nfv.ScalingAspects
      properties: { aspects: { out: { max_scale_level: 1, step_deltas: one } } }
    """
    assert [a.id for a in only(read(tmp_path, vnfd(policies=policy))).scaling_aspects] == ["out"]


OWN_TYPES = (
    TYPES
    + """
  acme.Box:
    derived_from: tosca.nodes.nfv.Vdu.Compute
    properties:
      vdu_profile: { default: { min_number_of_instances: 2, max_number_of_instances: 7 } }
    capabilities:
      virtual_compute:
        type: acme.Power
        properties: { virtual_cpu: { type: tosca.datatypes.nfv.VirtualCpu, default: { num_virtual_cpu: 4 } } }
    artifacts:
      sw_image: { type: tosca.artifacts.nfv.SwImage, file: images/box:1 }
  acme.Box2: { derived_from: acme.Box }
  acme.Plug: { derived_from: tosca.nodes.nfv.VduCp, properties: { layer_protocols: { default: [ ipv6 ] } } }
capability_types:
  acme.Power:
    derived_from: tosca.capabilities.nfv.VirtualCompute
    properties: { virtual_memory: { type: tosca.datatypes.nfv.VirtualMemory, default: { virtual_mem_size: 8 GB } } }
policy_types:
  acme.Aspects:
    derived_from: tosca.policies.nfv.ScalingAspects
    properties: { aspects: { default: { out: { max_scale_level: 2, step_deltas: [ one ] } } } }
"""
)


def test_what_a_type_says_holds_for_its_templates(tmp_path: Path) -> None:
    nodes = """
    box: { type: acme.Box2 }
    plug: { type: acme.Plug, requirements: [ virtual_binding: box ] }
    """
    reading = read(tmp_path, vnfd(block(nodes, 4), types=OWN_TYPES, policies="- grow: { type: acme.Aspects }"))
    flavour = only(reading)
    (vdu,) = flavour.vdus
    assert (vdu.cpu_milli, vdu.memory_bytes, vdu.min_instances, vdu.max_instances) == (4000, 8 * 10**9, 2, 7)
    assert vdu.disk_image is not None
    assert vdu.disk_image.path == "images/box:1"
    assert flavour.cps[0].layer_protocols == ("ipv6",)
    assert [(a.id, a.max_level) for a in flavour.scaling_aspects] == [("out", 2)]


def test_a_binding_and_a_link_that_are_crossed(tmp_path: Path) -> None:
    nodes = """
    lan: { type: tosca.nodes.nfv.VnfVirtualLink }
    port: { type: tosca.nodes.nfv.VduCp, requirements: [ virtual_binding: lan, virtual_link: vdu1 ] }
    """
    reading = read(tmp_path, vnfd(VDU + block(nodes, 4)))
    assert [(c.vdu_id, c.virtual_link) for c in only(reading).cps] == [("vdu1", "lan")]
    assert warned(reading, "cp-binding")


def test_types_that_are_named_after_the_standard_s(tmp_path: Path) -> None:
    types = TYPES + "  tosca.nodes.nfv.Vdu.Compute.Helm.my: { derived_from: tosca.nodes.nfv.Vdu.Compute.Helm }\n"
    reading = read(tmp_path, vnfd(block("box: { type: tosca.nodes.nfv.Vdu.Compute.Helm.my }", 4), types=types))
    assert [v.id for v in only(reading).vdus] == ["box"]
    assert [m for m in warned(reading, "type-guessed") if "which comes from tosca.nodes.nfv.Vdu.Compute.Helm," in m]


def test_what_other_profiles_call_things(tmp_path: Path) -> None:
    nodes = """
    box:
      type: tosca.nodes.nfv.Vdu.Compute
      properties: { image: theirs, bootdata: { user_data: { contents: "#!/bin/sh" } } }
    lan:
      type: tosca.nodes.nfv.VnfVirtualLink
      properties:
        vl_profile: { max_bit_rate_requirements: { root: 7 }, l3_protocol_data: [ { cidr: 10.1.0.0/24 } ] }
    """
    flavour = only(read(tmp_path, vnfd(block(nodes, 4))))
    (box,) = flavour.vdus
    assert box.user_data == b"#!/bin/sh"
    assert box.disk_image is not None
    assert box.disk_image.path == "theirs"
    assert (flavour.virtual_links[0].cidrs, flavour.virtual_links[0].max_bitrate.root_bps) == (("10.1.0.0/24",), 7)


@pytest.mark.parametrize(
    ("artifact", "code", "path"),
    [
        ("{ type: tosca.artifacts.nfv.SwImage, name: theirs, checksum: { hash: ab } }", "artifact-file", "theirs"),
        ("{ type: tosca.artifacts.nfv.SwImage, file: a/b:1, name: theirs, version: '2' }", "artifact-form", "a/b:1"),
        ("{ type: tosca.artifacts.nfv.SwImage, file: ../../etc/passwd }", "artifact-outside", ""),
    ],
)
def test_an_image_that_is_named_in_another_way(tmp_path: Path, artifact: str, code: str, path: str) -> None:
    nodes = "box: { type: tosca.nodes.nfv.Vdu.Compute, artifacts: { sw_image: " + artifact + " } }"
    reading = read(tmp_path, vnfd(block(nodes, 4)))
    image = only(reading).vdus[0].disk_image
    assert image is not None
    assert image.path == path
    assert warned(reading, code)


@pytest.mark.parametrize("key", ["topology_templates", "topolgy_template", "service_template"])
def test_a_topology_by_a_name_that_is_nearly_right(tmp_path: Path, key: str) -> None:
    meta = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: us\nEntry-Definitions: vnfd.yaml\n"
    text = vnfd().replace("topology_template:", f"{key}:").replace("node_templates:", "nodes_templates:")
    reading = read(tmp_path, text, **{"TOSCA-Metadata/TOSCA.meta": meta})
    assert [v.id for v in only(reading).vdus] == ["vdu1"]
    assert warned(reading, "keyname-form")


def test_a_key_that_means_nothing_is_told_and_refuses_where_nodes_are_below(tmp_path: Path) -> None:
    assert warned(read(tmp_path, vnfd() + "colour: red\n"), "keyname-unknown")
    reading = read(tmp_path, vnfd() + "more: { node_templates: {} }\n")
    assert [f.code for f in reading.findings if f.severity == "error"] == ["keyname-unknown"]


def test_a_copy_of_another_template(tmp_path: Path) -> None:
    more = "two: { type: tosca.nodes.nfv.Vdu.Compute, copy: vdu1, properties: { name: second } }"
    one, two = only(read(tmp_path, vnfd(VDU + block(more, 4)))).vdus
    assert (two.name, two.cpu_milli, two.max_instances) == ("second", one.cpu_milli, one.max_instances)


def test_values_in_the_place_of_definitions(tmp_path: Path) -> None:
    types = TYPES.replace("{ type: string, default: Acme }", "Acme Limited")
    reading = read(tmp_path, vnfd(types=types))
    assert reading.vnfd is not None
    assert reading.vnfd.provider == "Acme Limited"
