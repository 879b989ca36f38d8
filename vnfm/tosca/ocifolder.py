"""An image that lies in the package as a folder (OCI image layout): the same files as an archive of it, as one stream.

The bytes are the same each time, so that the archive has a digest like any other image.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from vnfm.tosca.archive import DAMAGE, Archive
from vnfm.tosca.digests import PackageFile
from vnfm.tosca.notes import Notes, Place

KIND = "oci-layout"
_MARK, _INDEX = "oci-layout", "index.json"
_BLOB = re.compile(r"^blobs/sha256/([0-9a-f]{64})$")


def oci_folders(names: Collection[str]) -> list[str]:
    """Folders that are image layouts, without a slash at the end."""
    held = set(names)
    found = (posixpath.dirname(n) for n in names if posixpath.basename(n) == _MARK)
    return sorted(f for f in found if f and f"{f}/{_INDEX}" in held)


def survey_folders(
    archive: Archive, files: Mapping[str, PackageFile], notes: Notes, *, strict: bool
) -> dict[str, PackageFile]:
    """Each layout as if it were a file; a blob that is not what its name says is noted."""
    found: dict[str, PackageFile] = {}
    for folder in oci_folders(files):
        for name in _inside(files, folder):
            blob = _BLOB.match(name.removeprefix(f"{folder}/"))
            if blob and files[name].sha256 != blob[1]:
                note = notes.error if strict else notes.warn
                note("image-damaged", f"{name} is not the blob that its name says", Place(name), "save the image anew")
        digest, size = hashlib.sha256(), 0
        with suppress(*DAMAGE):  # said by name when every file was read
            for chunk in stream_folder(archive, folder):
                digest.update(chunk)
                size += len(chunk)
            found[folder] = PackageFile(size, digest.hexdigest(), KIND)
    return found


def stream_folder(archive: Archive, folder: str) -> Iterator[bytes]:
    """The layout as an OCI archive: a tar with nothing in it that changes from time to time."""
    for name in _inside(archive.sizes, folder):
        info = tarfile.TarInfo(name.removeprefix(f"{folder}/"))
        info.size = archive.sizes[name]
        yield info.tobuf(tarfile.GNU_FORMAT)
        yield from archive.stream(name)
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _inside(names: Collection[str], folder: str) -> list[str]:
    """The layout's files, its mark first: who reads the stream knows at once what it is."""
    inside = sorted(n for n in names if n.startswith(f"{folder}/"))
    return sorted(inside, key=lambda n: n != f"{folder}/{_MARK}")
