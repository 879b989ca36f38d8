"""From a descriptor to the model: what SOL001 says, in any vendor's types, comes out as plain values."""

from __future__ import annotations

from pathlib import Path

import pytest
from csar_writer import HEAD, META, TYPES, VDU, block, digest, tar_of, vnfd, write_csar

from vnfm.model.codec import decode, encode
from vnfm.model.connectivity import CpKind
from vnfm.model.needs import Isolation, Needs, Trait
from vnfm.model.vdu import ImageFormat
from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.tosca import PackageReading, read_package


def read(tmp_path: Path, text: str, **files: str | bytes) -> PackageReading:
    named = {name.replace("__", "/"): data for name, data in files.items()}
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text, **named}))


def good(reading: PackageReading) -> Vnfd:
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    return reading.vnfd


def only(reading: PackageReading) -> Flavour:
    (flavour,) = good(reading).flavours
    return flavour


NETWORK = """
cp_out:
  type: tosca.nodes.nfv.VduCp
  properties: { layer_protocols: [ ipv4 ], order: 1, vnic_type: direct, bitrate_requirement: 10000000 }
  requirements:
    - virtual_binding: vdu1
cp_in:
  type: tosca.nodes.nfv.VduCp
  properties:
    layer_protocols: [ ethernet ]
    virtual_network_interface_requirements:
      - name: transparent
        support_mandatory: true
        network_interface_requirements: { l2_transparent: "true" }
  requirements:
    - virtual_binding: { node: vdu1 }
    - virtual_link: net
net:
  type: tosca.nodes.nfv.VnfVirtualLink
  properties:
    connectivity_type: { layer_protocols: [ ipv4 ] }
    vl_profile:
      min_bitrate_requirements: { root: 1000000 }
      max_bitrate_requirements: { root: 2000000 }
      qos: { latency: 2 ms, packet_delay_variation: 1 ms }
      virtual_link_protocol_data:
        - associated_layer_protocol: ethernet
          l2_protocol_data: { mtu: 1400 }
        - associated_layer_protocol: ipv4
          l3_protocol_data: { ip_version: ipv4, cidr: 10.0.0.0/24 }
ext:
  type: tosca.nodes.nfv.VnfExtCp
  properties: { layer_protocols: [ ipv4 ] }
  requirements:
    - internal_virtual_link: net
"""


def test_a_plain_vnfd_says_who_it_is_and_tosca_parser_agrees(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd())
    found = good(reading)
    assert reading.findings == ()
    assert (found.id, found.provider, found.product) == ("11111111-2222-3333-4444-555555555555", "Acme", "Fire")
    assert found.version == "1.10"  # not the number 1.1
    assert found.vnfm_info == ("etsivnfm:v2.6.1",)
    (flavour,) = found.flavours
    assert (flavour.id, flavour.description) == ("simple", "small")
    (vdu,) = flavour.vdus
    assert (vdu.id, vdu.name, vdu.description) == ("vdu1", "one", "the only one")
    assert (vdu.cpu_milli, vdu.memory_bytes) == (2000, 512 * 2**20)
    assert (vdu.initial_instances, vdu.min_instances, vdu.max_instances) == (1, 1, 4)
    assert vdu.needs == Needs()


def test_the_model_survives_storage(tmp_path: Path) -> None:
    found = good(read(tmp_path, vnfd(VDU + block(NETWORK, 4))))
    assert decode(Vnfd, encode(found)) == found


