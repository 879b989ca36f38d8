"""The sample images: what is in them, the same each time, built once, and a host that lacks something is told so."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from descriptors.images.build import Built, build
from descriptors.images.host import PACKAGES, BuildError, Host
from descriptors.images.recipes import MODULES, RECIPES
from descriptors.images.tree import Tree

REPO = Path(__file__).parents[3]
MISSING = Host().missing(list(PACKAGES))

needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"needs the Debian packages {' '.join(MISSING)}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    folder = tmp_path_factory.mktemp("images")
    return {b.name: b for b in build(list(RECIPES), folder / "cache", folder / "out", Host(), lambda _: None)}


def layer(image: Path) -> tuple[dict[str, tarfile.TarInfo], dict[str, bytes], dict[str, object]]:
    """The layer's members, its files' content and the image's config, all digests checked on the way."""
    with tarfile.open(image) as archive:
        blobs = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]

    def blob(descriptor: dict[str, object]) -> bytes:
        data = blobs[f"blobs/sha256/{str(descriptor['digest']).removeprefix('sha256:')}"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    raw = gzip.decompress(blob(manifest["layers"][0]))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(raw).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        members = {m.name: m for m in archive}
        files = {n: archive.extractfile(m).read() for n, m in members.items() if m.isfile()}  # type: ignore[union-attr]
    return members, files, config


def unpack(image: Path, target: Path) -> dict[str, bytes]:
    """Lay out the image's root file system; its files' content by path."""
    members, files, _ = layer(image)
    for path, member in members.items():
        place = target / path
        if member.isdir():
            place.mkdir(exist_ok=True)
        elif member.issym():
            place.symlink_to(member.linkname)
        else:
            place.write_bytes(files[path])
            place.chmod(member.mode)
    return files


@needs_tools
@pytest.mark.parametrize("name", ["fw", "rt", "mon"])
def test_a_container_image_is_whole(built: dict[str, Built], name: str) -> None:
    members, files, config = layer(built[name].image.path)
    assert config["config"]["Entrypoint"] == ["/sbin/vnf"]  # type: ignore[index]
    assert members["sbin/vnf"].mode & 0o111
    assert members["bin/sh"].linkname == "busybox"
    assert members["tmp"].mode == 0o1777
    assert {m.uid for m in members.values()} == {m.mtime for m in members.values()} == {0}
    with_loader = [name for name in files if "ld-linux" in name]
    assert with_loader
    assert any("libnftables" in name for name in files)


@needs_tools
@pytest.mark.host
@pytest.mark.parametrize("name", ["fw", "rt", "mon"])
def test_its_rules_load_in_the_image_itself(built: dict[str, Built], name: str, tmp_path: Path) -> None:
    """nft of the image, in a chroot and a network namespace of its own, takes the rules, also twice."""
    if (probe := subprocess.run(["unshare", "-n", "true"], capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no network namespaces here: {probe.stderr.strip()}")
    files = unpack(built[name].image.path, tmp_path)
    rules = next(path for path in files if path.endswith(".nft"))
    load = f"nft -D 'LEFT=\"left\"' -D 'RIGHT=\"right\"' -f /{rules}"
    command = ["unshare", "-n", "chroot", str(tmp_path), "/bin/sh", "-c", f"{load} && {load} && nft -j list ruleset"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    ruleset = json.loads(done.stdout)["nftables"]
    chains = {item["chain"]["name"]: item["chain"] for item in ruleset if "chain" in item}
    assert chains["forward"]["policy"] == ("drop" if name == "fw" else "accept")
    assert ("postrouting" in chains) == (name == "rt")


@needs_tools
@pytest.mark.host
def test_the_monitor_counts_packets_and_flows_both_ways(built: dict[str, Built], tmp_path: Path) -> None:
    """Its program in the image's own root, between two namespaces that ping and call each other."""
    if os.geteuid():
        pytest.skip("needs root for network namespaces and chroot")
    unpack(built["mon"].image.path, tmp_path)
    a, m, b = (f"vnfm-test-{part}-{os.getpid()}" for part in "amb")

    def run(*argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def at(namespace: str, *argv: str) -> str:
        return run("ip", "netns", "exec", namespace, *argv)

    inside = ("chroot", str(tmp_path), "/bin/sh", "-c")
    try:
        for name in (a, m, b):
            run("ip", "netns", "add", name)
        for number, (far, near) in enumerate(((a, "left"), (b, "right"))):
            run("ip", "-n", far, "link", "add", "eth", "type", "veth", "peer", "name", near, "netns", m)
            for namespace, nic, host in ((far, "eth", 2), (m, near, 1)):
                run("ip", "-n", namespace, "address", "add", f"10.0.{number}.{host}/24", "dev", nic)
                run("ip", "-n", namespace, "link", "set", nic, "up")
            run("ip", "-n", far, "route", "add", "default", "via", f"10.0.{number}.1")
        at(m, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        at(m, *inside, "nft -D 'LEFT=\"left\"' -D 'RIGHT=\"right\"' -f /etc/monitor.nft")
        assert json.loads(at(m, *inside, "status"))["flows"] == 0
        at(a, "ping", "-q", "-c", "5", "-i", "0.05", "10.0.1.2")
        for port in (4001, 4002, 4003):  # nobody answers there; the refusal comes back all the same
            code = f"import socket; print(socket.socket().connect_ex(('10.0.1.2', {port})))"
            assert at(a, sys.executable, "-I", "-c", code).strip() == "111"
        sums = json.loads(at(m, *inside, "status"))
        flows = [json.loads(line) for line in at(m, *inside, "status flows").splitlines()]
        assert sums["left_to_right"]["packets"] == sums["right_to_left"]["packets"] == 5 + 3
        assert sums["flows"] == len(flows) == 4, flows
        assert {f["source"] for f in flows} == {"10.0.0.2"}
        talk = next(f for f in flows if f["protocol"] == "icmp")
        assert (talk["destination"], talk["packets"], talk["bytes"]) == ("10.0.1.2", 10, 840)
        tcp = sorted((f["destination_port"], f["packets"]) for f in flows if f["protocol"] == "tcp")
        assert tcp == [(4001, 2), (4002, 2), (4003, 2)]
    finally:
        for name in (a, m, b):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@needs_tools
def test_the_gateways_disk_boots_by_bios(built: dict[str, Built]) -> None:
    image = built["gw"].image
    assert image.size_bytes < 16 << 20
    command = ["qemu-img", "info", "--output=json", str(image.path)]
    info = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert info["format"] == "qcow2"
    assert "backing-filename" not in info
    raw = image.path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image.path), str(raw)], check=True)
    sector = raw.read_bytes()[:512]
    raw.unlink()
    assert sector[510:] == b"\x55\xaa"
    assert b"SYSLINUX" in sector


@needs_tools
def test_the_same_inputs_give_the_same_bytes(built: dict[str, Built], tmp_path: Path) -> None:
    again = build(list(RECIPES), tmp_path / "cache", tmp_path / "out", Host(), lambda _: None)
    assert {b.name: b.image.sha256 for b in again} == {name: b.image.sha256 for name, b in built.items()}


@needs_tools
def test_a_second_build_keeps_what_is_there(built: dict[str, Built]) -> None:
    said: list[str] = []
    cache, out = built["fw"].image.path.parents[1], built["fw"].folder.parent
    again = build(list(RECIPES), cache, out, Host(), said.append)
    assert all(b.image.cached for b in again)
    assert not said


@needs_tools
def test_a_package_names_the_digest_of_its_image(built: dict[str, Built]) -> None:
    for name, one in built.items():
        text = (one.folder / "Definitions" / f"{name}.yaml").read_text()
        assert "$" not in text
        nodes = yaml.safe_load(text)["topology_template"]["node_templates"].values()
        (data,) = [n["properties"]["sw_image_data"] for n in nodes if "sw_image_data" in n.get("properties", {})]
        (file,) = (one.folder / "Files" / "images").iterdir()
        assert data["checksum"]["hash"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert data["size"] == f"{file.stat().st_size} B"


@needs_tools
def test_what_is_no_longer_in_the_source_leaves_the_package(built: dict[str, Built]) -> None:
    one = built["rt"]
    (one.folder / "Files" / "old").mkdir()
    (one.folder / "Files" / "old" / "thing").write_text("x")
    (one.folder / "Definitions" / "rt.yaml").write_text("changed by hand")
    build(["rt"], one.image.path.parents[1], one.folder.parent, Host(), lambda _: None)
    assert not (one.folder / "Files" / "old").exists()
    assert "vnfm.samples.nodes.Router" in (one.folder / "Definitions" / "rt.yaml").read_text()


def test_what_the_host_lacks_is_said_with_the_command_that_mends_it(tmp_path: Path) -> None:
    bare = Host(root=tmp_path, search=str(tmp_path))
    with pytest.raises(BuildError, match=r"apt-get install -y busybox-static dosfstools linux-image-cloud-amd64"):
        build(["gw"], tmp_path / "cache", tmp_path / "out", bare, lambda _: None)
    assert not (tmp_path / "cache").exists(), "nothing is begun"
    with pytest.raises(BuildError, match="fw, rt, mon, gw"):
        build(["dpi"], tmp_path / "cache", tmp_path / "out", bare, lambda _: None)


def test_the_newest_kernel_is_taken(tmp_path: Path) -> None:
    for release in ("6.1.0-9", "6.1.0-56", "6.1.0-57"):
        (tmp_path / "boot").mkdir(exist_ok=True)
        (tmp_path / "boot" / f"vmlinuz-{release}-cloud-amd64").write_bytes(b"")
        (tmp_path / "lib/modules" / f"{release}-cloud-amd64").mkdir(parents=True)
        if release != "6.1.0-57":  # without modules it is of no use
            (tmp_path / "lib/modules" / f"{release}-cloud-amd64" / "modules.dep").write_text("")
    assert Host(root=tmp_path).kernel().image.name == "vmlinuz-6.1.0-56-cloud-amd64"


def test_an_initramfs_can_be_unpacked(tmp_path: Path) -> None:
    tree = Tree()
    tree.file("bin/tool", b"#!/bin/sh\n", 0o755)
    tree.link("bin/other", "tool")
    tree.folder("tmp", 0o1777)
    command = [str(Host().program("busybox")), "cpio", "-idm"] if not MISSING else ["cpio", "-idm", "--quiet"]
    subprocess.run(command, input=tree.cpio(), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/other").readlink() == Path("tool")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "tmp"]


@needs_tools
def test_the_kernel_has_what_the_gateway_loads_at_boot() -> None:
    modules = Host().kernel().modules
    known = (modules / "modules.dep").read_text() + (modules / "modules.builtin").read_text()
    for name in MODULES["boot"] + MODULES["vfat"] + MODULES["iso9660"]:
        assert f"/{name}.ko" in known


@needs_tools
def test_the_command_builds_and_says_where(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "descriptors.images", "build", "fw", "--cache", "c", "--out", "o"]
    path = {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, check=True)
    name, folder, size, how, digest = done.stdout.strip().split("\t")
    assert (name, folder) == ("fw", "o/fw")
    assert size.endswith(" MB")
    assert how != "kept"
    assert (tmp_path / "o/fw/Files/images/fw.oci.tar").exists()
    assert digest.startswith("sha256:")
