"""The rest of a descriptor: addresses, trunks, charts, probes, security rules, operations and bit rates at levels."""

from __future__ import annotations

from pathlib import Path

from csar_writer import HEAD, VDU, block, vnfd, write_csar

from vnfm.model.codec import decode, encode
from vnfm.model.connectivity import AddressSpec, Bitrate, CpKind
from vnfm.model.vdu import Mount, Probe
from vnfm.model.vnfd import Artifact, Flavour, Vnfd
from vnfm.tools.package_view import reading_json
from vnfm.tosca import PackageReading, read_package


def read(tmp_path: Path, text: str, **files: str | bytes) -> PackageReading:
    named = {name.replace("__", "/"): data for name, data in files.items()}
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text, **named}))


def only(reading: PackageReading) -> Flavour:
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    assert decode(Vnfd, encode(reading.vnfd)) == reading.vnfd
    return reading.vnfd.flavours[0]


PORTS = """
main:
  type: tosca.nodes.nfv.VduCp
  properties:
    layer_protocols: [ ipv4, ipv6 ]
    role: leaf
    description: both families
    trunk_mode: true
    vnic_type: SRIOV
    protocol:
      - associated_layer_protocol: ipv4
        address_data:
          - address_type: mac_address
            l2_address_data: { mac_address_assignment: false }
          - address_type: ip_address
            l3_address_data:
              ip_address_assignment: true
              floating_ip_activated: true
              ip_address_type: ipv4
              number_of_ip_address: 2
      - associated_layer_protocol: ipv6
        address_data:
          - address_type: ip_address
            l3_address_data:
              ip_address_assignment: false
              floating_ip_activated: false
              fixed_ip_address: [ "fd00::5", "10.0.0.5" ]
  requirements:
    - virtual_binding: vdu1
    - virtual_link: net
tagged:
  type: tosca.nodes.nfv.VduSubCp
  properties: { layer_protocols: [ ipv4 ] }
  requirements:
    - trunk_binding: main
shared:
  type: tosca.nodes.nfv.VipCp
  properties: { layer_protocols: [ ipv4 ], vip_function: load_balancing }
  requirements:
    - target: main
    - virtual_link: net
net:
  type: tosca.nodes.nfv.VnfVirtualLink
  properties:
    description: dual stack
    connectivity_type: { layer_protocols: [ ipv4, ipv6 ], flow_pattern: mesh }
    vl_profile:
      max_bitrate_requirements: { root: 10 Mbps, leaf: 1 Mbps }
      min_bitrate_requirements: { root: 1000000 }
      qos: { latency: 5 ms, packet_delay_variation: 200 us, packet_loss_ratio: 0.01, priority: 3 }
      virtual_link_protocol_data:
        - associated_layer_protocol: ipv4
          l2_protocol_data: { mtu: 9000 }
          l3_protocol_data: { ip_version: ipv4, cidr: 10.0.0.0/24, gateway_ip: 10.0.0.1, dhcp_enabled: false }
        - associated_layer_protocol: ipv6
          l3_protocol_data: { ip_version: ipv6, cidr: "fd00::/64" }
"""


def test_a_port_says_which_addresses_it_is_given(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU + block(PORTS, 4)))
    flavour = only(reading)
    main, tagged, shared = flavour.cps
    assert main.addresses == (
        AddressSpec("mac", managed=False),
        AddressSpec("ipv4", floating=True, count=2),
        AddressSpec("ipv6", managed=False, fixed=("fd00::5",)),
    )
    assert "value-address" in {f.code for f in reading.findings}  # an IPv4 address under ipv6
    assert (main.role, main.description, main.trunk, main.vnic_type) == ("leaf", "both families", True, "direct")
    assert (tagged.kind, tagged.vdu_id, tagged.trunk_cp) == (CpKind.SUB, "vdu1", "main")
    assert (shared.kind, shared.vdu_id, shared.targets) == (CpKind.VIP, "vdu1", ("main",))
    assert shared.vip_function == "load_balancing"


def test_a_link_keeps_its_whole_profile(tmp_path: Path) -> None:
    (link,) = only(read(tmp_path, vnfd(VDU + block(PORTS, 4)))).virtual_links
    assert link.cidrs == ("10.0.0.0/24", "fd00::/64")
    assert (link.gateways, link.dhcp, link.mtu_bytes) == (("10.0.0.1",), False, 9000)
    assert (link.min_bitrate, link.max_bitrate) == (Bitrate(1_000_000), Bitrate(10_000_000, 1_000_000))
    assert (link.max_latency_us, link.max_jitter_us, link.max_loss, link.priority) == (5000, 200, 0.01, 3)
    assert (link.flow_pattern, link.description) == ("mesh", "dual stack")


