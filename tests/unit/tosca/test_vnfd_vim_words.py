"""What a descriptor says in a VIM's own words: logical nodes, VLANs in a trunk."""

from __future__ import annotations

from pathlib import Path

import pytest
from csar_writer import VDU, block, vnfd, write_csar

from vnfm.tosca import PackageReading, read_package

TRUNK = """
main:
  type: tosca.nodes.nfv.VduCp
  properties: { layer_protocols: [ ipv4 ], trunk_mode: true }
  requirements:
    - virtual_binding: vdu1
tagged:
  type: tosca.nodes.nfv.VduSubCp
  properties: { layer_protocols: [ ipv4 ], segmentation_type: %s, segmentation_id: %s }
  requirements:
    - trunk_binding: main
"""


def read(tmp_path: Path, text: str) -> PackageReading:
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text}))


@pytest.mark.parametrize(("kind", "number", "vlan"), [("vlan", 77, 77), ("inherit", 77, 0)])
def test_a_sub_port_has_its_vlan(tmp_path: Path, kind: str, number: int, vlan: int) -> None:
    reading = read(tmp_path, vnfd(VDU + block(TRUNK % (kind, number), 4)))
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    cps = {cp.id: cp for cp in reading.vnfd.flavours[0].cps}
    assert (cps["tagged"].vlan_id, cps["tagged"].trunk_cp, cps["main"].vlan_id) == (vlan, "main", 0)


def test_a_number_that_is_no_vlans_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU + block(TRUNK % ("vlan", 5000), 4)))
    assert not reading.ok
    assert "value-vlan" in {finding.code for finding in reading.findings}


@pytest.mark.parametrize(("nodes", "strict"), [("1", True), ("2", False)])
def test_a_logical_nodes_words_are_kept_and_understood(tmp_path: Path, nodes: str, strict: bool) -> None:
    words = f'{{ "hw:numa_nodes": "{nodes}", "hw:cpu_policy": dedicated, "hw:cpu_sockets": "2" }}'
    at = "            virtual_memory:"
    assert at in VDU
    logical = f"            logical_node: {{ one: {{ logical_node_requirements: {words} }} }}\n"
    reading = read(tmp_path, vnfd(VDU.replace(at, logical + at, 1)))
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    needs = reading.vnfd.flavours[0].vdus[0].needs
    assert dict(needs.other) == {"hw:cpu_policy": "dedicated", "hw:cpu_sockets": "2", "hw:numa_nodes": nodes}
    assert (needs.numa_strict, needs.cpu_pinned) == (strict, True)