def test_connection_points_links_and_what_leads_outside(tmp_path: Path) -> None:
    more = """
    substitution_mappings:
      node_type: acme.VNF
      properties: { flavour_id: simple }
      requirements:
        virtual_link_out: [ cp_out, virtual_link ]
    """
    reading = read(tmp_path, vnfd(VDU + block(NETWORK, 4), more=more))
    flavour = only(reading)
    out, inner = flavour.cps
    assert (out.id, out.vdu_id, out.virtual_link, out.order) == ("cp_out", "vdu1", "", 1)
    assert (out.vnic_type, out.bandwidth_bps, out.kind) == ("direct", 10_000_000, CpKind.VDU)
    assert (inner.virtual_link, inner.order, inner.l2_transparent, inner.mtu_bytes) == ("net", 0, True, 1400)
    (link,) = flavour.virtual_links
    assert (link.cidrs, link.mtu_bytes, link.max_latency_us) == (("10.0.0.0/24",), 1400, 2000)
    assert link.bandwidth_bps == 1_000_000
    external = {e.id: e for e in flavour.external_cps}
    assert (external["ext"].virtual_link, external["ext"].cpd_id) == ("net", "cp_in")
    assert (external["cp_out"].cpd_id, external["cp_out"].requirement) == ("cp_out", "virtual_link_out")
    assert flavour.vdus[0].needs.sriov_ports == 1


def test_without_mappings_an_unlinked_cp_leads_outside(tmp_path: Path) -> None:
    flavour = only(read(tmp_path, vnfd(VDU + block(NETWORK, 4))))
    assert [e.id for e in flavour.external_cps] == ["ext", "cp_out"]


def test_types_that_a_vendor_derives_count_as_what_they_come_from(tmp_path: Path) -> None:
    types = TYPES + block(
        """
        acme.Base: { derived_from: tosca.nodes.nfv.Vdu.Compute }
        acme.Vdu:
          derived_from: acme.Base
          properties: { colour: { type: string, required: false } }
        acme.Cp: { derived_from: tosca.nodes.nfv.VduCp }
        """,
        2,
    )
    policy_types = block(
        """
        policy_types:
          acme.Initial: { derived_from: tosca.policies.nfv.VduInitialDelta }
        """,
        0,
    )
    nodes = VDU.replace("tosca.nodes.nfv.Vdu.Compute", "acme.Vdu") + block(
        """
        cp:
          type: acme.Cp
          properties: { layer_protocols: [ ipv4 ] }
          requirements: [ { virtual_binding: vdu1 } ]
        """,
        4,
    )
    policies = """
    - start:
        type: acme.Initial
        targets: [ vdu1 ]
        properties: { initial_delta: { number_of_instances: 3 } }
    """
    flavour = only(read(tmp_path, vnfd(nodes, types=types + policy_types, policies=policies)))
    assert [v.id for v in flavour.vdus] == ["vdu1"]
    assert [c.id for c in flavour.cps] == ["cp"]
    assert flavour.vdus[0].initial_instances == 3


TOP = """
tosca_definitions_version: tosca_simple_yaml_1_2
imports: [ etsi_nfv_sol001_vnfd_types.yaml, types.yaml, small.yaml, big.yaml ]
topology_template:
  inputs:
    selected_flavour: { type: string }
  node_templates:
    VNF:
      type: acme.VNF
      properties:
        descriptor_id: 11111111-2222-3333-4444-555555555555
        flavour_id: { get_input: selected_flavour }
        product_name: Fire and water
"""


def flavour_file(flavour: str, memory: str) -> str:
    return f"""
tosca_definitions_version: tosca_simple_yaml_1_2
imports: [ etsi_nfv_sol001_vnfd_types.yaml, types.yaml ]
topology_template:
  inputs:
    product_name: {{ type: string }}
    size: {{ type: string, default: {memory} }}
  substitution_mappings:
    node_type: acme.VNF
    properties: {{ flavour_id: {flavour} }}
  node_templates:
    VNF:
      type: acme.VNF
      properties: {{ flavour_description: the {flavour} one }}
    vdu_{flavour}:
      type: tosca.nodes.nfv.Vdu.Compute
      properties:
        name: {{ get_input: product_name }}
        description: {{ concat: [ {flavour}, " of ", {{ get_property: [ VNF, flavour_description ] }} ] }}
        vdu_profile: {{ min_number_of_instances: 1, max_number_of_instances: 1 }}
      capabilities:
        virtual_compute:
          properties:
            virtual_memory: {{ virtual_mem_size: {{ get_input: size }} }}
            virtual_cpu: {{ num_virtual_cpu: 1 }}
"""


