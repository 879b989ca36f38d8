"""The words of placement that other rooms need too."""

from __future__ import annotations

from enum import StrEnum


class Runtime(StrEnum):
    """How a VNFC is realized. A container nested in a VM is a CONTAINER on a host whose parent is a VM."""

    VM = "VM"
    KATA = "KATA"
    CONTAINER = "CONTAINER"
