"""What an onboarded package holds, on the command line: listed, fetched whole or not at all, and its VNFD."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_manager import FakeManager, Run, struct

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

VNFD: dict[str, Any] = {
    "id": "7c1b", "provider": "Acme", "product": "Fire", "version": "1", "software_version": "2",
    "flavours": [{
        "id": "simple", "vdus": [{"id": "v"}], "cps": [{"id": "left"}, {"id": "right"}], "virtual_links": [],
        "storages": [], "external_cps": [{"id": "left"}], "scaling_aspects": [], "instantiation_levels": [],
    }],
}  # fmt: skip


def chunks(*parts: bytes, total: int | None = None) -> list[pb.ArtifactChunk]:
    size = sum(map(len, parts)) if total is None else total
    return [pb.ArtifactChunk(total_bytes=size), *(pb.ArtifactChunk(total_bytes=size, data=p) for p in parts)]


@pytest.mark.parametrize(
    ("words", "path"), [(("artifact", "p-1", "Scripts/a b.sh"), "Scripts/a b.sh"), (("content", "p-1"), "")]
)
def test_a_file_is_fetched_as_it_is(
    manager: FakeManager, vnfm: Run, tmp_path: Path, words: tuple[str, ...], path: str
) -> None:
    manager.answer("FetchArtifact", chunks(b"\x00one", b"two"))
    out = tmp_path / "out"
    assert vnfm("package", *words, "-o", str(out), "--tenant", "acme").exit_code == 0
    assert out.read_bytes() == b"\x00onetwo"
    ((_, request, metadata),) = manager.calls
    assert (request.ref, request.path, metadata["vnfm-tenant"]) == ("p-1", path, "acme")
    assert vnfm("package", *words, "-o", "-").stdout_bytes == b"\x00onetwo"


def test_an_empty_file_is_a_file(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.answer("FetchArtifact", chunks())
    assert vnfm("package", "artifact", "p", "empty", "-o", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_what_breaks_off_leaves_the_old_file(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    def broken(_request: Any, context: grpc.ServicerContext) -> Iterator[pb.ArtifactChunk]:
        yield from chunks(b"half", total=8)
        context.abort(grpc.StatusCode.DATA_LOSS, "the disk is gone")

    out = tmp_path / "out"
    out.write_text("old")
    for answer in (broken, chunks(b"half", total=8)):
        manager.answer("FetchArtifact", answer)
        assert vnfm("package", "artifact", "p", "x", "-o", str(out)).exit_code == 1
        assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out", "old")]


def test_what_is_not_there_is_refused_and_wrong_use_named(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.refuse("FetchArtifact", grpc.StatusCode.NOT_FOUND, type="urn:vnfm:problem:not-found", title="Not found")
    assert vnfm("package", "artifact", "p", "x", "-o", str(tmp_path / "out")).exit_code == 1
    assert vnfm("package", "artifact", "p", "x", "-o", str(tmp_path / "no" / "out")).exit_code == 2
    assert vnfm("package", "artifact", "p", "x").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_files_are_listed(manager: FakeManager, vnfm: Run) -> None:
    manager.answer(
        "ListArtifacts", [pb.Artifact(path="a.yaml", size_bytes=5), pb.Artifact(path="b/c", size_bytes=1234567)]
    )
    listed = json.loads(vnfm("package", "artifacts", "p", "-o", "json").stdout)
    assert listed == [{"path": "a.yaml", "size_bytes": 5}, {"path": "b/c", "size_bytes": 1234567}]
    assert "1,234,567  b/c" in vnfm("package", "artifacts", "p", "-o", "table").stdout


def test_the_vnfd_is_printed_whole_and_as_a_table(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("GetVnfd", pb.Document(body=struct(VNFD)))
    assert json.loads(vnfm("package", "vnfd", "p", "-o", "json").stdout) == VNFD
    table = vnfm("package", "vnfd", "p", "-o", "table").stdout
    assert "left, right" in table
