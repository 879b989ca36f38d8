"""VNF packages: CSAR to verified files to a Vnfd. The only room that imports toscaparser, and only in its child.

What is offered here is loaded when it is asked for: the reading process needs other parts than those that call it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vnfm.tosca.build import build_package
    from vnfm.tosca.digests import PackageFile
    from vnfm.tosca.limits import Limits
    from vnfm.tosca.reading import PackageReading, read_package
    from vnfm.tosca.signatures.sign import SigningKey
    from vnfm.tosca.signatures.trust import TrustStore
    from vnfm.tosca.signed import SignaturePolicy, SignatureReport
    from vnfm.tosca.sol001 import default_types_folder

__all__ = [
    "Limits",
    "PackageFile",
    "PackageReading",
    "SignaturePolicy",
    "SignatureReport",
    "SigningKey",
    "TrustStore",
    "build_package",
    "default_types_folder",
    "read_package",
]
_HOMES = {
    "Limits": "limits",
    "PackageFile": "digests",
    "PackageReading": "reading",
    "SignaturePolicy": "signed",
    "SignatureReport": "signed",
    "SigningKey": "signatures.sign",
    "TrustStore": "signatures.trust",
    "build_package": "build",
    "default_types_folder": "sol001",
    "read_package": "reading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
