"""A full disk: refused by name, nothing half made, and the same call works once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_chains import assert_each_exists_once, assert_probe_counted
from e2e_manager import Manager, private_folder, remove_folder
from e2e_packages import FW, Packages, chain_file

MIB = 1 << 20


class Disk:
    """A small tmpfs of the story's own."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        options = f"size={size_bytes},mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "vnfm-e2e", str(folder)], check=True)
        self._ballast = folder / "ballast"

    def fill(self, leave_bytes: int) -> None:
        """All but so much is taken."""
        stat = os.statvfs(self.folder)
        with self._ballast.open("wb") as ballast:
            ballast.write(bytes(max(0, stat.f_bavail * stat.f_frsize - leave_bytes)))

    def make_room(self) -> None:
        """What was filled is free again."""
        self._ballast.unlink()

    def close(self) -> None:
        """Unmounted; fails where something still holds it."""
        subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def root(able_host: None) -> Iterator[Path]:
    """A folder for the manager and the disk."""
    folder = private_folder()
    yield folder
    remove_folder(folder)


@pytest.fixture
def state_disk(root: Path) -> Iterator[tuple[Manager, Disk]]:
    """A manager whose state folder is on a small disk."""
    disk = Disk(root / "disk", 96 * MIB)
    manager = Manager(root, state=disk.folder / "state")
    manager.start()
    yield manager, disk
    trouble = manager.let_go()
    disk.close()
    assert not trouble, trouble


@pytest.fixture
def image_disk(root: Path, packages: Packages) -> Iterator[tuple[Manager, Disk]]:
    """A manager whose VIM keeps its images on a small disk; what runs is elsewhere."""
    disk = Disk(root / "disk", 32 * MIB)
    run_dir = root / "run"
    config = root / "local.yaml"
    config.write_text(f"state_dir: {disk.folder}/images\nrun_dir: {run_dir}\nreserve: {{disk_bytes: 0}}\n")
    manager = Manager(root, [f"local=local:{config}"], run_dir=run_dir)
    manager.start()
    manager.onboard(packages.csar("fw"))
    yield manager, disk
    trouble = manager.let_go()
    disk.close()
    assert not trouble, trouble


def test_onboarding_on_a_full_state_disk(state_disk: tuple[Manager, Disk], packages: Packages) -> None:
    manager, disk = state_disk
    disk.fill(leave_bytes=3 * MIB)
    word, detail = manager.refused("package", "onboard", str(packages.csar("gw")))
    assert word == "no-space", detail
    assert "state folder is full" in detail
    assert not list((manager.state / "blobs/incoming").glob("*"))
    # the manager lives on
    assert manager.ask("vim", "show", "local")["state"] == "CONNECTED"
    assert [p for p in manager.ask("package", "list") if p["onboarding_state"] == "ONBOARDED"] == []
    disk.make_room()
    manager.onboard(packages.csar("gw"))


def test_a_state_disk_full_to_the_last_byte(
    state_disk: tuple[Manager, Disk], packages: Packages, tmp_path: Path
) -> None:
    """Not even the operation can be noted: refused before anything is made."""
    manager, disk = state_disk
    manager.onboard(packages.csar("fw"))
    file = str(chain_file(tmp_path, "late", {"a": FW}))
    disk.fill(leave_bytes=0)
    word, detail = manager.refused("chain", "create", file)
    assert word == "no-space", detail
    manager.nothing_stands()
    disk.make_room()
    assert manager.ask("chain", "create", file)["state"] == "COMPLETED"


def test_images_on_a_full_disk_roll_back_to_nothing(image_disk: tuple[Manager, Disk], tmp_path: Path) -> None:
    manager, disk = image_disk
    disk.fill(leave_bytes=1 * MIB)
    word, detail = manager.refused("chain", "create", str(chain_file(tmp_path, "full", {"a": FW, "b": FW})))
    assert "space" in detail, (word, detail)
    (op,) = (op for op in manager.ask("op", "list") if not op["parent_id"])
    assert op["state"] == "FAILED_TEMP"
    assert "space" in op["error"]["detail"]
    assert manager.ask("op", "rollback", op["id"])["state"] == "ROLLED_BACK"
    manager.nothing_stands()
    assert manager.open_operations() == []


def test_images_on_a_full_disk_retried_after_room_was_made(image_disk: tuple[Manager, Disk], tmp_path: Path) -> None:
    manager, disk = image_disk
    disk.fill(leave_bytes=1 * MIB)
    manager.refused("chain", "create", str(chain_file(tmp_path, "full", {"a": FW, "b": FW})))
    (op,) = (op for op in manager.ask("op", "list") if not op["parent_id"])
    assert op["state"] == "FAILED_TEMP"
    disk.make_room()
    assert manager.ask("op", "retry", op["id"])["state"] == "COMPLETED"
    chain = manager.ask("chain", "show", "full")
    assert_probe_counted(chain)
    assert_each_exists_once(manager, chain)
    manager.take_down("full")
    manager.nothing_stands()
