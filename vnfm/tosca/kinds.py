"""The node types of SOL001 that a model is made of, and what they were called before the standard had them."""

from __future__ import annotations

VNF = "tosca.nodes.nfv.VNF"
NS = "tosca.nodes.nfv.NS"
PNF_NODES = ("tosca.nodes.nfv.PNF", "tosca.nodes.nfv.PnfExtCp")
NS_NODES = (NS, "tosca.nodes.nfv.Sap", "tosca.nodes.nfv.NsVirtualLink", "tosca.nodes.nfv.NFP")
COMPUTE = "tosca.nodes.nfv.Vdu.Compute"
UNIT = "tosca.nodes.nfv.Vdu.OsContainerDeployableUnit"
OS_CONTAINER = "tosca.nodes.nfv.Vdu.OsContainer"
MCIOP = "tosca.nodes.nfv.Mciop"
BLOCK = "tosca.nodes.nfv.Vdu.VirtualBlockStorage"
OBJECT = "tosca.nodes.nfv.Vdu.VirtualObjectStorage"
FILE = "tosca.nodes.nfv.Vdu.VirtualFileStorage"
CP = "tosca.nodes.nfv.Cp"
VDU_CP = "tosca.nodes.nfv.VduCp"
VDU_SUB_CP = "tosca.nodes.nfv.VduSubCp"
VIRTUAL_CP = "tosca.nodes.nfv.VirtualCp"
VIP_CP = "tosca.nodes.nfv.VipCp"
EXT_CP = "tosca.nodes.nfv.VnfExtCp"
LINK = "tosca.nodes.nfv.VnfVirtualLink"
ATTACHMENT = "tosca.nodes.BlockAttachment"  # of a storage to a VDU, before VDUs had requirements for it

VDUS = (COMPUTE, UNIT)
STORAGES = (BLOCK, OBJECT, FILE)
DESCRIBED = (*VDUS, CP, LINK, MCIOP, *STORAGES)  # what makes a template a VNF's

_DRAFT = "drafts of SOL001"
_PROFILE = "the NFV profile 1.0"
_TACKER = "Tacker's own profile"
_CBAM = "Nokia CBAM's profile"

# Names of drafts, and of profiles before the standard: what each became, and where it is from.
FORMER = {
    "tosca.nodes.nfv.VDU.Compute": (COMPUTE, _DRAFT),
    "tosca.nodes.nfv.VDU.VirtualStorage": (BLOCK, _DRAFT),
    "tosca.nodes.nfv.VDU.VirtualBlockStorage": (BLOCK, _DRAFT),
    "tosca.nodes.nfv.Vdu.VirtualStorage": (BLOCK, _DRAFT),
    "tosca.nodes.nfv.VDU.VirtualObjectStorage": (OBJECT, _DRAFT),
    "tosca.nodes.nfv.VDU.VirtualFileStorage": (FILE, _DRAFT),
    "tosca.nodes.nfv.Cpd": (CP, _DRAFT),
    "tosca.nodes.nfv.VduCpd": (VDU_CP, _DRAFT),
    "tosca.nodes.nfv.VnfExtCpd": (EXT_CP, _DRAFT),
    "tosca.nodes.nfv.VnfVirtualLinkDesc": (LINK, _DRAFT),
    "tosca.nodes.nfv.VDU": (COMPUTE, _PROFILE),
    "tosca.nodes.nfv.CP": (VDU_CP, _PROFILE),
    "tosca.nodes.nfv.VL": (LINK, _PROFILE),
    "tosca.nodes.nfv.VL.ELine": (LINK, _PROFILE),
    "tosca.nodes.nfv.VL.ELAN": (LINK, _PROFILE),
    "tosca.nodes.nfv.VL.ETree": (LINK, _PROFILE),
    "tosca.nodes.nfv.VDU.Tacker": (COMPUTE, _TACKER),
    "tosca.nodes.nfv.CP.Tacker": (VDU_CP, _TACKER),
    "tosca.nodes.BlockStorage.Tacker": (BLOCK, _TACKER),
    "tosca.nodes.mec.MecApp": (VNF, "ETSI GS MEC 037"),
    "tosca.nodes.nfv.ICP": (VDU_CP, _CBAM),
    "tosca.nodes.nfv.ECP": (EXT_CP, _CBAM),
    "tosca.nodes.nfv.VirtualStorage": (BLOCK, _CBAM),
}