def several(tmp_path: Path) -> Path:
    return write_csar(
        tmp_path / "p.csar",
        {
            META: "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nEntry-Definitions: Definitions/top.yaml\n"
            "ETSI-Entry-Manifest: vnfd.mf\n",
            "Definitions/top.yaml": TOP,
            "Definitions/types.yaml": HEAD + TYPES,
            "Definitions/small.yaml": flavour_file("small", "128Mi"),
            "Definitions/big.yaml": flavour_file("big", "2 GiB"),
        },
    )


def test_every_flavour_stands_on_its_own(tmp_path: Path) -> None:
    found = good(read_package(several(tmp_path)))
    assert found.product == "Fire and water"
    assert [f.id for f in found.flavours] == ["small", "big"]
    small, big = found.flavours
    assert [(v.id, v.memory_bytes) for v in small.vdus] == [("vdu_small", 128 * 2**20)]
    assert [(v.id, v.memory_bytes) for v in big.vdus] == [("vdu_big", 2 * 2**30)]
    assert big.description == "the big one"
    assert (big.vdus[0].name, big.vdus[0].description) == ("Fire and water", "big of the big one")


def test_one_flavour_can_be_asked_for(tmp_path: Path) -> None:
    package = several(tmp_path)
    assert [f.id for f in good(read_package(package, flavour="big")).flavours] == ["big"]
    refused = read_package(package, flavour="huge")
    assert [(f.code, f.hint) for f in refused.findings if f.severity == "error"] == [
        ("flavour-unknown", "there is small, big")
    ]


def capability(name: str, parameters: str, mandatory: str = "true") -> str:
    return f"""
              {name}:
                requested_additional_capability_name: {name}
                support_mandatory: {mandatory}
                target_performance_parameters: {parameters}"""


def with_capabilities(*entries: str) -> str:
    return VDU.rstrip("\n") + "\n            requested_additional_capabilities:" + "".join(entries) + "\n"


def needs_of(tmp_path: Path, nodes: str) -> Needs:
    return only(read(tmp_path, vnfd(nodes))).vdus[0].needs


@pytest.mark.parametrize("level", ["none", "tenant", "nested", "kernel", "machine"])
def test_isolation_is_a_must_with_its_level(tmp_path: Path, level: str) -> None:
    needs = needs_of(tmp_path, with_capabilities(capability("isolation", f"{{ level: {level}, trust_level: 2 }}")))
    assert needs.isolation is Isolation[level.upper()]
    assert needs.min_trust == 2
    assert needs.wishes == frozenset()


def test_what_is_not_mandatory_is_a_wish(tmp_path: Path) -> None:
    needs = needs_of(
        tmp_path,
        with_capabilities(
            capability("latency", "{ startup_ms: '150', hop_us: 20 }", "false"),
            capability("operating_system", "{ kernel: own, os: any }"),
        ),
    )
    assert (needs.max_startup_ms, needs.max_hop_us) == (150, 20)
    assert (needs.own_kernel, needs.own_os) == (True, False)
    assert needs.wishes == {"max_startup_ms", "max_hop_us"}


def test_a_licence_is_taken_by_each_instance_and_is_always_a_must(tmp_path: Path) -> None:
    needs = needs_of(tmp_path, with_capabilities(capability("licence", "{ id: dpi, count: 3 }", "false")))
    assert (needs.licence, needs.licence_count, needs.wishes) == ("dpi", 3, frozenset())
    assert needs_of(tmp_path, with_capabilities(capability("licence", "{ id: dpi }"))).licence_count == 1


def test_what_kind_of_work_it_does_may_be_said(tmp_path: Path) -> None:
    said = "{ state: kept, packets: some, scaling: fast, handling: cluster }"
    needs = needs_of(tmp_path, with_capabilities(capability("workload", said)))
    assert needs.traits == {Trait.STATE, Trait.SCALING, Trait.CLUSTER}


def test_a_capability_that_nobody_knows_is_handed_on(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(with_capabilities(capability("quantum", "{ qubits: '8' }"))))
    assert only(reading).vdus[0].needs.other == {"quantum": '{"qubits": "8"}'}
    assert [f.code for f in reading.findings] == ["capability-unknown"]


