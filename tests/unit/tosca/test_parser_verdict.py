"""tosca-parser's word on a descriptor: reported with its own codes, and never the last one."""

from __future__ import annotations

from pathlib import Path

import pytest
from csar_writer import HEAD, TYPES, VDU, block, vnfd, write_csar

from vnfm.model.package import Severity
from vnfm.tosca import PackageReading, read_package

URL = "https://forge.etsi.org/rep/nfv/SOL001/raw/v{}/etsi_nfv_sol001_vnfd_types.yaml"


def read(tmp_path: Path, text: str, **more: str) -> PackageReading:
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text, **more}))


def head(version: str) -> str:
    return f"\ntosca_definitions_version: tosca_simple_yaml_1_3\nimports:\n  - {URL.format(version)}\n"


def test_a_required_property_with_the_default_false_is_not_missing(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(head=head("3.3.1")))
    assert reading.ok
    assert {f.code for f in reading.findings if "numa_enabled" in f.message} == {"tosca-parser-default"}
    earlier = read(tmp_path, vnfd(head=head("2.6.1")))
    assert not [f for f in earlier.findings if "numa_enabled" in f.message]


def test_a_property_that_really_is_missing_is_no_mistake_of_the_parser(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU.replace("description: the only one", "boot_order: true")))
    (finding,) = [f for f in reading.findings if "description" in f.message]
    assert finding.code == "tosca-parser-missing-required-field"
    assert (finding.file, finding.severity) == ("vnfd.yaml", Severity.WARNING)
    assert finding.line > 0


def test_a_value_that_the_parser_names_is_found_in_the_file(tmp_path: Path) -> None:
    nodes = VDU + block(
        """
        cp:
          type: tosca.nodes.nfv.VduCp
          properties: { layer_protocols: [ ipv4 ], vnic_type: galactic }
          requirements: [ { virtual_binding: vdu1 } ]
        """,
        4,
    )
    text = vnfd(nodes)
    findings = [f for f in read(tmp_path, text).findings if f.code.startswith("tosca-parser-")]
    assert ["galactic" in text.splitlines()[f.line - 1] for f in findings] == [True]
    assert findings[0].hint


def test_links_that_the_nsd_makes_are_not_missing(tmp_path: Path) -> None:
    types = (
        TYPES + "    requirements:\n      - virtual_link_out: { capability: tosca.capabilities.nfv.VirtualLinkable }\n"
    )
    reading = read(tmp_path, vnfd(types=types))
    assert reading.ok
    assert [f.code for f in reading.findings] == ["tosca-parser-occurrences"]


@pytest.mark.parametrize(
    "more",
    [
        "workflows: { w: { steps: { s: { target: vdu1, activities: [ { delegate: deploy } ] } } } }",
        "inputs: { x: { type: string, status: deprecated } }",
        "groups: { g: { type: tosca.groups.nfv.PlacementGroup, properties: { description: d }, members: 7 } }",
        "outputs: 3",
        "policies: { odd: { type: tosca.policies.Root } }",
    ],
)
def test_what_the_parser_stumbles_over_is_told_and_the_model_is_read(tmp_path: Path, more: str) -> None:
    reading = read(tmp_path, vnfd(more=more))
    assert reading.vnfd is not None, reading.findings
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["vdu1"]


def test_a_parser_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from vnfm.tosca import validator

    def forever() -> None:
        while True:
            pass

    with pytest.raises(validator._TooLong), validator._at_most(0.05):
        forever()


def test_files_that_all_import_each_other_are_read_in_time(tmp_path: Path) -> None:
    everything = "imports: [ " + ", ".join(f"f{n}.yaml" for n in range(120)) + " ]\n"
    own = "node_types: {{ acme.T{}: {{ derived_from: tosca.nodes.Root }} }}\n"
    files = {f"Definitions/f{n}.yaml": everything + own.format(n) for n in range(120)}
    reading = read(tmp_path, vnfd(head=HEAD + "  - Definitions/f0.yaml\n"), **files)
    assert {f.code for f in reading.findings if f.severity is Severity.ERROR} == {"import-cycle"}


