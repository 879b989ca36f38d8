"""Containers as the folders below --root say, for all commands but the relay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plugins.microvm import heartbeat, statefile
from plugins.microvm.errors import NotFound, RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugins.microvm.network import Link

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of a container, and its status as it is now."""

    id: str
    folder: Path
    status: str
    pid: int
    qemu_pid: int
    bundle: str
    oci_version: str
    created: str
    annotations: dict[str, str]
    cgroup: PurePosixPath | None
    netns: Path | None
    links: tuple[Link, ...]
    exit_code: int | None
    reason: str
    boot_ms: int | None
    cloned: bool
    why_cold: str

    def report(self) -> dict[str, Any]:
        """OCI's state, and what we add to it."""
        return {
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": self.status,
            "pid": self.pid if self.status != statefile.STOPPED else 0,
            "bundle": self.bundle,
            "annotations": self.annotations,
            "created": self.created,
            "owner": "",
            "vnfm": {
                "guestPid": self.qemu_pid,
                "bootMs": self.boot_ms,
                "cloned": self.cloned,
                "whyCold": self.why_cold,
                "heartbeat": str(self.folder / heartbeat.NAME),
                "exitCode": self.exit_code,
                "reason": self.reason,
                "console": str(self.folder / "console.log"),
            },
        }


def folder_of(root: Path, container: str) -> Path:
    """The container's folder, existing or not."""
    if not 0 < len(container) <= 255 or not _LETTERS.issuperset(container) or container in (".", ".."):
        raise RuntimeFailure(f"invalid container id {container!r}: letters, digits and _+-. are allowed")
    return root / container


def load(root: Path, container: str) -> Container:
    """Read a container; NotFound where there is none."""
    folder = folder_of(root, container)
    try:
        fields: dict[str, Any] = dict(statefile.read(str(folder)))
    except FileNotFoundError:
        if not folder.is_dir():
            raise NotFound(container) from None
        # `create` died before its first word: a folder and nothing else.
        fields = {}
    except ValueError as error:
        raise RuntimeFailure(f"{folder / statefile.NAME}: {error}") from error
    pid, started = fields.get("pid", 0), fields.get("start_time", 0)
    alive = bool(pid) and statefile.start_time(pid) == started
    status = fields.get("status", statefile.CREATING)
    return Container(
        id=container,
        folder=folder,
        status=status if alive else statefile.STOPPED,
        pid=pid,
        qemu_pid=fields.get("qemu_pid", 0),
        bundle=fields.get("bundle", ""),
        oci_version=fields.get("oci_version", "1.0.2"),
        created=fields.get("created", ""),
        annotations=fields.get("annotations", {}),
        cgroup=PurePosixPath(fields["cgroup"]) if fields.get("cgroup") else None,
        netns=Path(fields["netns"]) if fields.get("netns") else None,
        links=_links(fields.get("links", ())),
        exit_code=fields.get("exit_code"),
        reason=fields.get("reason") or ("" if alive or status == statefile.STOPPED else "the relay was killed"),
        boot_ms=fields.get("boot_ms"),
        cloned=bool(fields.get("cloned")),
        why_cold=fields.get("why_cold", ""),
    )


def _links(found: list[dict[str, Any]]) -> tuple[Link, ...]:
    from plugins.microvm.network import Link

    return tuple(Link(**link) for link in found)


def load_all(root: Path) -> list[Container]:
    """All containers below --root."""
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        if folder.is_dir():
            try:
                found.append(load(root, folder.name))
            except NotFound:
                continue
    return found