RATES = """
- aspects:
    type: tosca.policies.nfv.ScalingAspects
    properties:
      aspects: { out: { name: out, description: grow, max_scale_level: 2, step_deltas: [ a, b ] } }
- first:
    type: tosca.policies.nfv.VirtualLinkBitrateInitialDelta
    targets: [ net ]
    properties: { initial_delta: { bitrate_requirements: { root: 100 } } }
- more:
    type: tosca.policies.nfv.VirtualLinkBitrateScalingAspectDeltas
    targets: [ net ]
    properties:
      aspect: out
      deltas: { a: { bitrate_requirements: { root: 10 } }, b: { bitrate_requirements: { root: 20, leaf: 5 } } }
- levels:
    type: tosca.policies.nfv.VirtualLinkInstantiationLevels
    targets: [ net ]
    properties: { levels: { low: { bitrate_requirements: { root: 100 } } } }
- group_rule:
    type: tosca.policies.nfv.AffinityRule
    targets: [ together ]
    properties: { scope: zone-group }
- web:
    type: tosca.policies.nfv.SecurityGroupRule
    targets: [ main ]
    properties: { direction: egress, ether_type: ipv6, protocol: udp, port_range_min: 53, port_range_max: 53 }
- load:
    type: tosca.policies.nfv.VnfIndicator
    targets: [ VNF ]
    properties: { name: load, source: vnf }
- upgrade:
    type: tosca.policies.nfv.VnfPackageChange
    targets: [ VNF ]
    properties:
      selector: [ { source_descriptor_id: old, source_flavour_id: simple } ]
      modification_qualifier: up
      destination_flavour_id: simple
"""
GROUPS = """
groups:
  together:
    type: tosca.groups.nfv.PlacementGroup
    properties: { description: near each other }
    members: [ vdu1, net ]
"""


def test_policies_of_links_groups_and_the_vnf(tmp_path: Path) -> None:
    flavour = only(read(tmp_path, vnfd(VDU + block(PORTS, 4), policies=RATES, more=GROUPS)))
    (link,) = flavour.virtual_links
    assert (link.levels, link.initial_bitrate) == ({"low": Bitrate(100)}, Bitrate(100))
    assert link.step_bitrates == {"out": (Bitrate(10), Bitrate(20, 5))}
    (rule,) = flavour.affinity
    assert (rule.scope, rule.targets, rule.groups, rule.links) == (
        "zone_group",
        ("vdu1", "net"),
        ("together",),
        ("net",),
    )
    (group,) = flavour.placement_groups
    assert (group.members, group.description) == (("vdu1", "net"), "near each other")
    (web,) = flavour.security_rules
    assert (web.targets, web.direction, web.ether_type, web.protocol) == (("main",), "egress", "ipv6", "udp")
    assert (web.port_min, web.port_max) == (53, 53)
    (load,) = flavour.indicators
    assert (load.name, load.source, load.targets) == ("load", "vnf", ("VNF",))
    (change,) = flavour.package_changes
    assert change.selector == ({"source_descriptor_id": "old", "source_flavour_id": "simple"},)
    assert (change.modification_qualifier, change.destination_flavour) == ("up", "simple")


CNF = """
chart:
  type: tosca.nodes.nfv.Mciop
  artifacts:
    helm: { type: tosca.artifacts.nfv.HelmChart, file: Files/web.tgz }
  requirements:
    - associatedVdu: web
web:
  type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
  properties:
    name: web
    description: what is in it says the chart
    vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 3 }
worker:
  type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
  properties:
    name: worker
    description: said here
    vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 1 }
  requirements:
    - container: proxy
    - virtual_storage: data
proxy:
  type: vnfm.nodes.OsContainer
  properties:
    name: proxy
    description: hands on
    requested_cpu_resources: 250
    cpu_resource_limit: 500m
    memory_resource_limit: 512Mi
    liveness_probe: { http_get: { path: /live, port: 8080 }, period_seconds: 5 }
    readiness_probe: { exec: { command: [ cat, /ready ] }, failure_threshold: 2 }
    volume_mounts: [ { storage: data, path: /var/data, read_only: true } ]
data:
  type: tosca.nodes.nfv.Vdu.VirtualFileStorage
  properties: { virtual_file_storage_data: { size_of_storage: 2 GiB, file_system_protocol: nfs } }
"""


