"""VNF packages as SOL003 clause 10 and SOL005 clause 9 see them, and what was noticed in one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OnboardingState(StrEnum):
    """SOL005 9.5.4.3 PackageOnboardingStateType, with ERROR."""

    CREATED = "CREATED"
    UPLOADING = "UPLOADING"
    PROCESSING = "PROCESSING"
    ONBOARDED = "ONBOARDED"
    ERROR = "ERROR"


class OperationalState(StrEnum):
    """SOL005 9.5.4.4."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class UsageState(StrEnum):
    """SOL005 9.5.4.5."""

    IN_USE = "IN_USE"
    NOT_IN_USE = "NOT_IN_USE"


class Severity(StrEnum):
    """ERROR refuses the package, WARNING does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing noticed in a package. `line` and `column` count from 1; 0 where there is none."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class VnfPackage:
    """SOL003 10.5.2.2 VnfPkgInfo, the part that is kept."""

    id: str
    tenant: str
    onboarding_state: OnboardingState
    operational_state: OperationalState
    usage_state: UsageState
    vnfd_id: str = ""
    provider: str = ""
    product: str = ""
    version: str = ""
    software_version: str = ""
    checksum_sha256: str = ""
    findings: tuple[Finding, ...] = ()
