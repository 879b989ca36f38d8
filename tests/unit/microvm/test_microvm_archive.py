"""cpio archives, module tables and the cache."""

from __future__ import annotations

import io
import os
import subprocess
import threading
from pathlib import Path

import pytest

from plugins.microvm.cache import digest, once
from plugins.microvm.cpio import Cpio
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.image import fingerprint
from plugins.microvm.modules import choose_modules
from plugins.microvm.unpack import extract_elf


def _entries(data: bytes) -> dict[str, tuple[int, int, int, bytes]]:
    """Mode, inode and link count and content by name, read independently of the writer."""
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110 : at + 110 + numbers[11] - 1].decode()
        at = (at + 110 + numbers[11] + 3) & ~3
        content = data[at : at + numbers[6]]
        at = (at + numbers[6] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        assert name not in found
        found[name] = (numbers[1], numbers[0], numbers[4], content)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    (root / "bin" / "tool").write_bytes(b"x" * 4097)
    os.link(root / "bin" / "tool", root / "bin" / "other")
    (root / "link").symlink_to("bin/tool")
    (root / "dirlink").symlink_to("bin")
    return root


def test_tree_keeps_modes_links_and_bytes(tree: Path) -> None:
    out = io.BytesIO()
    archive = Cpio(out)
    archive.tree(tree, "container")
    archive.close()
    assert len(out.getvalue()) % 512 == 0
    found = _entries(out.getvalue())
    assert found["container/link"][3] == b"bin/tool"
    assert found["container/dirlink"][3] == b"bin"
    assert found["container/empty"][0] & 0o7777 == 0o700
    first, second = found["container/bin/other"], found["container/bin/tool"]
    assert first[1] == second[1]
    assert first[2] == second[2] == 2
    assert first[3] == b"x" * 4097
    assert second[3] == b""
    others = [entry[1] for name, entry in found.items() if name not in ("container/bin/tool",)]
    assert len(set(others)) == len(others)


def test_archive_is_read_by_cpio(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.cpio"
    with open(path, "wb") as out:
        archive = Cpio(out)
        archive.file("etc/deep/file", b"hello")
        archive.tree(tree, "container")
        archive.close()
    try:
        done = subprocess.run(["cpio", "-t"], input=path.read_bytes(), capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("cpio is not installed")
    assert {"etc", "etc/deep", "etc/deep/file", "container/bin/tool"} <= set(done.stdout.decode().split())


def test_fingerprint_changes_with_content_mode_and_name(tree: Path) -> None:
    seen = {fingerprint(tree)}
    (tree / "bin" / "tool").write_bytes(b"y" * 4097)
    seen.add(fingerprint(tree))
    (tree / "empty").chmod(0o755)
    seen.add(fingerprint(tree))
    (tree / "link").rename(tree / "link2")
    seen.add(fingerprint(tree))
    assert len(seen) == 4
    assert fingerprint(tree) in seen


def test_modules_come_with_dependencies_first(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "kernel/a/virtio_net.ko: kernel/a/net_failover.ko kernel/a/failover.ko\n"
        "kernel/a/net_failover.ko: kernel/a/failover.ko\n"
        "kernel/a/failover.ko:\nkernel/b/vxlan.ko.xz: kernel/b/udp_tunnel.ko\nkernel/b/udp_tunnel.ko:\n"
        "kernel/c/unwanted.ko:\n"
    )
    (tmp_path / "modules.alias").write_text(
        "# comment\nalias rtnl-link-vxlan vxlan\nalias pci:v0001* unwanted\nalias net-pf-2-x failover\n"
    )
    chosen = choose_modules(tmp_path)
    assert chosen.boot == "failover.ko net_failover.ko virtio_net.ko"
    lines = chosen.table.splitlines()
    assert "rtnl_link_vxlan udp_tunnel.ko vxlan.ko" in lines
    assert "net_pf_2_x failover.ko" in lines
    assert not any("unwanted" in line for line in lines)
    assert dict(chosen.files)["vxlan.ko"] == tmp_path / "kernel/b/vxlan.ko.xz"


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match="neither ELF nor bzImage"):
        extract_elf(b"\0" * 4096)


def test_once_makes_once_however_many_ask(tmp_path: Path) -> None:
    made = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("whole")

    threads = [threading.Thread(target=once, args=(tmp_path / "x" / "thing", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert (tmp_path / "x" / "thing").read_text() == "whole"
    assert [path.name for path in (tmp_path / "x").iterdir() if "making" in path.name] == []


def test_once_leaves_nothing_of_a_failure(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        raise RuntimeFailure("no")

    with pytest.raises(RuntimeFailure):
        once(tmp_path / "thing", make)
    assert not (tmp_path / "thing").exists()
    assert [path.name for path in tmp_path.iterdir() if "making" in path.name] == []


def test_digest_keeps_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