@pytest.mark.parametrize(
    "entry",
    [
        capability("isolation", "{ level: total }"),
        capability("isolation", "{ trust_level: 4 }"),
        capability("operating_system", "{ kernel: mine }"),
        capability("latency", "{ startup_ms: soon }"),
        capability("isolation", "{}"),
        capability("licence", "{ count: 2 }"),
        capability("licence", "{ id: dpi, count: 0 }"),
        capability("workload", "{ state: much }"),
    ],
)
def test_a_need_without_sense_is_refused_where_it_stands(tmp_path: Path, entry: str) -> None:
    reading = read(tmp_path, vnfd(with_capabilities(entry)))
    assert not reading.ok
    (finding,) = [f for f in reading.findings if f.severity == "error"]
    assert finding.line > 30
    assert finding.code in ("need-value", "value-type", "need-empty")


def test_hardware_needs_stand_where_the_standard_puts_them(tmp_path: Path) -> None:
    nodes = """
    vdu1:
      type: tosca.nodes.nfv.Vdu.Compute
      properties:
        name: one
        description: near the metal
        vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 1 }
      capabilities:
        virtual_compute:
          properties:
            logical_node:
              one: { logical_node_requirements: { "gpu:count": "2" } }
            virtual_memory:
              virtual_mem_size: 512 MiB
              numa_enabled: true
              vdu_mem_requirements: { mem_page_size: 2MB }
            virtual_cpu:
              num_virtual_cpu: 2
              cpu_architecture: amd64
              virtual_cpu_pinning: { virtual_cpu_pinning_policy: static }
    """
    needs = needs_of(tmp_path, nodes)
    assert (needs.cpu_pinned, needs.numa_strict, needs.arch) == (True, True, "x86_64")
    assert needs.hugepage_bytes == 512 * 2**20
    assert needs.gpus == 2


UNIT = """
unit:
  type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
  properties:
    name: unit
    description: two containers
    vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 1 }
    requested_additional_capabilities:
      apart:
        requested_additional_capability_name: isolation
        support_mandatory: true
        target_performance_parameters: { level: kernel }
  requirements:
    - container: main
    - container: side
    - init_container: first
main:
  type: vnfm.nodes.OsContainer
  properties:
    name: main
    description: does the work
    requested_cpu_resources: 250
    requested_memory_resources: 64 MiB
    memory_resource_limit: 128 MiB
    command: [ /sbin/vnf, run ]
    env: { MODE: fast }
    linux_capabilities: [ NET_ADMIN ]
    sysctls: { net.ipv4.ip_forward: "1" }
  artifacts:
    sw_image: { type: tosca.artifacts.nfv.SwImage, file: Files/main.tar, properties: { name: main, version: "1" } }
side:
  type: tosca.nodes.nfv.Vdu.OsContainer
  properties:
    name: side
    description: watches
    cpu_resource_limit: 100
    requested_memory_resources: 32 MiB
    sw_image_data: { name: side, version: "1", container_format: docker }
  artifacts:
    sw_image: { type: tosca.artifacts.nfv.SwImage, file: registry.example/side:1 }
first:
  type: tosca.nodes.nfv.Vdu.OsContainer
  properties: { name: first, description: prepares, requested_cpu_resources: 1000, requested_memory_resources: 1 GiB }
  artifacts:
    sw_image: { type: tosca.artifacts.nfv.SwImage, file: Files/first.tgz }
"""


