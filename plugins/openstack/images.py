"""Images in Glance, by the SHA-256 of their bytes: uploaded once, streamed, found by property.

An operator may put an image there beforehand, signed for instance: where its property `vnfm_sha256` says so it is taken
as it is, with all of its properties. What is booted from has the format that was asked for: the same bytes read as
another format are another disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from plugins.openstack.cloud import Cloud, decoded
from plugins.openstack.errors import ApiError, to_problem
from vnfm.pluginkit.handlers import ImageSink
from vnfm.pluginkit.problems import failed, invalid, not_ready

PROPERTY = "vnfm_sha256"
FORMATS = ("qcow2", "raw")
_QUEUE_CHUNKS = 8
_CONFIRM_S, _LOOK_S = 60.0, 0.2


class Images:
    """ImagePart. `shared`: other projects of this VIM boot from it, too."""

    def __init__(self, cloud: Cloud, *, shared: bool = False) -> None:
        self._cloud = cloud
        self._visibility = "community" if shared else "private"
        self._known: dict[tuple[str, str], Mapping[str, Any]] = {}

    async def stat_image(self, sha256: str) -> int | None:
        """Its size as it was sent; always asked, since an operator may have taken it away."""
        whole = await self._whole(sha256)
        return int(whole[0]["size"]) if whole else None

    async def bootable(self, sha256: str, image_format: str) -> Mapping[str, Any]:
        """Glance's words of it, from memory where it was seen before: Nova says soon enough when it is gone."""
        if known := self._known.get((sha256, image_format)):
            return known
        whole = await self._whole(sha256)
        if not whole:
            raise not_ready(f"image {sha256} is not present: put it first")
        if found := self._known.get((sha256, image_format)):
            return found
        kept = ", ".join(f"{image['disk_format']} (Glance's image {image['id']})" for image in whole)
        raise invalid(
            "boot.format",
            f"is {image_format}, but image {sha256} is kept as {kept}: declare that format, or delete the image there",
        )

    async def find(self, sha256: str) -> Mapping[str, Any] | None:
        """One that is there, in whatever format: what a volume is filled from."""
        whole = await self._whole(sha256)
        return whole[0] if whole else None

    async def _whole(self, sha256: str) -> list[Mapping[str, Any]]:
        """Those that may be booted from; what is remembered of them follows."""
        whole = [image for image in await self._all(sha256) if image["status"] == "active"]
        self.forget(sha256)
        self._known.update({(sha256, str(image["disk_format"])): image for image in reversed(whole)})
        return whole

    def forget(self, sha256: str) -> None:
        """It may be gone, or another one: look again."""
        self._known = {key: image for key, image in self._known.items() if key[0] != sha256}

    async def begin_image(self, sha256: str, image_format: str, total_bytes: int) -> ImageSink:
        """What an upload that broke off has left is cleared away first."""
        if image_format not in FORMATS:
            raise invalid("format", f"is {image_format!r}, expected {' or '.join(FORMATS)}: a VM boots from a disk")
        for image in await self._all(sha256):
            if image["status"] != "active":
                await self._delete(str(image["id"]))
        body = {
            "name": f"vnfm-{sha256[:16]}",
            "disk_format": image_format,
            "container_format": "bare",
            "visibility": self._visibility,
            "tags": ["vnfm"],
            PROPERTY: sha256,
        }
        try:
            made = await self._cloud.call("image", "POST", "/images", body)
        except ApiError as error:
            raise to_problem(error, instance=sha256) from error
        return _Upload(self._cloud, str(made["id"]), total_bytes)

    async def delete_image(self, sha256: str) -> None:
        """Refused while a server of the project was made from it."""
        self.forget(sha256)
        for image in await self._all(sha256):
            params: dict[str, str | int | list[str]] = {"image": str(image["id"]), "limit": 4}
            servers = (await self._cloud.get("compute", "/servers", params=params))["servers"]
            if servers:
                names = ", ".join(str(server["name"]) for server in servers)
                raise not_ready(f"servers run from it ({names}): terminate those first", instance=sha256)
            await self._delete(str(image["id"]))

    async def _all(self, sha256: str) -> list[Mapping[str, Any]]:
        answer = await self._cloud.get("image", "/images", params={PROPERTY: sha256})
        return list(answer["images"])

    async def _delete(self, image_id: str) -> None:
        try:
            await self._cloud.delete("image", f"/images/{image_id}")
        except ApiError as error:
            if error.status == 409:
                raise not_ready(f"the cloud keeps the image: {error.message}") from error
            raise to_problem(error) from error


class _Upload:
    """An ImageSink. The last byte is only sent by `commit`: before it Glance shows no whole image."""

    def __init__(self, cloud: Cloud, image_id: str, total_bytes: int) -> None:
        self._cloud = cloud
        self._image_id = image_id
        self._total_bytes = total_bytes
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE_CHUNKS)
        self._sent = hashlib.sha512()
        self._broken = False
        self._answer = asyncio.ensure_future(
            cloud.run(cloud.transport.upload, f"/images/{image_id}/file", self._arriving())
        )

    def _arriving(self) -> Iterator[bytes]:
        """In the thread that sends."""
        while True:
            chunk = asyncio.run_coroutine_threadsafe(self._chunks.get(), self._loop).result()
            if chunk is None:
                if self._broken:
                    raise ConnectionAbortedError("the image came to nothing")
                return
            if chunk:
                yield chunk

    async def write(self, data: bytes) -> None:
        """Waits while Glance is slower than the manager."""
        self._sent.update(data)
        put = asyncio.ensure_future(self._chunks.put(data))
        await asyncio.wait({put, self._answer}, return_when=asyncio.FIRST_COMPLETED)
        if not put.done():
            put.cancel()
            await self._ended()
            raise failed("Glance ended the upload before the image was whole")

    async def commit(self) -> None:
        """Glance has all of it, and the same."""
        await self._chunks.put(None)
        await self._ended()
        until_s = time.monotonic() + _CONFIRM_S
        while True:
            image = await self._cloud.get("image", f"/images/{self._image_id}")
            if image["status"] == "active":
                break
            if image["status"] in ("killed", "deleted") or time.monotonic() > until_s:
                raise failed(f"Glance did not take the image: it is {image['status']}")
            await asyncio.sleep(_LOOK_S)
        other = image.get("os_hash_algo") == "sha512" and image.get("os_hash_value") != self._sent.hexdigest()
        if other or int(image["size"]) != self._total_bytes:
            raise failed("Glance has other bytes than were sent: send it again")

    async def discard(self) -> None:
        """The upload is broken off, and what came of it removed."""
        self._broken = True
        while not self._answer.done():
            while not self._chunks.empty():
                self._chunks.get_nowait()
            self._chunks.put_nowait(None)
            await asyncio.wait({self._answer}, timeout=_LOOK_S)
        self._answer.exception() if not self._answer.cancelled() else None
        try:
            await self._cloud.delete("image", f"/images/{self._image_id}")
        except ApiError as error:
            raise to_problem(error) from error

    async def _ended(self) -> None:
        try:
            decoded(await self._answer, f"PUT image/images/{self._image_id}/file")
        except ApiError as error:
            raise to_problem(error) from error
