"""Images of a cloud: found by their bytes, booted in the format that was asked for, and no other."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from scripted_cloud import Answer, Scripted, cloud_of, said

from plugins.openstack.images import Images
from vnfm.pluginkit.problems import PluginError

SHA = "a" * 64


def image(image_id: str, disk_format: str, status: str = "active") -> dict[str, Any]:
    return {"id": image_id, "disk_format": disk_format, "status": status, "size": 512}


def glance(*answers: list[dict[str, Any]]) -> tuple[Images, Scripted]:
    said_so: list[Answer] = [said({"images": found}) for found in answers]
    cloud, scripted = cloud_of({("GET", "/images"): said_so})
    return Images(cloud), scripted


def test_of_images_with_the_same_bytes_the_one_of_the_format_is_booted() -> None:
    images, scripted = glance([image("i1", "qcow2"), image("i2", "raw"), image("i3", "raw")])
    assert asyncio.run(images.bootable(SHA, "raw"))["id"] == "i2"
    assert asyncio.run(images.bootable(SHA, "qcow2"))["id"] == "i1"
    assert scripted.count("GET", "/images") == 1, "what was seen is remembered"


def test_the_same_bytes_as_another_format_are_not_taken_for_it() -> None:
    images, _ = glance([image("i1", "raw")])
    assert asyncio.run(images.stat_image(SHA)) == 512
    with pytest.raises(PluginError) as refused:
        asyncio.run(images.bootable(SHA, "qcow2"))
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "boot.format: is qcow2" in refused.value.problem.detail
    assert "raw (Glance's image i1)" in refused.value.problem.detail


def test_what_is_not_whole_is_not_there() -> None:
    images, _ = glance([image("i1", "raw", "saving")])
    assert asyncio.run(images.stat_image(SHA)) is None
    with pytest.raises(PluginError) as refused:
        asyncio.run(images.bootable(SHA, "raw"))
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "put it first" in refused.value.problem.detail


def test_what_may_be_gone_is_asked_for_again() -> None:
    images, scripted = glance([image("i1", "raw")], [image("i2", "raw")])
    assert asyncio.run(images.bootable(SHA, "raw"))["id"] == "i1"
    images.forget(SHA)
    assert asyncio.run(images.bootable(SHA, "raw"))["id"] == "i2"
    assert scripted.count("GET", "/images") == 2
