"""The guest's kernel: which one of the host's packages."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm.errors import RuntimeFailure

KERNEL_ENV = "VNFM_MICROVM_KERNEL"


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel with its modules."""

    image: Path
    version: str
    modules: Path


def find_kernel(boot: Path = Path("/boot"), modules: Path = Path("/lib/modules")) -> Kernel:
    """The newest installed kernel that has its modules; Debian's cloud flavour first, since it boots fastest."""
    wanted = os.environ.get(KERNEL_ENV)
    images = [Path(wanted)] if wanted else list(boot.glob("vmlinuz-*"))
    found = []
    for image in images:
        version = image.name.removeprefix("vmlinuz-")
        if (modules / version / "modules.dep").exists() and image.exists():
            found.append(Kernel(image, version, modules / version))
    if not found:
        raise RuntimeFailure(
            f"no guest kernel: {wanted or boot / 'vmlinuz-*'} with its {modules}/VERSION/modules.dep is not there "
            "(Debian: linux-image-cloud-amd64)"
        )
    return max(found, key=lambda kernel: ("-cloud-" in kernel.version, _numbers(kernel.version)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
