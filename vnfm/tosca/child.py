"""What runs in the reading process: YAML, tosca-parser and normalising, under limits and without a network.

Started with `-I -S`. For each request, a line on stdin, it forks (it has one thread and no gRPC): the child is
confined, puts its one answer into the file that the request names and ends, so that nothing of a package stays but the
type files on the shelf.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from vnfm.model.codec import decode, encode
from vnfm.model.vnfd import Vnfd
from vnfm.tosca.digests import PackageFile
from vnfm.tosca.documents import add_our_types, read_documents
from vnfm.tosca.flavours import FlavourTemplate
from vnfm.tosca.images import ImageReader
from vnfm.tosca.library import Library
from vnfm.tosca.limits import Limits
from vnfm.tosca.normalise import Normaliser
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.shelf import Shelf, key_of
from vnfm.tosca.sol001 import Definitions
from vnfm.tosca.template import Template
from vnfm.tosca.types import TypeTable
from vnfm.tosca.yamldoc import load

_PIPE_BYTES = 32_768
_FORBIDDEN = ("socket.", "urllib.Request", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def serve(_: Mapping[str, Any]) -> None:
    """Answer requests until stdin ends (see vnfm.tosca.worker)."""
    import toscaparser.tosca_template  # noqa: F401 - what takes longest to load, once for all packages

    answers = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # tosca-parser prints
    shelf = Shelf()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        gc.collect()
        gc.freeze()  # a child's collector leaves our pages alone
        done, learnt = _in_child(request, shelf)
        os.write(answers, json.dumps(done).encode() + b"\n")
        for file, data in learnt:
            _learn(file, data, decode(Limits, request["limits"]), shelf)


def _in_child(request: Mapping[str, Any], shelf: Shelf) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """How the child ended, and the type files that it found to be worth keeping."""
    limits = decode(Limits, request["limits"])
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_child(request, limits, shelf, theirs)
    os.close(theirs)
    watch = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([watch], [], [], limits.child_wall_seconds)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        # Short enough for the pipe to hold it while nobody reads.
        names = json.loads(os.read(ours, _PIPE_BYTES) or b"[]") if code == 0 and ready else []
        return {"exit": code, "timeout": not ready}, [(n, p.read_bytes()) for n, p in _kept(names, request)]
    except (OSError, ValueError):
        return {"exit": 1, "timeout": False}, []
    finally:
        os.close(watch)
        os.close(ours)


def _kept(names: list[str], request: Mapping[str, Any]) -> list[tuple[str, Path]]:
    root, types = Path(request["root"]), Path(request["types"])
    return [(n, types / n.removeprefix("types:") if n.startswith("types:") else root / n) for n in names]


def _be_child(request: Mapping[str, Any], limits: Limits, shelf: Shelf, learnt: int) -> NoReturn:
    code = 1
    try:
        os.chdir(request["empty"])
        errors = os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(errors, 2)
        gc.disable()  # it lives for some milliseconds, and its memory is bounded
        confine(limits)
        new: list[str] = []
        answer = read(request, limits, shelf, new)
        with open(request["answer"], "w", encoding="utf-8") as out:
            json.dump(answer, out)
        names = json.dumps(new).encode()
        if len(names) <= _PIPE_BYTES:
            os.write(learnt, names)
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever it was, it ends this process alone
        os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(code)


def _learn(file: str, data: bytes, limits: Limits, shelf: Shelf) -> None:
    """Read a type file for all who come later; the child has read it within its limits already."""
    key = key_of(file, data)
    if shelf.find(key) is None:
        body = load(data, file, limits, Notes())
        if body is not None:
            shelf.put(key, body, len(data))


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


def read(
    request: Mapping[str, Any], limits: Limits, shelf: Shelf | None = None, learnt: list[str] | None = None
) -> dict[str, Any]:
    """The answer: `findings`, `vnfd` (absent where there is none) and `later`, digests that the caller is to check.

    Type files are taken from `shelf`; the names of those that should go there are added to `learnt`.
    """
    notes = Notes()
    files = {name: PackageFile(*row) for name, row in request["files"].items()}
    images = ImageReader(files, notes, request["strict"])
    vnfd = _vnfd(
        request,
        files,
        images,
        notes,
        Library(Shelf() if shelf is None else shelf, limits, notes, [] if learnt is None else learnt),
    )
    later = [[path, algorithm, written, encode(at)] for path, algorithm, written, at in images.later]
    return {
        "findings": [encode(f) for f in notes.findings],
        "vnfd": None if vnfd is None else encode(vnfd),
        "later": later,
    }


def _vnfd(
    request: Mapping[str, Any],
    files: Mapping[str, PackageFile],
    images: ImageReader,
    notes: Notes,
    library: Library,
) -> Vnfd | None:
    root, limits = Path(request["root"]), library.limits
    definitions = Definitions(Path(request["types"]), library)
    documents = read_documents(request["entry"], root, files, definitions, library)
    if not documents.order or documents.order[0].file != request["entry"]:
        return None
    types = TypeTable(documents.types, lambda: add_our_types(documents, definitions))

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
