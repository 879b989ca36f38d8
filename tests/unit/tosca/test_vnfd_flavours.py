"""Which templates of a package are flavours, and what belongs to each."""

from __future__ import annotations

from pathlib import Path

from csar_writer import HEAD, TYPES, VDU, block, write_csar

from vnfm.tosca import PackageReading, read_package

TOP = """
tosca_definitions_version: tosca_simple_yaml_1_3
imports: [ types.yaml{more} ]
topology_template:
  inputs: {{ picked: {{ type: string }} }}
  node_templates:
    VNF: {{ type: acme.VNF, properties: {{ flavour_id: {{ get_input: picked }} }} }}
"""


def lower(vdu: str, said: str, node_type: str = "acme.VNF") -> str:
    """A template with one VDU that substitutes a node."""
    mappings = f"  substitution_mappings:\n    node_type: {node_type}\n{block(said, 4) if said else ''}"
    nodes = "  node_templates:\n" + block(VDU.replace("vdu1:", f"{vdu}:"), 4)
    head = "tosca_definitions_version: tosca_simple_yaml_1_3\nimports: [ types.yaml ]\n"
    return f"{head}topology_template:\n{mappings}{nodes}"


def read(tmp_path: Path, files: dict[str, str], imported: str = "") -> PackageReading:
    meta = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: us\nEntry-Definitions: top.yaml\n"
    whole = {"TOSCA-Metadata/TOSCA.meta": meta, "top.yaml": TOP.format(more=imported), "types.yaml": HEAD + TYPES}
    return read_package(write_csar(tmp_path / "p.csar", {**whole, **files}))


def vdus(reading: PackageReading) -> dict[str, list[str]]:
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    return {f.id: [v.id for v in f.vdus] for f in reading.vnfd.flavours}


def test_templates_that_nobody_imports_but_that_substitute_the_vnf(tmp_path: Path) -> None:
    filtered = "substitution_filter: { properties: [ flavour_id: { equal: big } ] }"
    files = {
        "low/small.yaml": lower("a", "properties: { flavour_id: small }"),
        "low/big.yaml": lower("b", filtered),
        "low/other.yaml": lower("c", "properties: { flavour_id: other }", "else.VNF"),
        "chart/values.yaml": "substitution_mappings: topology_template\n",
    }
    reading = read(tmp_path, files)
    assert vdus(reading) == {"big": ["b"], "small": ["a"]}
    assert [f.code for f in reading.findings].count("flavour-not-imported") == 2


def test_the_metadata_may_name_the_templates(tmp_path: Path) -> None:
    meta = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: us\nEntry-Definitions: top.yaml\n"
    files = {
        "TOSCA-Metadata/TOSCA.meta": meta + "Other-Definitions: types.yaml, low/small.yaml\n",
        "low/small.yaml": lower("a", "properties: { flavour_id: small }"),
    }
    reading = read(tmp_path, files)
    assert vdus(reading) == {"small": ["a"]}
    assert "flavour-not-imported" not in {f.code for f in reading.findings}


def test_a_copy_further_off_is_no_flavour_of_its_own(tmp_path: Path) -> None:
    small = lower("a", "properties: { flavour_id: small }")
    assert vdus(read(tmp_path, {"small.yaml": small, "Files/old/small.yaml": small})) == {"small": ["a"]}


def test_flavours_may_have_nodes_of_the_same_names(tmp_path: Path) -> None:
    files = {
        "small.yaml": lower("a", "properties: { flavour_id: [ equal: small ] }"),
        "big.yaml": lower("a", "properties: { flavour_id: big }") + block(VDU.replace("vdu1:", "b:"), 4),
    }
    assert vdus(read(tmp_path, files, ", small.yaml, big.yaml")) == {"small": ["a"], "big": ["a", "b"]}


def test_templates_that_do_not_say_their_flavour_go_by_their_file(tmp_path: Path) -> None:
    files = {"small.yaml": lower("a", ""), "big.yaml": lower("b", "")}
    reading = read(tmp_path, files, ", small.yaml, big.yaml")
    assert vdus(reading) == {"simple": ["a"], "big": ["b"]}
    assert "flavour-unnamed" in {f.code for f in reading.findings}


def test_two_templates_of_one_flavour_are_refused(tmp_path: Path) -> None:
    said = "properties: { flavour_id: small }"
    files = {"small.yaml": lower("a", said), "big.yaml": lower("b", said)}
    reading = read(tmp_path, files, ", small.yaml, big.yaml")
    assert [f.code for f in reading.findings if f.severity == "error"] == ["flavour-duplicate"]


def test_a_template_that_substitutes_a_part_belongs_to_who_has_that_part(tmp_path: Path) -> None:
    types = HEAD + TYPES + "  acme.Pair: { derived_from: tosca.nodes.Root }\n"
    small = lower("a", "properties: { flavour_id: small }") + block(
        """
        both: { type: acme.Pair, requirements: [ virtual_link: lan ] }
        lan: { type: tosca.nodes.nfv.VnfVirtualLink }
        """,
        4,
    )
    pair = lower("inner", "requirements: { virtual_link: [ port, virtual_link ] }", "acme.Pair") + block(
        "port: { type: tosca.nodes.nfv.VduCp, requirements: [ virtual_binding: inner ] }", 4
    )
    files = {"types.yaml": types, "small.yaml": small, "big.yaml": lower("b", "properties: { flavour_id: big }")}
    reading = read(tmp_path, {**files, "pair.yaml": pair}, ", small.yaml, big.yaml, pair.yaml")
    assert vdus(reading) == {"small": ["a", "inner"], "big": ["b"]}
    assert reading.vnfd is not None
    small_one = reading.vnfd.flavour("small")
    assert small_one is not None
    assert [(c.id, c.virtual_link) for c in small_one.cps] == [("port", "lan")]
    assert "link-without-ends" not in {f.code for f in reading.findings}


def test_a_vnf_of_its_own_makes_an_imported_template_a_flavour(tmp_path: Path) -> None:
    def own(vdu: str, flavour: str) -> str:
        nodes = f"  node_templates:\n    VNF: {{ type: acme.VNF, properties: {{ flavour_id: {flavour} }} }}\n"
        return "imports: [ types.yaml ]\ntopology_template:\n" + nodes + block(VDU.replace("vdu1:", f"{vdu}:"), 4)

    files = {"small.yaml": own("a", "small"), "big.yaml": own("b", "big")}
    assert vdus(read(tmp_path, files, ", small.yaml, big.yaml")) == {"small": ["a"], "big": ["b"]}
