"""Software images: what SOL001 says of them (6.2.48, 6.3.1) and what the package really holds."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vnfm.model.vdu import ImageFormat, SwImage
from vnfm.tosca.digests import PackageFile, algorithm_name, is_url, same
from vnfm.tosca.maps import take_missing
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import ARTIFACT
from vnfm.tosca.units import size_bytes
from vnfm.tosca.view import View
from vnfm.tosca.yamldoc import Map

CONTAINER_FORMATS = (ImageFormat.OCI_ARCHIVE, ImageFormat.DOCKER_ARCHIVE, ImageFormat.ROOTFS_TAR)
DISK_FORMATS = (ImageFormat.QCOW2, ImageFormat.RAW)
_KINDS = {
    "qcow2": ImageFormat.QCOW2,
    "oci-archive": ImageFormat.OCI_ARCHIVE,
    "docker-archive": ImageFormat.DOCKER_ARCHIVE,
    "oci-layout": ImageFormat.OCI_ARCHIVE,
    "tar": ImageFormat.ROOTFS_TAR,
}
_FIELDS = (
    "name",
    "version",
    "checksum",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "size",
    "architecture",
)
_FILE_LIKE = re.compile(r"(^\.{0,2}/)|(\.(qcow2|img|raw|iso|vmdk|vdi|vhdx?|tar|tgz|gz|xz|zip)$)|(^Files/)", re.I)


@dataclass
class ImageReader:
    """Reads images against the package's files. `later` are digests that only the package's holder can compute."""

    files: Mapping[str, PackageFile]
    notes: Notes
    strict: bool
    later: list[tuple[str, str, str, Place]] = field(default_factory=list)

    def images(self, template: Template, entity: Entity) -> tuple[SwImage, ...]:
        """Every image of a node: its artifacts of that type, or the one that sw_image_data alone names."""
        properties = template.properties(entity)
        data = properties.sub("sw_image_data")
        found = []
        artifacts = entity.body.sub("artifacts")
        for name in artifacts:
            body = artifacts.get(name)
            if isinstance(body, str) and name == "sw_image":
                found.append(self._checked(data, self._image(data, body, artifacts.place(name)), artifacts.place(name)))
            elif isinstance(body, Map) and self._is_image(template, body):
                own = template.view(entity, self._fields(entity, body), f"{entity.name}.artifacts.{name}")
                said = own if own.body else data
                file = template.resolve(body.get("file"), entity)
                if isinstance(file, str) and file:
                    found.append(self._checked(said, self._image(said, file, body.place("file")), body.place("file")))
                    continue
                self.notes.warn("artifact-file", f"{entity.name}: the artifact {name} names no file", body.place())
                if known := said.text("name"):
                    found.append(self._checked(said, self._reference(said, known, known), body.place()))
        if not found and data.body:
            found.append(self._reference(data, data.text("name"), data.text("name")))
        return tuple(found)

    def _fields(self, entity: Entity, body: Map) -> Map:
        """What an artifact says of its image: its properties, and what stands beside them and belongs there."""
        beside = Map(body.file, body.mark)
        for key in (k for k in _FIELDS if k in body):
            beside[key], beside.marks[key] = body[key], body.marks[key]
            if key in body.raw:
                beside.raw[key] = body.raw[key]
        if not beside:
            return body.sub("properties")
        at = body.place(next(iter(beside)))
        self.notes.warn("artifact-form", f"{entity.name}: {', '.join(beside)} of an image stand under properties", at)
        take_missing(beside, body.sub("properties"))
        return beside

    @staticmethod
    def _checked(data: View, image: SwImage, at: Place) -> SwImage:
        """A software image has a checksum (SOL001 6.2.48), or no one knows whether it is the right one."""
        checksum = data.body.get("checksum")
        if not (checksum.text("hash") if isinstance(checksum, Map) else checksum):
            where = "elsewhere" if image.format is ImageFormat.REFERENCE else "in the package"
            data.notes.warn(
                "image-unchecked",
                f"the image {image.name} ({where}) has no checksum",
                at,
                "write checksum: {algorithm: sha-256, hash: …}",
            )
        return image

    def locate(self, file: str, at: Place) -> str:
        """The package's name of a file that is named from the file at `at`, or from the root; empty if absent."""
        relative = file.lstrip("/")
        folder = posixpath.dirname(at.file)
        for candidate in (posixpath.normpath(posixpath.join(folder, relative)), posixpath.normpath(relative)):
            if candidate in self.files:
                return candidate
        return ""

    @staticmethod
    def _is_image(template: Template, body: Map) -> bool:
        kind = body.get("type")
        return isinstance(kind, str) and (
            template.types.is_a(ARTIFACT, kind, "tosca.artifacts.nfv.SwImage")
            or kind.startswith("tosca.artifacts.Deployment.Image")
        )

    def _image(self, data: View, file: str, at: Place) -> SwImage:
        name = data.text("name") or posixpath.basename(file)
        path = "" if is_url(file) else self.locate(file, at)
        if not path and not is_url(file) and _leads_out(file, at):
            self.notes.warn("artifact-outside", f"{file} leads out of the package", at)
            return self._reference(data, name, "")
        if not path:
            if not is_url(file) and _FILE_LIKE.search(file):
                self.notes.warn("artifact-absent", f"{file} is not in the package", at, "add the image to the package")
            return self._reference(data, name, file)
        held = self.files[path]
        self._check(data, path, held, at)
        return SwImage(
            name=name,
            version=data.text("version"),
            format=self._format(data, path, held, at),
            path=path,
            sha256=held.sha256,
            size_bytes=held.size_bytes,
            min_disk_bytes=data.size_bytes("min_disk", bare=10**9),
            min_ram_bytes=data.size_bytes("min_ram", bare=10**6),
            arch=arch_of(data.text("architecture")),
        )

    def _reference(self, data: View, name: str, path: str) -> SwImage:
        return SwImage(
            name=name,
            version=data.text("version"),
            format=ImageFormat.REFERENCE,
            path=path,
            checksum=_declared_checksum(data),
            size_bytes=_declared_size(data),
            min_disk_bytes=data.size_bytes("min_disk", bare=10**9),
            min_ram_bytes=data.size_bytes("min_ram", bare=10**6),
            arch=arch_of(data.text("architecture")),
        )

    def _format(self, data: View, path: str, held: PackageFile, at: Place) -> ImageFormat:
        declared = data.text("disk_format").lower()
        if held.kind:
            if declared not in ("", held.kind) and held.kind == "qcow2":
                self.notes.warn("image-format", f"{path} is a qcow2 image, disk_format says {declared}", at)
            return _KINDS[held.kind]
        if declared not in ("", "raw", "iso", "aki", "ami", "ari"):
            self.notes.warn("image-format", f"{path} is no {declared} image that is known here; taken as raw", at)
        return ImageFormat.RAW

    def _check(self, data: View, path: str, held: PackageFile, at: Place) -> None:
        if isinstance(data.body.get("checksum"), str):  # as drafts had it
            return
        if held.kind == "oci-layout":  # a folder has no digest; its blobs are named by theirs
            return
        checksum = data.sub("checksum")
        written = checksum.text("hash")
        if not written:
            return
        algorithm = algorithm_name(checksum.text("algorithm") or "sha-256")
        place = checksum.at("hash")
        if not algorithm:
            self.notes.warn("digest-algorithm", f"{path}: {checksum.text('algorithm')!r} is no SHA-2 digest", place)
        elif algorithm != "sha256":
            self.later.append((path, algorithm, written, place))
        elif not same(held.sha256, written):
            note = self.notes.error if self.strict else self.notes.warn
            note("image-checksum", f"{path}: SHA-256 is {held.sha256}, the VNFD says {written}", place)


def arch_of(word: str) -> str:
    """A CPU architecture by its usual name."""
    return {"x86": "x86_64", "amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}.get(word.lower(), word.lower())


def _leads_out(file: str, at: Place) -> bool:
    """Whether a name leads out of the package, from the file that has it and from the root."""
    from_file = posixpath.normpath(posixpath.join(posixpath.dirname(at.file), file))
    return from_file.startswith("../") and posixpath.normpath(file).startswith("../")


def _declared_checksum(data: View) -> str:
    """`sha-256:…` as it is written; a mere text is what drafts had."""
    checksum = data.body.get("checksum")
    if not isinstance(checksum, Map):
        return str(checksum or "")
    algorithm, written = checksum.text("algorithm"), checksum.text("hash")
    return f"{algorithm or 'sha-256'}:{written}".lower() if written else ""


def _declared_size(data: View) -> int:
    """The size that is written, which for an image elsewhere is only for people: a wrong one is no problem."""
    try:
        return size_bytes(data.text("size") or 0)
    except ValueError:
        return 0
