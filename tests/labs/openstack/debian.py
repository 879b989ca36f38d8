"""The Debian packages that the lab is made of, and their installation without starting any daemon of theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

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
    "iputils-ping",
    # the guest
    "linux-image-cloud-amd64",
    "busybox-static",
    "syslinux",
    "mtools",
    "dosfstools",
)
POLICY = Path("/usr/sbin/policy-rc.d")
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0")
MIRROR = ("-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30", "-o", "Acquire::Retries=2")
UPDATE_SECONDS, INSTALL_SECONDS = 180, 720
KEEP_CONFIG = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")


def install_missing() -> None:
    """Install what is missing; LabError with apt's last lines where that fails."""
    missing = [name for name in PACKAGES if name not in _installed()]
    if not missing:
        return
    say(f"installing {len(missing)} Debian packages and what they need (minutes, once): {' '.join(missing)}")
    install = [*APT, *MIRROR, *KEEP_CONFIG, "install", "--no-install-recommends", *missing]
    resume = ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"]
    end = time.monotonic() + INSTALL_SECONDS
    with _no_daemons(), tempfile.TemporaryFile("w+") as log:
        # a package list that is fresh enough is not fetched again, and an installation that was ended is gone on with
        if not in_time(install, end, log) and not (
            in_time(resume, end, log)
            and in_time([*APT, *MIRROR, "update"], time.monotonic() + UPDATE_SECONDS, log)
            and in_time(install, end, log)
        ):
            raise LabError("apt-get failed:\n" + _last_lines(log))


def in_time(words: Sequence[str], end: float, log: TextIO) -> bool:
    """Whether a command succeeded; it is ended, with all that it started, and LabError says so, where it takes longer
    than until `end` (of time.monotonic)."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "INITRD": "No"}
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        return process.wait(max(1.0, end - time.monotonic())) == 0
    except subprocess.TimeoutExpired:
        raise LabError("apt-get is too slow here, and was ended; it last said:\n" + _last_lines(log)) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _last_lines(log: TextIO) -> str:
    log.seek(0)
    return "\n".join(log.read().splitlines()[-20:])


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