def test_a_deployable_unit_with_its_containers(tmp_path: Path) -> None:
    oci = tar_of({"blobs/sha256/aa": b"x" * 3000, "index.json": b"{}", "oci-layout": b"{}"})
    docker = tar_of({"aa/layer.tar": b"x", "manifest.json": b"[]"}, mode="w:gz")
    reading = read_package(
        write_csar(
            tmp_path / "p.csar",
            {
                "vnfd.yaml": vnfd(UNIT, head=HEAD + "  - vnfm_types.yaml\n"),
                "Files/main.tar": oci,
                "Files/first.tgz": docker,
            },
        )
    )
    assert {f.code for f in reading.findings} == {"image-unchecked"}  # tosca-parser knows our types and agrees
    (unit,) = only(reading).vdus
    assert unit.needs.isolation is Isolation.KERNEL
    assert (unit.cpu_milli, unit.memory_bytes) == (1000, 2**30)  # the first one alone needs most
    main, side = unit.containers
    assert (main.cpu_milli, main.memory_bytes) == (250, 128 * 2**20)
    assert main.command == ("/sbin/vnf", "run")
    assert (main.env, main.sysctls) == ({"MODE": "fast"}, {"net.ipv4.ip_forward": "1"})
    assert main.linux_capabilities == ("NET_ADMIN",)
    assert main.image is not None
    assert (main.image.format, main.image.sha256) == (ImageFormat.OCI_ARCHIVE, digest(oci))
    assert main.image.size_bytes == len(oci)
    assert (main.cpu_limit_milli, side.cpu_milli, side.cpu_limit_milli) == (0, 100, 100)
    assert side.image is not None
    assert (side.image.format, side.image.path) == (ImageFormat.REFERENCE, "registry.example/side:1")
    assert unit.init_containers[0].image is not None
    assert unit.init_containers[0].image.format is ImageFormat.DOCKER_ARCHIVE


DISK = """
vdu1:
  type: tosca.nodes.nfv.Vdu.Compute
  properties:
    name: one
    description: boots from a disk
    vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 1 }
    boot_data:
      content_or_file_data: { source_path: Files/user-data }
    sw_image_data:
      name: disk
      version: "1"
      checksum: { algorithm: ALGORITHM, hash: "DIGEST" }
      container_format: bare
      disk_format: DISKFORMAT
      min_disk: 2 GB
      size: 1 MB
  capabilities:
    virtual_compute:
      properties:
        virtual_memory: { virtual_mem_size: 512 MiB }
        virtual_cpu: { num_virtual_cpu: 2 }
  requirements:
    - virtual_storage: store
  artifacts:
    sw_image: { type: tosca.artifacts.nfv.SwImage, file: Files/disk.img }
store:
  type: tosca.nodes.nfv.Vdu.VirtualBlockStorage
  properties:
    virtual_block_storage_data: { size_of_storage: 3 GB }
"""
QCOW2 = b"QFI\xfb" + bytes(2000)


def disk_package(tmp_path: Path, *, image: bytes, algorithm: str, written: str, disk_format: str) -> Path:
    text = vnfd(DISK.replace("ALGORITHM", algorithm).replace("DIGEST", written).replace("DISKFORMAT", disk_format))
    return write_csar(
        tmp_path / "p.csar", {"vnfd.yaml": text, "Files/disk.img": image, "Files/user-data": "#cloud-config\n"}
    )


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_disk_image_its_digest_and_what_it_is_told(tmp_path: Path, algorithm: str) -> None:
    true = digest(QCOW2, algorithm.replace("-", ""))
    reading = read_package(disk_package(tmp_path, image=QCOW2, algorithm=algorithm, written=true, disk_format="qcow2"))
    (vdu,) = only(reading).vdus
    assert reading.findings == ()
    assert vdu.disk_image is not None
    assert (vdu.disk_image.format, vdu.disk_image.path) == (ImageFormat.QCOW2, "Files/disk.img")
    assert vdu.disk_image.min_disk_bytes == 2 * 10**9
    assert vdu.user_data == b"#cloud-config\n"
    assert vdu.storages == ("store",)
    assert vdu.disk_bytes == 2 * 10**9


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_an_image_that_is_not_the_one_that_is_named(tmp_path: Path, algorithm: str) -> None:
    package = disk_package(tmp_path, image=QCOW2, algorithm=algorithm, written="00" * 32, disk_format="qcow2")
    reading = read_package(package)
    assert [f.code for f in reading.findings if f.severity == "error"] == ["image-checksum"]
    assert read_package(package, digests="warn").ok


def test_a_format_that_the_bytes_deny_is_noted(tmp_path: Path) -> None:
    package = disk_package(
        tmp_path, image=b"no qcow2", algorithm="sha-256", written=digest(b"no qcow2"), disk_format="qcow2"
    )
    reading = read_package(package)
    assert [f.code for f in reading.findings] == ["image-format"]
    image = only(reading).vdus[0].disk_image
    assert image is not None
    assert image.format is ImageFormat.RAW


