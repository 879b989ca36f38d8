"""Real containers, microVMs and VMs on this host; every test must leave nothing of its own behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_harness import ROOT, Plugin, leftovers
from local_images import busybox_rootfs

NEEDED = {"crun": "crun", "busybox": "busybox-static", "unshare": "util-linux"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = [name for name in NEEDED if shutil.which(name) is None]
    reason = "needs root" if os.geteuid() != 0 else f"apt-get install -y {' '.join(missing)}" if missing else ""
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.host)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: paths below it become sockets' names and are looked for at the end."""
    path = Path(tempfile.mkdtemp(prefix="vnfm-local-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def plugin(folder: Path) -> Iterator[Plugin]:
    """A running plugin; afterwards all that it made is terminated, and nothing may be left."""
    found = Plugin(folder)
    yield found
    if found.process.poll() is not None:
        found.start()
    found.sweep()
    ids = found.ids
    found.stop()
    assert leftovers(folder, ids) == []


@pytest.fixture
def box(plugin: Plugin) -> str:
    """The busybox image's digest."""
    return plugin.put_image(busybox_rootfs(), "rootfs-tar")


@pytest.fixture(scope="session")
def gateway_image() -> bytes:
    """The sample gateway's disk: a small guest with the agent and the config drive's reader."""
    cache = ROOT / "build" / "images"
    argv = [sys.executable, "-m", "descriptors.images", "build", "gw", "--cache", str(cache)]
    argv += ["--out", str(ROOT / "build" / "packages")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode != 0:
        pytest.skip(f"the sample gateway's image cannot be built: {done.stderr.strip()[-300:]}")
    found: list[Path] = sorted(cache.glob("gw-*/gw.qcow2"), key=lambda path: path.stat().st_mtime)
    return found[-1].read_bytes()


@pytest.fixture
def gateway(plugin: Plugin, gateway_image: bytes) -> str:
    return plugin.put_image(gateway_image, "qcow2")
