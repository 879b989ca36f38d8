"""Small packages for the tests of this folder, written from scratch each time."""

from __future__ import annotations

import hashlib
import io
import tarfile
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

META = "TOSCA-Metadata/TOSCA.meta"

TYPES = """
node_types:
  acme.VNF:
    derived_from: tosca.nodes.nfv.VNF
    properties:
      descriptor_id: { type: string, default: 11111111-2222-3333-4444-555555555555 }
      descriptor_version: { type: string, default: '1.10' }
      provider: { type: string, default: Acme }
      product_name: { type: string, default: Fire }
      software_version: { type: string, default: '2.0' }
      vnfm_info: { type: list, entry_schema: { type: string }, default: [ 'etsivnfm:v2.6.1' ] }
      flavour_id: { type: string, default: simple }
      flavour_description: { type: string, default: small }
"""

HEAD = """
tosca_definitions_version: tosca_simple_yaml_1_3
imports:
  - etsi_nfv_sol001_vnfd_types.yaml
"""

VNF = """
    VNF:
      type: acme.VNF
"""

VDU = """
    vdu1:
      type: tosca.nodes.nfv.Vdu.Compute
      properties:
        name: one
        description: the only one
        vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 4 }
      capabilities:
        virtual_compute:
          properties:
            virtual_memory: { virtual_mem_size: 512 MiB }
            virtual_cpu: { num_virtual_cpu: 2 }
"""


def block(text: str, indent: int) -> str:
    """`text` dedented and moved to the right."""
    return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * indent) + "\n"


def vnfd(nodes: str = VDU, *, policies: str = "", more: str = "", types: str = TYPES, head: str = HEAD) -> str:
    """A VNFD of one file: `nodes` at any indentation, `policies` and `more` as parts of the topology template."""
    text = head + types + "topology_template:\n  node_templates:\n" + VNF.lstrip("\n") + block(nodes, 4)
    if policies:
        text += "  policies:\n" + block(policies, 4)
    return text + (block(more, 2) if more else "")


def digest(data: bytes, algorithm: str = "sha256") -> str:
    """A digest in hexadecimal."""
    return hashlib.new(algorithm, data).hexdigest()


def manifest(files: Mapping[str, bytes], *, algorithm: str = "SHA-256") -> bytes:
    """A manifest that lists `files` truly."""
    name = algorithm.lower().replace("-", "")
    lines = ["metadata:", "  vnf_product_name: Fire", "  vnf_provider_id: Acme", "  vnf_package_version: 1.10"]
    for source, data in files.items():
        lines += ["", f"Source: {source}", f"Algorithm: {algorithm}", f"Hash: {digest(data, name)}"]
    return ("\n".join(lines) + "\n").encode()


def write_csar(path: Path, files: Mapping[str, str | bytes], *, algorithm: str = "SHA-256") -> Path:
    """A CSAR of `files`; a manifest for them as vnfd.mf unless there is one already."""
    data = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    if not any(name.endswith(".mf") for name in data):
        data["vnfd.mf"] = manifest(data, algorithm=algorithm)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in data.items():
            out.writestr(name, content)
    return path


def tar_of(names: Mapping[str, bytes], *, mode: str = "w") -> bytes:
    """A tar with those files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode) as out:  # type: ignore[call-overload]
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return raw.getvalue()
