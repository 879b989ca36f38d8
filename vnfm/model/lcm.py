"""Lifecycle words of ETSI GS NFV-SOL 003 clause 5 and what is kept of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime


class LcmOperationType(StrEnum):
    """SOL003 5.5.4.3, and ours for a chain as a whole (NS level, SOL005 6)."""

    INSTANTIATE = "INSTANTIATE"
    SCALE = "SCALE"
    SCALE_TO_LEVEL = "SCALE_TO_LEVEL"
    CHANGE_FLAVOUR = "CHANGE_FLAVOUR"
    TERMINATE = "TERMINATE"
    HEAL = "HEAL"
    OPERATE = "OPERATE"
    CHANGE_EXT_CONN = "CHANGE_EXT_CONN"
    MODIFY_INFO = "MODIFY_INFO"
    CREATE_SNAPSHOT = "CREATE_SNAPSHOT"
    REVERT_TO_SNAPSHOT = "REVERT_TO_SNAPSHOT"
    CHANGE_VNFPKG = "CHANGE_VNFPKG"
    CHAIN_CREATE = "CHAIN_CREATE"
    CHAIN_TERMINATE = "CHAIN_TERMINATE"
    CHAIN_UPDATE = "CHAIN_UPDATE"  # NsUpdate: a VNF inserted, removed, moved, swapped or placed anew
    CHAIN_SCALE = "CHAIN_SCALE"  # NsScale: another number of instances at a hop


class LcmOperationState(StrEnum):
    """SOL003 5.5.4.5."""

    STARTING = "STARTING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED_TEMP = "FAILED_TEMP"
    FAILED = "FAILED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"

    @property
    def final(self) -> bool:
        """Nothing follows any more."""
        return self in (LcmOperationState.COMPLETED, LcmOperationState.FAILED, LcmOperationState.ROLLED_BACK)


class InstantiationState(StrEnum):
    """SOL003 5.5.2.2, instantiationState."""

    NOT_INSTANTIATED = "NOT_INSTANTIATED"
    INSTANTIATED = "INSTANTIATED"


class VnfState(StrEnum):
    """SOL003 5.5.4.4 VnfOperationalStateType."""

    STARTED = "STARTED"
    STOPPED = "STOPPED"


class ChainState(StrEnum):
    """A chain's state; NS instances know the first two (SOL005 6.5.2.8), FAILED says that a creation was given up."""

    NOT_INSTANTIATED = "NOT_INSTANTIATED"
    INSTANTIATED = "INSTANTIATED"
    FAILED = "FAILED"


class CancelMode(StrEnum):
    """SOL003 5.5.4.6: GRACEFUL waits for running calls, FORCEFUL cancels them too."""

    GRACEFUL = "GRACEFUL"
    FORCEFUL = "FORCEFUL"


@dataclass(frozen=True, slots=True)
class Vnfc:
    """SOL003 5.5.3.5 VnfcResourceInfo: one instance of a VDU, as realized."""

    id: str  # resource id, minted before the call
    vdu_id: str
    runtime: Runtime
    vim: str
    host: str
    native_id: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VnfInstance:
    """SOL003 5.5.2.2 VnfInstance, the part that is kept."""

    id: str
    tenant: str
    name: str
    vnfd_id: str
    package_id: str
    flavour_id: str
    chain_id: str  # empty: stands alone
    instantiation_state: InstantiationState
    vnf_state: VnfState | None
    vnfcs: tuple[Vnfc, ...] = ()
    alias: str = ""  # its name within the chain
    isolation: Isolation | None = None  # as modified; stands in place of what the VNFD asks for
    scale_levels: Mapping[str, int] = field(default_factory=dict)  # SOL003 5.5.3.9 ScaleInfo: level by aspect
