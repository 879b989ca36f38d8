"""Each version of SOL001 comes out of one base and its changes, and hangs together by itself."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from vnfm.tosca import Limits, default_types_folder
from vnfm.tosca.library import Library
from vnfm.tosca.notes import Notes
from vnfm.tosca.shelf import Shelf
from vnfm.tosca.sol001 import STEMS, VERSIONS, Definitions, OurFile, our_file, version_in_text
from vnfm.tosca.sol001_files import main
from vnfm.tosca.yamldoc import Map, plain

COMMON, VNFD, NSD = STEMS


def definitions() -> Definitions:
    notes = Notes()
    return Definitions(default_types_folder(), Library(Shelf(), Limits(), notes))


def body(stem: str, version: str, source: Definitions | None = None) -> Map:
    found = (source or definitions()).file(OurFile(stem, version))
    assert found is not None
    return found


def types_of(version: str, *stems: str) -> dict[str, dict[str, Any]]:
    source, merged = definitions(), dict[str, dict[str, Any]]()
    for stem in stems:
        for section, value in body(stem, version, source).items():
            if section.endswith("_types"):
                merged.setdefault(section, {}).update(plain(value))
    return merged


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(itertools.chain.from_iterable(names_in(v) for k, v in value.items() if k != "description"))
    if isinstance(value, list):
        return set(itertools.chain.from_iterable(names_in(v) for v in value))
    return {value} if isinstance(value, str) and value.startswith("tosca.") and ".nfv." in value else set()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stem", [VNFD, NSD])
def test_whatever_a_version_names_it_defines(version: str, stem: str) -> None:
    types = types_of(version, COMMON, stem)
    defined = set(itertools.chain.from_iterable(types.values()))
    assert not names_in(types) - defined


def test_containers_came_with_version_4() -> None:
    containers = {"Vdu.OsContainer", "Vdu.OsContainerDeployableUnit", "Mciop", "VirtualCp", "VduSubCp"}
    for version in VERSIONS:
        nodes = types_of(version, COMMON, VNFD)["node_types"]
        assert {c for c in containers if f"tosca.nodes.nfv.{c}" in nodes} == (containers if version >= "4" else set())


def test_a_default_that_is_required_came_with_2_8_1() -> None:
    for version in VERSIONS:
        numa = types_of(version, VNFD)["data_types"]["tosca.datatypes.nfv.VirtualMemory"]["properties"]["numa_enabled"]
        assert numa["required"] is (version >= "2.8.1")
        assert numa["default"] is False


def test_a_version_says_which_it_is_and_the_base_stays_as_it_was() -> None:
    source = definitions()
    before = plain(body(VNFD, "", source))
    for version in VERSIONS:
        assert body(VNFD, version, source)["metadata"]["template_version"] == version
    assert plain(body(VNFD, "", source)) == before


def test_making_the_files_twice_makes_the_same_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert main([str(tmp_path / folder)]) == 0
    one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.yaml")}
    two = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*.yaml")}
    assert one == two
    assert len(one) == len(VERSIONS) * len(STEMS)
    written = yaml.safe_load(one[Path("2.6.1") / f"{VNFD}.yaml"])
    assert written["imports"] == [f"{COMMON}.yaml"]
    assert written["node_types"] == types_of("2.6.1", VNFD)["node_types"]


@pytest.mark.parametrize(
    ("wanted", "stem", "version"),
    [
        ("etsi_nfv_sol001_vnfd_types.yaml", VNFD, ""),
        ("etsi_nfv_sol001_vnfd_types.yml", VNFD, ""),
        ("etsi_nfv_sol001_vnfd_types", VNFD, ""),
        ("Definitions/etsi_nfv_sol001_common_types.yaml", COMMON, ""),
        ("etsi_nfv_sol001_vnfd_2_6_1_types.yaml", VNFD, "2.6.1"),
        ("etsi_nfv_sol001_vnfd_types_4_4_1.yaml", VNFD, "4.4.1"),
        ("etsi_nfv_sol001_vnfd_types-v3.3.1.yaml", VNFD, "3.3.1"),
        ("etsi_nfv_sol001_vnfd_0_10_0_type.yaml", VNFD, "2.5.1"),
        ("https://forge.etsi.org/rep/nfv/SOL001/raw/v2.8.1/etsi_nfv_sol001_vnfd_types.yaml", VNFD, "2.8.1"),
        ("https://forge.etsi.org/rep/nfv/SOL001/raw/v4.3.1/etsi_nfv_sol001_nsd_types.yaml?inline=false", NSD, "4.3.1"),
        ("http://x.example/sol001/2.7.1/etsi_nfv_sol001_vnfd_types.yaml", VNFD, "2.7.1"),
        ("https://x.example/v3.4.1/etsi_nfv_sol001_vnfd_types.yaml", VNFD, "3.3.1"),
        ("https://x.example/v5.1.1/etsi_nfv_sol001_vnfd_types.yaml", VNFD, "4.4.1"),
        ("vnfm_types.yaml", "vnfm_types", ""),
    ],
)
def test_an_import_is_known_however_it_is_spelt(wanted: str, stem: str, version: str) -> None:
    assert our_file(wanted) == OurFile(stem, version)


@pytest.mark.parametrize(
    "wanted", ["types.yaml", "my_etsi_nfv_sol001_vnfd_types.yaml", "etsi_nfv_sol001_x_types.yaml", ""]
)
def test_other_files_are_not_taken_for_ours(wanted: str) -> None:
    assert our_file(wanted) is None


def test_a_descriptor_may_name_its_version_in_words() -> None:
    assert version_in_text("Written after ETSI GS NFV-SOL 001 V2.6.1") == "2.6.1"
    assert version_in_text("sol001 v3.3.1") == "3.3.1"
    assert version_in_text("version 2.6.1 of our product") == ""
