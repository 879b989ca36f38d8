"""TOSCA to HOT by heat-translator: the VM and its ports as a TOSCA snippet of the plainest types.

What a snippet says is only the shape; ids, names and everything that heat-translator has no word for are put in by
`corrections`. So equal shapes are translated once. The only module that meets tosca-parser, which is not thread-safe.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Hot = dict[str, Any]
SERVER = "server"
_LOCK = threading.Lock()
_NOWHERE = "00000000-0000-0000-0000-000000000000"


def port_name(number: int) -> str:
    """The resource of the server's port of this number, from 0."""
    return f"port{number}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What heat-translator is asked for; sizes as Nova counts them."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    ports: int


def snippet(shape: Shape) -> dict[str, Any]:
    """A service template (TOSCA 1.3) with one Compute and its ports, each bound to the server and linked to a network
    that is there already."""
    nodes: dict[str, Any] = {
        SERVER: {
            "type": "tosca.nodes.Compute",
            "capabilities": {
                "host": {
                    "properties": {
                        "num_cpus": shape.vcpus,
                        "mem_size": f"{shape.memory_mib} MiB",
                        "disk_size": f"{shape.disk_gib} GiB",
                    }
                }
            },
        }
    }
    for number in range(shape.ports):
        nodes[f"net{number}"] = {"type": "tosca.nodes.network.Network", "properties": {"network_id": _NOWHERE}}
        nodes[port_name(number)] = {
            "type": "tosca.nodes.network.Port",
            "properties": {"order": number},
            "requirements": [{"binding": {"node": SERVER}}, {"link": {"node": f"net{number}"}}],
        }
    return {"tosca_definitions_version": "tosca_simple_yaml_1_3", "topology_template": {"node_templates": nodes}}


def translated(shape: Shape) -> Hot:
    """The HOT that heat-translator makes of the snippet; blocking, some 10 ms the first time. A copy for each."""
    with _LOCK:
        return copy.deepcopy(_translate(shape))


@functools.lru_cache(maxsize=256)
def _translate(shape: Shape) -> Hot:
    from toscaparser.tosca_template import ToscaTemplate
    from translator.hot.tosca_translator import TOSCATranslator

    text = TOSCATranslator(ToscaTemplate(yaml_dict_tpl=snippet(shape)), {}, False).translate()
    loaded: Any = yaml.safe_load(text)
    if not isinstance(loaded, Mapping) or SERVER not in loaded.get("resources", {}):
        raise ValueError(f"heat-translator made no server of {shape}")
    return dict(loaded)


def warm_up() -> None:
    """Imports what takes a second, before the first VM waits for it."""
    translated(Shape(1, 64, 1, 1))
