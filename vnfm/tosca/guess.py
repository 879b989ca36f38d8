"""What a node of a type that nobody defines can only be: by how its type's name ends, by what it asks for and says,
and by what others ask of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vnfm.tosca.kinds import (
    BLOCK,
    COMPUTE,
    EXT_CP,
    FILE,
    LINK,
    MCIOP,
    OBJECT,
    OS_CONTAINER,
    UNIT,
    VDU_CP,
    VDU_SUB_CP,
    VIP_CP,
    VIRTUAL_CP,
    VNF,
)
from vnfm.tosca.yamldoc import Map

# Endings of names, in small letters and without what is between the words; of two that fit the longer counts.
_ENDINGS = {
    "vducompute": COMPUTE,
    "vdu": COMPUTE,
    "oscontainerdeployableunit": UNIT,
    "oscontainer": OS_CONTAINER,
    "mciop": MCIOP,
    "virtualblockstorage": BLOCK,
    "vduvirtualstorage": BLOCK,
    "virtualobjectstorage": OBJECT,
    "virtualfilestorage": FILE,
    "vducp": VDU_CP,
    "vducpd": VDU_CP,
    "vdusubcp": VDU_SUB_CP,
    "virtualcp": VIRTUAL_CP,
    "vipcp": VIP_CP,
    "vnfextcp": EXT_CP,
    "vnfextcpd": EXT_CP,
    "vnfvirtuallink": LINK,
    "vnfvirtuallinkdesc": LINK,
}
_BY_LENGTH = sorted(_ENDINGS, key=len, reverse=True)
_WORDS = {"vnf": VNF, "vdu": COMPUTE, "cp": VDU_CP, "vl": LINK, "virtuallink": LINK}  # a whole last word

_KINDS = (VNF, COMPUTE, UNIT, OS_CONTAINER, MCIOP, BLOCK, OBJECT, FILE, VDU_CP, EXT_CP, LINK)

# What only one kind asks for, says or offers, the most telling first.
_ASKS = {
    "virtualbinding": VDU_CP,
    "trunkbinding": VDU_SUB_CP,
    "internalvirtuallink": EXT_CP,
    "externalvirtuallink": EXT_CP,
    "associatedvdu": MCIOP,
    "container": UNIT,
    "virtualstorage": COMPUTE,
}
_SAYS = {
    "vduprofile": COMPUTE,
    "vlprofile": LINK,
    "connectivitytype": LINK,
    "virtualblockstoragedata": BLOCK,
    "virtualobjectstoragedata": OBJECT,
    "virtualfilestoragedata": FILE,
    "vnictype": VDU_CP,
}
_OFFERS = {"virtualcompute": COMPUTE, "nfvcompute": COMPUTE}
_ASKED_BY = {
    "virtualbinding": COMPUTE,
    "virtualstorage": BLOCK,
    "container": OS_CONTAINER,
    "initcontainer": OS_CONTAINER,
    "internalvirtuallink": LINK,
    "virtuallink": LINK,
    "associatedvdu": COMPUTE,
}


def squeezed(name: object) -> str:
    """A name in small letters without what is between its words: virtual_link, virtualLink and Virtual-Link are one."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


_POLICIES = {
    squeezed(name): f"tosca.policies.nfv.{name}"
    for name in (
        "ScalingAspects",
        "VduScalingAspectDeltas",
        "VduInitialDelta",
        "InstantiationLevels",
        "VduInstantiationLevels",
        "VirtualLinkInstantiationLevels",
        "VirtualLinkBitrateInitialDelta",
        "VirtualLinkBitrateScalingAspectDeltas",
        "AffinityRule",
        "AntiAffinityRule",
        "SecurityGroupRule",
        "VnfIndicator",
        "VnfPackageChange",
    )
} | {"placementgroup": "tosca.groups.nfv.PlacementGroup"}


def by_name(names: Iterable[str]) -> str:
    """By how the names of a type, and of what it derives from, end; empty where that says nothing."""
    for name in names:
        above = next((k for k in _KINDS if name.lower().startswith(f"{k.lower()}.")), "")
        if above:  # tosca.nodes.nfv.Vdu.Compute.Helm
            return above
        last = squeezed(re.split(r"[.:/]", name)[-1])
        ending = next((e for e in _BY_LENGTH if squeezed(name).endswith(e)), "")
        if ending or last in _WORDS:
            return _ENDINGS.get(ending) or _WORDS[last]
    return ""


def policy_by_name(name: str) -> str:
    """SOL001's policy or group type of the same last word; empty where there is none."""
    return _POLICIES.get(squeezed(re.split(r"[.:/]", name)[-1]), "")


def by_shape(body: Map, asked: Iterable[str], asked_by: Iterable[str]) -> str:
    """By what a node asks for (its requirements' names), says and offers, and by what others `asked_by` it."""
    for words, table in (
        (asked, _ASKS),
        (body.sub("properties"), _SAYS),
        (body.sub("capabilities"), _OFFERS),
        (asked_by, _ASKED_BY),
    ):
        said = {squeezed(w) for w in words}
        found = next((kind for word, kind in table.items() if word in said), "")
        if found:
            return found
    return ""
