"""The child process from outside: started by exec, never by fork (gRPC's threads would not survive it)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vnfm
from vnfm.model.codec import CodecError, decode, encode
from vnfm.model.package import Finding
from vnfm.model.vnfd import Vnfd
from vnfm.tosca.digests import PackageFile
from vnfm.tosca.limits import Limits
from vnfm.tosca.notes import Notes, Place

_BOOT = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['sys_path'];"
    "from vnfm.tosca.child import main; main(request)"
)
_STDERR_CHARS = 300

Later = list[tuple[str, str, str, Place]]


def run_child(
    work: Path,
    *,
    entry: str,
    files: Mapping[str, PackageFile],
    types: Path,
    strict: bool,
    flavour: str | None,
    limits: Limits,
    notes: Notes,
) -> tuple[Vnfd | None, Later]:
    """Read the staged package `work`/root. What is noticed goes into `notes`; returns the VNFD and digests to check."""
    empty, answer = work / "empty", work / "answer.json"
    empty.mkdir()
    request = {
        "sys_path": [str(Path(vnfm.__file__).parent.parent), *(p for p in sys.path if p)],
        "root": str(work / "root"),
        "types": str(types),
        "entry": entry,
        "files": {name: [f.size_bytes, f.sha256, f.kind] for name, f in files.items()},
        "strict": strict,
        "flavour": flavour,
        "limits": encode(limits),
        "answer": str(answer),
    }
    failure = _run(json.dumps(request), empty, work / "stderr", limits)
    if failure:
        notes.error(
            "reader-stopped", failure, Place(entry), "the descriptor is too large, too deep or not what it seems"
        )
        return None, []
    return _take(answer, notes)


def _run(request: str, empty: Path, stderr: Path, limits: Limits) -> str:
    """Why the child gave no answer; empty where it did."""
    with stderr.open("wb") as errors:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _BOOT],
                input=request.encode(),
                stdout=subprocess.PIPE,  # says nothing: its end tells at once that the child is done
                stderr=errors,
                cwd=empty,
                env={},
                timeout=limits.child_wall_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"reading took longer than {limits.child_wall_seconds:g} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"reading was stopped by signal {-done.returncode}"
    return "reading failed: " + stderr.read_text(errors="replace").strip()[-_STDERR_CHARS:]


def _take(answer: Path, notes: Notes) -> tuple[Vnfd | None, Later]:
    try:
        data: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        notes.findings += [decode(Finding, f) for f in data["findings"]]
        vnfd = None if data["vnfd"] is None else decode(Vnfd, data["vnfd"])
        later = [(str(p), str(a), str(w), decode(Place, at)) for p, a, w, at in data["later"]]
    except (OSError, ValueError, KeyError, CodecError) as error:
        notes.error("reader-stopped", f"reading gave no answer: {error}")
        return None, []
    return vnfd, later
