"""One value of a good descriptor replaced by something else: there is an answer, whatever it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import yaml
from csar_writer import HEAD, VDU, block, vnfd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_vnfd_reading import DISK, GROUP, NETWORK, SCALING, UNIT

from vnfm.tosca import Limits, default_types_folder
from vnfm.tosca.child import read

MAPPINGS = """
substitution_mappings:
  node_type: acme.VNF
  properties: { flavour_id: { get_input: flavour } }
  requirements:
    virtual_link_out: [ cp_out, virtual_link ]
inputs:
  flavour: { type: string, default: simple }
"""
WHOLE = yaml.safe_load(
    vnfd(
        VDU + block(NETWORK, 4) + block(UNIT, 4) + block(DISK.replace("vdu1", "vdu2"), 4),
        policies=SCALING,
        more=GROUP + MAPPINGS,
        head=HEAD + "  - vnfm_types.yaml\n",
    )
)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for k, v in items for p in [(*prefix, k), *paths(v, (*prefix, k))]]


def answer(text: str) -> dict[str, Any]:
    request = {
        "types": str(default_types_folder()),
        "entry": "vnfd.yaml",
        "files": {},
        "strict": True,
        "flavour": None,
    }
    return read(request, {"vnfd.yaml": text.encode()}, Limits())


ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        10**30,
        1.5,
        float("nan"),
        "",
        "x",
        "512 MiB",
        [],
        {},
        [[]],
        [None],
        {"get_input": "flavour"},
        {"get_input": []},
        {"get_property": ["SELF", "name"]},
        {"get_property": ["SELF", {}]},
        {"concat": [{}, None]},
        {"token": ["a", "", 0]},
        {"node": {}},
        {1: 2},
        ["vdu1", "vdu1"],
        [{"a": 1}],
    ]
)


def ids(found: dict[str, Any]) -> list[dict[str, list[str]]]:
    kinds = ("vdus", "cps", "virtual_links", "storages", "external_cps", "scaling_aspects", "instantiation_levels")
    return [{kind: [item["id"] for item in flavour[kind]] for kind in kinds} for flavour in found["vnfd"]["flavours"]]


def test_the_whole_descriptor_is_good_to_begin_with() -> None:
    found = answer(yaml.safe_dump(WHOLE, sort_keys=False))
    assert [f for f in found["findings"] if f["severity"] == "error" and f["code"] != "artifact-absent"] == []
    assert found["vnfd"] is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(paths(WHOLE)), ODD)
def test_any_value_may_be_anything(path: tuple[Any, ...], odd: Any) -> None:
    changed = deepcopy(WHOLE)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    found = answer(yaml.safe_dump(changed, sort_keys=False))
    assert found["vnfd"] is not None or found["findings"]
    for finding in found["findings"]:
        assert finding["file"], finding
        assert finding["line"] > 0, finding
        assert finding["hint"], finding


WHOLE_IDS = ids(answer(yaml.safe_dump(WHOLE, sort_keys=False)))
SAID = [
    path
    for path in paths(WHOLE["topology_template"]["node_templates"])
    if len(path) > 2 and path[1] in ("properties", "capabilities", "artifacts", "attributes", "interfaces")
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.sampled_from(["", "x", "7", "2 GiB", "<m>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "properties", "a"]), inner),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SAID), VALUES)
def test_what_a_node_says_changes_nothing_of_what_there_is(path: tuple[Any, ...], value: Any) -> None:
    changed = deepcopy(WHOLE)
    holder = changed["topology_template"]["node_templates"]
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    assert ids(answer(yaml.safe_dump(changed, sort_keys=False))) == WHOLE_IDS
