"""The Debian packages that the lab is made of, and their installation without starting any daemon of theirs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .console import LabError, say

PACKAGES = (
    # what keeps and carries
    "mariadb-server-core",
    "mariadb-client-core",
    "rabbitmq-server",
    "uwsgi-core",
    "uwsgi-plugin-python3",
    # the control plane
    "keystone",
    "glance-api",
    "placement-api",
    "nova-api",
    "nova-conductor",
    "nova-scheduler",
    "neutron-server",
    "heat-api",
    "heat-engine",
    # compute hosts
    "nova-compute",
    "genisoimage",  # config drives
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system-sysv",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    # their network
    "neutron-linuxbridge-agent",
    "neutron-dhcp-agent",
    "neutron-metadata-agent",
    "dnsmasq-base",
    "iproute2",
    "nftables",
    "iputils-ping",
    # the guest
    "linux-image-cloud-amd64",
    "busybox-static",
    "syslinux",
    "mtools",
    "dosfstools",
)
POLICY = Path("/usr/sbin/policy-rc.d")
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0")
KEEP_CONFIG = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")


def install_missing() -> None:
    """Install what is missing; LabError with apt's last lines where that fails."""
    missing = [name for name in PACKAGES if name not in _installed()]
    if not missing:
        return
    say(f"installing {len(missing)} Debian packages and what they need (minutes, once): {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "INITRD": "No"}
    install = [*APT, *KEEP_CONFIG, "install", "--no-install-recommends", *missing]
    with _no_daemons(), tempfile.TemporaryFile("w+") as log:

        def apt(words: list[str]) -> bool:
            done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
            return done.returncode == 0

        if not apt(install) and not (apt([*APT, "update"]) and apt(install)):
            log.seek(0)
            raise LabError("apt-get failed:\n" + "\n".join(log.read().splitlines()[-20:]))


def _installed() -> set[str]:
    """Those of PACKAGES that are installed."""
    words = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *PACKAGES]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Packages ask policy-rc.d before they start a daemon: here the answer is no."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
