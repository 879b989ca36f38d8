"""A mount that a command does not see, and everybody else does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from plugins.local import process
from plugins.local.hiding import started

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "mount"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(point)], check=True)
    (point / "seen").touch()
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


def test_the_command_does_not_see_it_and_we_still_do(mount: Path) -> None:
    before = os.readlink("/proc/self/ns/mnt")
    assert "seen" in process.run(["ls", str(mount)]).stdout
    assert process.run(["ls", str(mount)], hidden=mount).stdout == ""
    assert os.readlink("/proc/self/ns/mnt") == before
    assert (mount / "seen").exists()
    assert "seen" in process.run(["ls", str(mount)]).stdout


def test_below_a_shared_mount_it_stays_for_the_host(mount: Path) -> None:
    inner = mount / "inner"
    inner.mkdir()
    subprocess.run(["mount", "--make-shared", str(mount)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(inner)], check=True)
    try:
        assert process.run(["mountpoint", "-q", str(inner)], hidden=inner, check=False).returncode != 0
        assert inner.is_mount()
    finally:
        subprocess.run(["umount", str(inner)], check=True)


def test_a_command_that_is_not_there_is_told_as_without_hiding(mount: Path) -> None:
    with pytest.raises(FileNotFoundError):
        started(partial(subprocess.Popen, ["/nowhere/at/all"]), mount)
    with pytest.raises(process.CommandFailed) as failed:
        process.run(["/nowhere/at/all"], hidden=mount)
    assert failed.value.returncode == 127


def test_what_is_no_mount_cannot_be_hidden(tmp_path: Path) -> None:
    with pytest.raises(process.CommandFailed):
        process.run(["true"], hidden=tmp_path)