SCALING = """
- aspects:
    type: tosca.policies.nfv.ScalingAspects
    properties:
      aspects:
        out: { name: out, description: grow, max_scale_level: 3, step_deltas: [ a, b, a ] }
- start:
    type: tosca.policies.nfv.VduInitialDelta
    targets: [ vdu1 ]
    properties: { initial_delta: { number_of_instances: 1 } }
- deltas:
    type: tosca.policies.nfv.VduScalingAspectDeltas
    targets: [ vdu1 ]
    properties:
      aspect: out
      deltas: { a: { number_of_instances: 1 }, b: { number_of_instances: 0 } }
- levels:
    type: tosca.policies.nfv.InstantiationLevels
    properties:
      default_level: low
      levels:
        low: { description: least, scale_info: { out: { scale_level: 0 } } }
        high: { description: most, scale_info: { out: { scale_level: 3 } } }
- apart:
    type: tosca.policies.nfv.AntiAffinityRule
    targets: [ pair ]
    properties: { scope: nfvi_node }
"""
GROUP = """
groups:
  pair:
    type: tosca.groups.nfv.PlacementGroup
    properties: { description: who is apart }
    members: [ vdu1 ]
"""


def test_the_count_at_a_level_is_the_initial_delta_and_the_steps_up_to_it(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(policies=SCALING, more=GROUP))
    flavour = only(reading)
    assert reading.findings == ()
    (aspect,) = flavour.scaling_aspects
    assert (aspect.max_level, aspect.step_deltas) == (3, {"vdu1": (1, 0, 1)})
    low, high = flavour.instantiation_levels
    assert (low.instances, low.default) == ({"vdu1": 1}, True)
    assert (high.instances, high.scale_levels, high.default) == ({"vdu1": 3}, {"out": 3}, False)
    (rule,) = flavour.affinity
    assert (rule.anti, rule.scope, rule.targets) == (True, "nfvi_node", ("vdu1",))


def test_a_rule_may_be_about_racks(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(policies=SCALING.replace("scope: nfvi_node", "scope: rack"), more=GROUP))
    assert [r.scope for r in only(reading).affinity] == ["rack"]
    assert [(f.code, f.severity) for f in reading.findings] == [
        ("tosca-parser-validation", "warning")
    ]  # ours, not SOL001


def test_one_delta_serves_every_step(tmp_path: Path) -> None:
    text = vnfd(policies=SCALING.replace("[ a, b, a ]", "[ a ]"), more=GROUP)
    reading = read(tmp_path, text)
    assert only(reading).scaling_aspects[0].step_deltas == {"vdu1": (1, 1, 1)}
    assert [f.code for f in reading.findings] == ["delta-unused"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("aspect: out", "aspect: up", "aspect-unknown"),
        ("{ scale_level: 3 }", "{ scale_level: 4 }", "scale-level"),
        ("scale_info: { out: { scale_level: 3 }", "scale_info: { up: { scale_level: 3 }", "aspect-unknown"),
        ("default_level: low", "default_level: none", "level-unknown"),
        ("[ a, b, a ]", "[ a, b ]", "step-deltas"),
        ("scope: nfvi_node", "scope: galaxy", "value-enum"),
        ("targets: [ pair ]", "targets: [ nobody ]", "target-unknown"),
        (
            "- start:\n    type: tosca.policies.nfv.VduInitialDelta\n    targets: [ vdu1 ]",
            "- start:\n    type: tosca.policies.nfv.VduInitialDelta\n    targets: [ VNF ]",
            "target-unknown",
        ),
    ],
)
def test_policies_that_do_not_hold_together_are_named(tmp_path: Path, old: str, new: str, code: str) -> None:
    assert old in SCALING
    reading = read(tmp_path, vnfd(policies=SCALING.replace(old, new, 1), more=GROUP))
    found = [f for f in reading.findings if f.code == code]
    assert found, reading.findings
    assert all(f.line for f in found)
