"""What a VIM is told of a VNFC beside its sizes: words of its author, of the VIM's own, and groups. Pure.

A key with a colon (`hw:numa_nodes`, `trait:…`, `pci_passthrough:alias`) is a word of a VIM's own. It stands in a
logical node's requirements or among a requested capability's parameters (SOL001), and goes to the VIM as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from vnfm.model.placement import Runtime
from vnfm.model.policies import AffinityRule
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour

GROUP, POLICY = "vnfm.affinity_group", "vnfm.affinity_policy"
"""Which VNFCs share a server, or have each one of its own, for a VIM that chooses servers by itself."""
SERVER_SCOPE = "nfvi_node"


def annotations_of(flavour: Flavour, vdu: Vdu, instance_id: str, runtime: Runtime) -> dict[str, str]:
    """Of one VNFC. What the author wrote on the VDU goes before what follows from anything else."""
    if runtime is not Runtime.VM:
        return dict(vdu.annotations)
    return {**_grouped(flavour, vdu, instance_id), **dict(_own_words(vdu)), **vdu.annotations}


def _own_words(vdu: Vdu) -> Iterator[tuple[str, str]]:
    for key, value in vdu.needs.other.items():
        if ":" in key:
            yield key, value
        else:  # a requested capability, with its parameters as JSON
            inside = _loaded(value)
            yield from ((k, str(v)) for k, v in inside.items() if ":" in k and not isinstance(v, dict | list))


def _loaded(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _grouped(flavour: Flavour, vdu: Vdu, instance_id: str) -> dict[str, str]:
    """The first rule of server scope that the VDU is under: a server is in one group at most."""
    rule = next((r for r in flavour.affinity if r.scope == SERVER_SCOPE and vdu.id in r.targets), None)
    if rule is None:
        return {}
    return {GROUP: f"{instance_id}/{rule.id}", POLICY: _policy(rule)}


def _policy(rule: AffinityRule) -> str:
    return "anti-affinity" if rule.anti else "affinity"
