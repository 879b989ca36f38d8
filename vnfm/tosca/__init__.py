"""VNF packages: CSAR to verified files to a Vnfd. The only room that imports toscaparser, and only in its child."""

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