def test_a_file_that_imports_without_end_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(head=HEAD + "  - etsi_nfv_sol001_common_types.yaml\n" * 30_000))
    assert [f.code for f in reading.findings if f.severity is Severity.ERROR] == ["import-too-many"]


def test_an_import_in_a_wrong_folder_is_found_and_told(tmp_path: Path) -> None:
    own = "tosca_definitions_version: tosca_simple_yaml_1_3\nnode_types: {}\n"
    reading = read(tmp_path, vnfd(head=HEAD + "  - types/own.yaml\n"), **{"Definitions/own.yaml": own})
    assert reading.ok
    assert [(f.code, f.line) for f in reading.findings] == [("import-moved", 5)]


@pytest.mark.parametrize("imports", ["imports: 7", "imports: [ 7 ]", "imports: [ { file: 7 } ]", "imports: [ [ a ] ]"])
def test_an_import_of_no_known_form_is_named(tmp_path: Path, imports: str) -> None:
    reading = read(tmp_path, vnfd(head=f"\ntosca_definitions_version: tosca_simple_yaml_1_3\n{imports}\n"))
    assert reading.ok
    finding = next(f for f in reading.findings if f.code in ("import-form", "import-not-found"))
    assert finding.line == 3


@pytest.mark.parametrize("imports", ["imports: own.yaml", "imports: { file: own.yaml }", "imports: { a: own.yaml }"])
def test_imports_without_the_list_are_read_with_a_warning(tmp_path: Path, imports: str) -> None:
    own = "tosca_definitions_version: tosca_simple_yaml_1_3\nnode_types: {}\n"
    text = vnfd(head=f"\ntosca_definitions_version: tosca_simple_yaml_1_3\n{imports}\n")
    reading = read(tmp_path, text, **{"Definitions/own.yaml": own})
    assert reading.ok
    assert {f.code for f in reading.findings} == {"import-form", "import-moved"}


def test_a_package_s_own_copy_wins_wherever_it_lies(tmp_path: Path) -> None:
    own = block(
        """
        tosca_definitions_version: tosca_simple_yaml_1_3
        node_types:
          tosca.nodes.nfv.VNF:
            derived_from: tosca.nodes.Root
            properties: { product_info_name: { type: string, default: edited } }
          acme.Machine: { derived_from: tosca.nodes.nfv.Vdu.Compute }
        """,
        0,
    )
    text = vnfd(VDU.replace("tosca.nodes.nfv.Vdu.Compute", "acme.Machine"), head=head("2.6.1"))
    reading = read(tmp_path, text, **{"Definitions/etsi_nfv_sol001_vnfd_types.yaml": own})
    assert reading.vnfd is not None, reading.findings
    assert reading.vnfd.product_info == "edited"
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["vdu1"]  # by way of what the copy leaves out


def test_names_of_an_import_with_a_prefix_are_what_they_are(tmp_path: Path) -> None:
    own = "node_types: { Machine: { derived_from: tosca.nodes.nfv.Vdu.Compute } }\n"
    imports = HEAD + "  - { file: Definitions/own.yaml, namespace_prefix: acme }\n  - { file: " + URL.format("3.3.1")
    imports += ", namespace_prefix: nfv }\n"
    nodes = VDU.replace("type: tosca.nodes.nfv.Vdu.Compute", "type: acme:Machine")
    nodes += VDU.replace("vdu1:", "vdu2:").replace("type: tosca", "type: nfv:tosca")
    reading = read(tmp_path, vnfd(nodes, head=imports), **{"Definitions/own.yaml": own})
    assert reading.vnfd is not None, reading.findings
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["vdu1", "vdu2"]
    assert {f.code for f in reading.findings} == {"tosca-version", "tosca-parser-default"}
