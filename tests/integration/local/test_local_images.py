"""Hostile and damaged images, and a disk that is full: named problems, nothing left behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from local_harness import MIB, Plugin, problem_of
from local_images import Entry, busybox_rootfs, file, folder, link, special, tar

from vnfm.pb.vim.v1 import vim_pb2 as pb


def oci(layers: list[bytes], config: dict[str, object], *, lie: bool = False) -> bytes:
    """An OCI archive; `lie` names a layer by another digest's content."""
    blobs: dict[str, bytes] = {}

    def add(content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"digest": f"sha256:{digest}", "size": len(content)}

    described = [add(gzip.compress(layer)) for layer in layers]
    manifest = {"config": add(json.dumps({"config": config}).encode()), "layers": described}
    index = {"manifests": [add(json.dumps(manifest).encode())]}
    if lie:
        digest = str(described[0]["digest"]).removeprefix("sha256:")
        blobs[digest] = gzip.compress(tar([file("etc/other", b"not what was signed")]))
    files = [file(f"blobs/sha256/{digest}", content) for digest, content in blobs.items()]
    return tar([file("oci-layout", b"{}"), file("index.json", json.dumps(index).encode()), *files])


HOSTILE: dict[str, list[Entry]] = {
    "a name that climbs": [file("../../etc/cron.d/evil", b"x")],
    "an absolute name": [file("/etc/cron.d/evil", b"x")],
    "a link that leads outside": [link("out", "../../../../etc")],
    "a hard link to a file of the host": [link("passwd", "../../../../etc/passwd", tarfile.LNKTYPE)],
    "a device": [special("disk", tarfile.BLKTYPE)],
    "a pipe": [special("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused(plugin: Plugin, what: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.put_image(tar(HOSTILE[what]), "rootfs-tar")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert problem_of(caught.value).type.endswith(":image-refused")
    assert list((plugin.folder / "state" / "images").iterdir()) == []


def test_writing_through_a_link_stays_inside(plugin: Plugin) -> None:
    victim = plugin.folder / "victim"
    victim.mkdir()
    inside = str(victim).lstrip("/")
    content = tar([folder(inside), link("door", str(victim)), file("door/note", b"inside")])
    digest = plugin.put_image(content, "rootfs-tar")
    rootfs = plugin.folder / "state" / "images" / digest / "rootfs"
    assert list(victim.iterdir()) == []
    assert (rootfs / inside / "note").read_bytes() == b"inside"


def test_layers_are_applied_in_order_with_whiteouts_and_the_images_own_command(plugin: Plugin) -> None:
    first = tar([folder("data"), file("data/old", b"1"), file("data/gone", b"2"), folder("keep"), file("keep/a", b"a")])
    second = tar([file("data/.wh.gone", b""), file("keep/.wh..wh..opq", b""), file("keep/b", b"b")])
    config = {"Entrypoint": ["sleep"], "Cmd": ["1000"], "Env": ["WHO=image"], "User": "web", "WorkingDir": "/data"}
    digest = plugin.put_image(oci([busybox_rootfs(), first, second], config), "oci-archive")
    plugin.allocate(plugin.container("c1", digest))
    out = plugin.run("c1", "sh", "-c", "ls /data /keep; echo $WHO; id -u; pwd")[1].decode().split()
    assert out == ["/data:", "old", "/keep:", "b", "image", "1000", "/data"]


def test_a_layer_that_is_not_what_its_digest_says_is_refused(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.put_image(oci([busybox_rootfs()], {}, lie=True), "oci-archive")
    assert problem_of(caught.value).type.endswith(":digest-mismatch")
    assert list((plugin.folder / "state" / "images").iterdir()) == []


def test_docker_archives_are_taken(plugin: Plugin) -> None:
    layer = busybox_rootfs()
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = json.dumps({"config": {"Cmd": ["sleep", "1000"]}, "rootfs": {"diff_ids": [diff_id]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "Layers": ["layer.tar"]}]).encode()
    content = tar([file("manifest.json", manifest), file("config.json", config), file("layer.tar", layer)])
    plugin.allocate(plugin.container("c1", plugin.put_image(content, "docker-archive")))


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense" * 1000, gzip.compress(b"nonsense" * 1000, mtime=0)[:-20]],
    ids=["empty", "no archive", "cut short"],  # ids that say nothing of the hour: workers must agree on them
)
def test_nonsense_is_refused(plugin: Plugin, content: bytes) -> None:
    for image_format in ("oci-archive", "docker-archive", "qcow2"):
        with pytest.raises(grpc.RpcError) as caught:
            plugin.put_image(content or b"x", image_format)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A tmpfs of 8 MiB."""
    mount = folder / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_said_and_nothing_is_left(folder: Path, small_disk: Path) -> None:
    plugin = Plugin(folder, state_dir=str(small_disk / "state"), run_dir=str(folder / "run"))
    noise = io.BytesIO()
    with tarfile.open(fileobj=noise, mode="w:gz") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 32 * MIB
        archive.addfile(info, io.BytesIO(bytes(32 * MIB)))
    for content in (bytes(16 * MIB), noise.getvalue()):
        with pytest.raises(grpc.RpcError) as caught:
            plugin.put_image(content, "rootfs-tar")
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert problem_of(caught.value).retry == 2
        assert list((small_disk / "state" / "images").iterdir()) == []
    plugin.stop()


def test_an_image_in_use_stays(plugin: Plugin, box: str) -> None:
    plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    with pytest.raises(grpc.RpcError) as caught:
        plugin.images.DeleteImage(pb.DeleteImageRequest(sha256=box))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "c1" in problem_of(caught.value).detail
    plugin.terminate("c1")
    plugin.images.DeleteImage(pb.DeleteImageRequest(sha256=box))
    assert not plugin.images.StatImage(pb.StatImageRequest(sha256=box)).present
