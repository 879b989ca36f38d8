"""Images: content-addressed, verified as they come."""

from __future__ import annotations

import hashlib
import os

import grpc
import pytest
from contract_client import CALL_S, Caller, Refused
from contract_targets import Image
from contract_world import World, disk_or_container

from vnfm.pb.vim.v1 import vim_pb2 as pb


def _fresh() -> Image:
    return Image("raw", os.urandom(3_000_000))


def test_an_image_is_put_twice_and_deleted_twice(caller: Caller) -> None:
    image = _fresh()
    digest = hashlib.sha256(image.data).hexdigest()
    assert not caller.has(digest)
    for _ in range(2):
        assert caller.put(image) == digest
        answer = caller.images.StatImage(pb.StatImageRequest(sha256=digest), timeout=CALL_S)
        assert (answer.present, answer.size_bytes) == (True, len(image.data))
    for _ in range(2):
        caller.images.DeleteImage(pb.DeleteImageRequest(sha256=digest), timeout=CALL_S)
        assert not caller.has(digest)


def test_two_put_the_same_image_at_once(caller: Caller) -> None:
    image = _fresh()
    digest = hashlib.sha256(image.data).hexdigest()
    chunks = [
        pb.PutImageChunk(sha256=digest, format="raw", total_bytes=len(image.data), data=image.data[at : at + 500_000])
        for at in range(0, len(image.data), 500_000)
    ]
    calls = [caller.images.PutImage.future(iter(chunks), timeout=CALL_S) for _ in range(3)]
    assert [call.result().size_bytes for call in calls] == [len(image.data)] * 3
    caller.images.DeleteImage(pb.DeleteImageRequest(sha256=digest), timeout=CALL_S)


def test_other_bytes_than_the_digest_says_are_refused(caller: Caller) -> None:
    digest = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(Refused) as refused:
        caller.put(_fresh(), sha256=digest)
    assert refused.value.code == grpc.StatusCode.DATA_LOSS
    assert refused.value.retry == "SAME_CALL"
    assert not caller.has(digest)


@pytest.mark.parametrize("wrong_by", [1, -1])
def test_fewer_or_more_bytes_than_announced_are_refused(caller: Caller, wrong_by: int) -> None:
    image = _fresh()
    with pytest.raises(Refused) as refused:
        caller.put(image, total_bytes=len(image.data) + wrong_by)
    assert refused.value.code == grpc.StatusCode.DATA_LOSS
    digest = hashlib.sha256(image.data).hexdigest()
    assert not caller.has(digest)
    caller.put(image)
    assert caller.has(digest)
    caller.images.DeleteImage(pb.DeleteImageRequest(sha256=digest), timeout=CALL_S)


@pytest.mark.parametrize(
    ("field", "chunk"),
    [
        ("sha256", pb.PutImageChunk(sha256="../../x", format="raw", total_bytes=1, data=b"x")),
        ("format", pb.PutImageChunk(sha256="a" * 64, format="exe", total_bytes=1, data=b"x")),
        ("total_bytes", pb.PutImageChunk(sha256="a" * 64, format="raw", data=b"x")),
    ],
)
def test_a_bad_first_chunk_names_its_field(caller: Caller, field: str, chunk: pb.PutImageChunk) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        caller.images.PutImage(iter([chunk]), timeout=CALL_S)
    refused = Refused(caught.value)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.problem.detail


def test_an_image_in_use_stays(world: World) -> None:
    request = world.compute_request()
    world.compute(request)
    digest = disk_or_container(request).image_sha256
    with pytest.raises(grpc.RpcError) as caught:
        world.caller.images.DeleteImage(pb.DeleteImageRequest(sha256=digest), timeout=CALL_S)
    assert Refused(caught.value).code == grpc.StatusCode.FAILED_PRECONDITION
    assert world.caller.has(digest)
