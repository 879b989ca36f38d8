"""An OCI image layout in a tar (OCI image specification 1.0): one layer, equal bytes for equal content."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence

from descriptors.images.tree import Tree

CREATED = "2026-01-01T00:00:00Z"  # a fixed time, so that the digest speaks of the content alone


def archive(root: Tree, name: str, version: str, entrypoint: Sequence[str], env: Mapping[str, str]) -> bytes:
    """The archive of an image whose root file system is `root`."""
    layer = root.tar()
    packed = gzip.compress(layer, 6, mtime=0)
    config = _json(
        {
            "created": CREATED,
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": [f"{key}={value}" for key, value in env.items()],
                "Entrypoint": list(entrypoint),
                "WorkingDir": "/",
                "Labels": {"org.opencontainers.image.title": name, "org.opencontainers.image.version": version},
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created": CREATED, "created_by": "descriptors.images"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        }
    )
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    entry["annotations"] = {"org.opencontainers.image.ref.name": f"{name}:{version}"}
    entry["platform"] = {"architecture": "amd64", "os": "linux"}
    layout = Tree()
    layout.file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    layout.file("index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
    for blob in (config, manifest, packed):
        layout.file("blobs/sha256/" + hashlib.sha256(blob).hexdigest(), blob)
    return layout.tar()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