def test_charts_probes_and_mounts(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(CNF, head=HEAD + "  - vnfm_types.yaml\n"))
    flavour = only(reading)
    (chart,) = flavour.mciops
    assert (chart.id, chart.vdus) == ("chart", ("web",))
    assert chart.artifacts == (Artifact("helm", "tosca.artifacts.nfv.HelmChart", "Files/web.tgz"),)
    codes = {f.code for f in reading.findings}
    assert {"artifact-absent", "image-missing"} <= codes
    assert "unit-empty" not in codes  # the chart has its containers
    web, worker = flavour.vdus
    assert (web.containers, web.kind) == ((), "Vdu.OsContainerDeployableUnit")
    (proxy,) = worker.containers
    assert (proxy.cpu_milli, proxy.cpu_limit_milli, proxy.memory_bytes) == (250, 500, 512 * 2**20)
    assert proxy.probes == (
        Probe("liveness", http_path="/live", port=8080, period_seconds=5),
        Probe("readiness", command=("cat", "/ready"), failure_threshold=2),
    )
    assert proxy.mounts == (Mount("data", "/var/data", read_only=True),)
    (data,) = flavour.storages
    assert (data.kind, data.size_bytes, data.protocol) == ("file", 2 * 2**30, "nfs")


def test_operations_and_properties_of_the_vnf(tmp_path: Path) -> None:
    body = """
      properties:
        configurable_properties: { is_autoscale_enabled: false, extra: { speed: 3 } }
        monitoring_parameters: { cpu: { name: cpu, performance_metric: v_cpu_usage_mean_vnf, collection_period: 10 s } }
      interfaces:
        Vnflcm:
          instantiate:
            implementation: { primary: Scripts/up.sh, dependencies: [ Scripts/lib.sh ] }
            inputs: { size: 3 }
          terminate: Scripts/down.sh
          scale: []
"""
    text = vnfd(VDU).replace("      type: acme.VNF\n", "      type: acme.VNF\n" + body.lstrip("\n"))
    reading = read(tmp_path, text)
    flavour = only(reading)
    up, down, scale = flavour.operations
    assert (up.interface, up.operation, up.implementation) == ("Vnflcm", "instantiate", "Scripts/up.sh")
    assert (up.dependencies, up.inputs) == (("Scripts/lib.sh",), {"size": "3"})
    assert (down.implementation, scale.implementation) == ("Scripts/down.sh", "")
    assert flavour.configurable == {"is_autoscale_enabled": "false", "extra.speed": "3"}
    (cpu,) = flavour.monitoring
    assert (cpu.metric, cpu.collection_period_us) == ("v_cpu_usage_mean_vnf", 10_000_000)


def test_the_json_tells_what_is_written_from_what_follows(tmp_path: Path) -> None:
    alone = block(PORTS.split("tagged:")[0].replace("    - virtual_link: net\n", ""), 4)
    vnfd_json = reading_json(read(tmp_path, vnfd(VDU + alone)))["vnfd"]
    (flavour,) = vnfd_json["flavours"]
    assert flavour["external_cps"] == []
    assert [e["id"] for e in flavour["implied_external_cps"]] == ["main"]
    for key in ("vdus", "cps", "virtual_links", "storages", "scaling_aspects", "instantiation_levels", "affinity"):
        assert isinstance(flavour[key], list)


def test_a_vnf_of_a_type_that_is_not_in_the_package_is_taken_for_one(tmp_path: Path) -> None:
    text = vnfd(VDU, types="").replace(
        "      type: acme.VNF\n",
        "      type: elsewhere.VNF\n      properties: { descriptor_id: abc, provider: P, product_name: N,"
        " descriptor_version: '1.0', software_version: '2', flavour_id: tiny, flavour_description: small }\n",
    )
    reading = read(tmp_path, text)
    flavour = only(reading)
    assert flavour.id == "tiny"
    assert reading.vnfd is not None
    assert (reading.vnfd.id, reading.vnfd.provider) == ("abc", "P")
    assert [(f.code, f.severity) for f in reading.findings if f.code == "type-guessed"] == [("type-guessed", "warning")]


def test_mappings_that_are_indented_too_far_are_mappings(tmp_path: Path) -> None:
    more = """
    substitution_mappings:
      node_type: acme.VNF
      properties:
        flavour_id: simple
        requirements:
          - outside: [ main, virtual_link ]
    """
    flavour = only(read(tmp_path, vnfd(VDU + block(PORTS, 4), more=more)))
    assert [(e.id, e.requirement, e.implied) for e in flavour.external_cps] == [("main", "outside", False)]
