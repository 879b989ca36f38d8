"""What runs in the child process: YAML, tosca-parser and normalising, under limits and without a network.

Started with `-I -S` and a request on stdin; its one answer goes into the file that the request names.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vnfm.model.codec import decode, encode
from vnfm.model.vnfd import Vnfd
from vnfm.tosca.digests import PackageFile
from vnfm.tosca.documents import add_our_types, read_documents
from vnfm.tosca.images import ImageReader
from vnfm.tosca.limits import Limits
from vnfm.tosca.normalise import FlavourTemplate, Normaliser
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.template import Template
from vnfm.tosca.types import TypeTable

_FORBIDDEN = ("socket.", "urllib.Request", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def main(request: Mapping[str, Any]) -> None:
    """Answer one request (see vnfm.tosca.worker)."""
    limits = decode(Limits, request["limits"])
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for good; the answer has a file of its own
    confine(limits)
    answer = read(request, limits)
    with open(request["answer"], "w", encoding="utf-8") as out:
        json.dump(answer, out)


def confine(limits: Limits) -> None:
    """Bound this process for good: memory, CPU time, size of files, and no sockets or processes."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.child_memory_bytes, limits.child_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.child_cpu_seconds, limits.child_cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.child_output_bytes, limits.child_output_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_refuse)


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not allowed while a package is read")


def read(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The answer: `findings`, `vnfd` (absent where there is none) and `later`, digests that the caller is to check."""
    notes = Notes()
    files = {name: PackageFile(*row) for name, row in request["files"].items()}
    images = ImageReader(files, notes, request["strict"])
    vnfd = _vnfd(request, files, images, notes, limits)
    later = [[path, algorithm, written, encode(at)] for path, algorithm, written, at in images.later]
    return {
        "findings": [encode(f) for f in notes.findings],
        "vnfd": None if vnfd is None else encode(vnfd),
        "later": later,
    }


def _vnfd(
    request: Mapping[str, Any], files: Mapping[str, PackageFile], images: ImageReader, notes: Notes, limits: Limits
) -> Vnfd | None:
    root, types_folder = Path(request["root"]), Path(request["types"])
    documents = read_documents(request["entry"], root, types_folder, limits, notes)
    if not documents.order or documents.order[0].file != request["entry"]:
        return None
    types = TypeTable(documents.types, lambda: add_our_types(documents, types_folder, limits, notes))

    def read_text(name: str) -> bytes:
        if files[name].size_bytes > limits.text_bytes:
            notes.error("text-too-large", f"{name} has more than {limits.text_bytes} bytes", Place(name))
            return b""
        return (root / name).read_bytes()

    normaliser = Normaliser(documents, types, images, read_text, notes)
    templates = normaliser.templates()
    flavours = normaliser.flavours(templates)
    chosen = request["flavour"]
    if chosen is not None:
        known = ", ".join(f.id for f in flavours)
        flavours = [f for f in flavours if f.id == chosen]
        if not flavours:
            notes.error(
                "flavour-unknown", f"there is no flavour {chosen}", Place(request["entry"]), f"there is {known}"
            )
    vnfd = normaliser.vnfd(templates, flavours)
    _validate(templates, flavours, documents.order[0].body.get("tosca_definitions_version"), types, notes)
    return vnfd


def _validate(
    templates: list[Template], flavours: list[FlavourTemplate], version: object, types: TypeTable, notes: Notes
) -> None:
    from vnfm.tosca.validator import validate

    entry = templates[0]
    others = [f.template for f in flavours if f.template is not entry]
    for template in [entry, *others]:
        validate(template, version, types, notes)
