"""A descriptor of our own that a reading process reads to itself before it forks: what Python makes of code that has
run a few times, and the type files on the shelf, is then there for each child."""

from __future__ import annotations

from collections.abc import Callable

from vnfm.tosca.limits import Limits
from vnfm.tosca.shelf import Shelf
from vnfm.tosca.sol001 import default_types_folder

ROUNDS = 4
ENTRY = "warm.yaml"
DESCRIPTOR = b"""
tosca_definitions_version: tosca_simple_yaml_1_3
imports: [ etsi_nfv_sol001_vnfd_types.yaml ]
node_types:
  warm.VNF:
    derived_from: tosca.nodes.nfv.VNF
    properties:
      descriptor_id: { type: string, default: w }
      descriptor_version: { type: string, default: '1' }
      provider: { type: string, default: w }
      product_name: { type: string, default: w }
      software_version: { type: string, default: '1' }
      vnfm_info: { type: list, entry_schema: { type: string }, default: [ w ] }
      flavour_id: { type: string, default: simple }
      flavour_description: { type: string, default: '' }
topology_template:
  inputs: { flavour: { type: string, default: simple } }
  substitution_mappings:
    node_type: warm.VNF
    properties: { flavour_id: { get_input: flavour } }
    requirements: { virtual_link: [ cp, virtual_link ] }
  node_templates:
    VNF: { type: warm.VNF }
    vdu:
      type: tosca.nodes.nfv.Vdu.Compute
      properties: { name: v, description: v, vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 3 } }
      capabilities:
        virtual_compute:
          properties:
            virtual_memory: { virtual_mem_size: 512 MiB }
            virtual_cpu: { num_virtual_cpu: 1 }
      requirements: [ virtual_storage: disk ]
    disk:
      type: tosca.nodes.nfv.Vdu.VirtualBlockStorage
      properties: { virtual_block_storage_data: { size_of_storage: 1 GiB } }
    cp:
      type: tosca.nodes.nfv.VduCp
      properties: { layer_protocols: [ ipv4 ], order: 0 }
      requirements: [ virtual_binding: vdu ]
    inner:
      type: tosca.nodes.nfv.VduCp
      properties: { layer_protocols: [ ipv4 ], order: 1 }
      requirements: [ virtual_binding: vdu, virtual_link: net ]
    net:
      type: tosca.nodes.nfv.VnfVirtualLink
      properties:
        connectivity_type: { layer_protocols: [ ipv4 ] }
        vl_profile:
          max_bitrate_requirements: { root: 1000, leaf: 1000 }
          min_bitrate_requirements: { root: 1000, leaf: 1000 }
  policies:
    - aspects:
        type: tosca.policies.nfv.ScalingAspects
        properties: { aspects: { more: { name: more, description: more, max_scale_level: 2, step_deltas: [ one ] } } }
    - initial:
        type: tosca.policies.nfv.VduInitialDelta
        properties: { initial_delta: { number_of_instances: 1 } }
        targets: [ vdu ]
    - deltas:
        type: tosca.policies.nfv.VduScalingAspectDeltas
        properties: { aspect: more, deltas: { one: { number_of_instances: 1 } } }
        targets: [ vdu ]
    - levels:
        type: tosca.policies.nfv.InstantiationLevels
        properties: { levels: { small: { description: small, scale_info: { more: { scale_level: 0 } } } } }
"""


def warm_up(read: Callable[..., object], shelf: Shelf) -> None:
    """Have `read` (vnfm.tosca.child) read it some times."""
    request = {"types": str(default_types_folder()), "entry": ENTRY, "files": {}, "strict": False, "flavour": None}
    for _ in range(ROUNDS):
        read(request, {ENTRY: DESCRIPTOR}, Limits(), shelf)
