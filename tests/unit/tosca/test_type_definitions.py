"""Our statement of SOL001 holds together, and tosca-parser takes a network service that is written with it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from toscaparser.common.exception import ValidationError
from toscaparser.tosca_template import ToscaTemplate

from vnfm.tosca import default_types_folder

FILES = sorted(default_types_folder().glob("*_types.yaml"))


def load(name: str) -> dict[str, Any]:
    found = yaml.safe_load((default_types_folder() / f"{name}.yaml").read_text())
    assert isinstance(found, dict)
    return found


def types_of(*names: str) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for name, (section, value) in ((n, item) for n in names for item in load(n).items()):
        if section.endswith("_types"):
            clash = set(merged.setdefault(section, {})) & set(value)
            assert not clash, f"{name} defines {clash} again"
            merged[section].update(value)
    return merged


COMMON = "etsi_nfv_sol001_common_types"
DESCRIPTORS = [(COMMON, "etsi_nfv_sol001_vnfd_types", "vnfm_types"), (COMMON, "etsi_nfv_sol001_nsd_types")]


def test_there_are_type_files() -> None:
    assert {f.stem for f in FILES} == set(itertools.chain(*DESCRIPTORS))


@pytest.mark.parametrize("names", DESCRIPTORS)
def test_every_type_derives_from_one_that_is_there(names: tuple[str, ...]) -> None:
    types = types_of(*names)
    known = set(itertools.chain.from_iterable(types.values()))
    for section in types.values():
        for name, definition in section.items():
            parent = definition["derived_from"]
            assert parent in known or ".nfv." not in parent, name


@pytest.mark.parametrize("names", DESCRIPTORS)
def test_every_property_has_a_type_that_is_there(names: tuple[str, ...]) -> None:
    types = types_of(*names)
    for section in types.values():
        for name, definition in section.items():
            for key, prop in definition.get("properties", {}).items():
                used = {prop["type"], prop.get("entry_schema", {}).get("type", "string")}
                missing = {u for u in used if ".nfv." in u} - set(types["data_types"])
                assert not missing, f"{name}.{key}"
                assert prop["type"] not in ("list", "map") or "entry_schema" in prop, f"{name}.{key}"


SERVICE = """
tosca_definitions_version: tosca_simple_yaml_1_3
topology_template:
  node_templates:
    service:
      type: tosca.nodes.nfv.NS
      properties: { descriptor_id: s, invariant_id: i, designer: d, version: '1', name: chain, flavour_id: default }
    in: { type: tosca.nodes.nfv.Sap, properties: { layer_protocols: [ ipv4 ] },
          requirements: [ { internal_virtual_link: net } ] }
    fw: { type: tosca.nodes.nfv.VNF, properties: { descriptor_id: f },
          requirements: [ { virtual_link: net }, { virtual_link: net } ] }
    net:
      type: tosca.nodes.nfv.NsVirtualLink
      properties:
        connectivity_type: { layer_protocols: [ ipv4 ] }
        vl_profile: { qos: { latency: 2 ms, packet_delay_variation: 1 ms } }
    at_in: { type: tosca.nodes.nfv.NfpPositionElement, requirements: [ { profile_element: in } ] }
    at_fw: { type: tosca.nodes.nfv.NfpPositionElement, requirements: [ { profile_element: fw } ] }
    first: { type: tosca.nodes.nfv.NfpPosition, requirements: [ { element: at_in } ] }
    second: { type: tosca.nodes.nfv.NfpPosition, requirements: [ { element: at_fw } ] }
    path: { type: tosca.nodes.nfv.NFP, requirements: [ { nfp_position: first }, { nfp_position: second } ] }
  groups:
    graph: { type: tosca.groups.nfv.VNFFG, properties: { description: all }, members: [ path, fw ] }
  policies:
    - web: { type: tosca.policies.nfv.NfpRule, targets: [ path ],
             properties: { protocol: tcp, destination_port_range: [ 80, 80 ] } }
    - apart: { type: tosca.policies.nfv.NsAntiAffinityRule, targets: [ fw ], properties: { scope: nfvi_node } }
"""


def test_a_service_chain_is_valid_and_a_wrong_one_is_not() -> None:
    types = types_of(COMMON, "etsi_nfv_sol001_nsd_types")
    ToscaTemplate(yaml_dict_tpl={**yaml.safe_load(SERVICE), **types}, a_file=False)
    wrong = yaml.safe_load(SERVICE.replace("scope: nfvi_node", "scope: galaxy"))
    with pytest.raises(ValidationError, match="galaxy"):
        ToscaTemplate(yaml_dict_tpl={**wrong, **types}, a_file=False)
