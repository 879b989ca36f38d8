"""What runs in the reading process: YAML, tosca-parser and normalising, under limits, without a network or a disk.

Started with `-I -S`. It forks (it has one thread and no gRPC) a child that waits for the next request on stdin: a line
of JSON, then the texts that it names. The child is confined, leaves its one answer in memory that both share and ends,
so that nothing of a package stays but the type files on the shelf.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
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
from vnfm.tosca.parcel import packed, unpacked
from vnfm.tosca.shelf import Shelf, key_of
from vnfm.tosca.sol001 import Definitions
from vnfm.tosca.template import Template
from vnfm.tosca.types import TypeTable
from vnfm.tosca.warmup import warm_up
from vnfm.tosca.yamldoc import load

_NO_MORE = 99  # stdin has ended
_STDERR_BYTES = 1000
_FORBIDDEN = ("socket.", "urllib.Request", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def serve() -> None:
    """Answer requests until stdin ends (see vnfm.tosca.worker)."""
    # tosca-parser fetches with it in its own reader of archives, which is not used: nothing here may fetch
    sys.modules.setdefault("requests", ModuleType("requests"))
    import toscaparser.tosca_template  # noqa: F401 - what takes longest to load, once for all packages

    answers = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # tosca-parser prints
    _go_nowhere()
    shelf = Shelf()
    warm = False
    while True:
        gc.collect()
        gc.freeze()  # a child's collector leaves our pages alone
        child = _Child(shelf)
        done = child.outcome()
        if done is None:
            return
        header, body, learnt = done
        _write(answers, json.dumps(header).encode() + b"\n" + body)
        for file, data in learnt:
            _learn(file, data, shelf)
        if not warm:
            warm_up(read, shelf)
            warm = True


def _go_nowhere() -> None:
    """Work in a folder that no longer exists: it is empty, and stays so."""
    with suppress(OSError):  # a full or read-only disk: then in /, which is no package's folder either
        folder = tempfile.mkdtemp(prefix="vnfm-reader-")
        os.chdir(folder)
        os.rmdir(folder)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class _Child:
    """A process that waits for one request and answers it."""

    def __init__(self, shelf: Shelf) -> None:
        self._answer, self._learnt, self._errors = (os.memfd_create(n) for n in ("answer", "learnt", "errors"))
        self._began, began = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _be_child(shelf, began, self._answer, self._learnt, self._errors)
        os.close(began)

    def outcome(self) -> tuple[dict[str, Any], bytes, list[tuple[str, bytes]]] | None:
        """How it ended, its answer, and the type files that it found worth keeping; None where nothing was asked."""
        told = os.read(self._began, 64)
        watch = os.pidfd_open(self._pid)
        try:
            ready, _, _ = select.select([watch], [], [], float(told) if told else None)
            if not ready:
                os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            if not told:
                return None
            code = os.waitstatus_to_exitcode(status)
            good = code == 0 and bool(ready)
            body = _all_of(self._answer) if good else b""
            header = {
                "exit": code,
                "timeout": not ready,
                "answer_bytes": len(body),
                "stderr": _all_of(self._errors)[-_STDERR_BYTES:].decode(errors="replace"),
            }
            return header, body, unpacked(_all_of(self._learnt)) if good else []
        finally:
            for handle in (watch, self._began, self._answer, self._learnt, self._errors):
                os.close(handle)


def _all_of(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    with open(handle, "rb", closefd=False) as source:
        return source.read()


def _be_child(shelf: Shelf, began: int, answer: int, learnt: int, errors: int) -> NoReturn:
    code = 1
    try:
        os.dup2(errors, 2)
        with open(0, "rb", closefd=False) as stdin:
            line = stdin.readline()
            if not line:
                os._exit(_NO_MORE)
            request = json.loads(line)
            texts = dict(unpacked(stdin.read(request["texts_bytes"])))
        limits = decode(Limits, request["limits"])
        os.write(began, str(limits.child_wall_seconds).encode())
        gc.disable()  # it lives for some milliseconds, and its memory is bounded
        confine(limits)
        new: list[str] = []
        found = read(request, texts, limits, shelf, new)
        _write(answer, json.dumps(found).encode())
        _write(learnt, packed({n: texts.get(n, b"") for n in new}))
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever it was, it ends this process alone
        os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(code)


def _learn(file: str, data: bytes, shelf: Shelf) -> None:
    """Read a type file for all who come later; the child has read it within its limits already."""
    key = key_of(file, data)
    if shelf.find(key) is None:
        body = load(data, file, Limits(), Notes())
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
    request: Mapping[str, Any],
    texts: Mapping[str, bytes],
    limits: Limits,
    shelf: Shelf | None = None,
    learnt: list[str] | None = None,
) -> dict[str, Any]:
    """The answer: `findings`, `vnfd` (absent where there is none) and `later`, digests that the caller is to check.

    `texts` are the package's YAML files and small texts. Type files are taken from `shelf`; the names of those that
    should go there are added to `learnt`.
    """
    notes = Notes()
    files = {name: PackageFile(*row) for name, row in request["files"].items()}
    images = ImageReader(files, notes, request["strict"])
    vnfd = _vnfd(
        request,
        texts,
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
    texts: Mapping[str, bytes],
    files: Mapping[str, PackageFile],
    images: ImageReader,
    notes: Notes,
    library: Library,
) -> Vnfd | None:
    limits = library.limits
    definitions = Definitions(Path(request["types"]), library)
    documents = read_documents(request["entry"], texts, files, definitions, library)
    if not documents.order or documents.order[0].file != request["entry"]:
        return None
    types = TypeTable(documents.types, lambda: add_our_types(documents, definitions))

    def read_text(name: str) -> bytes:
        if files[name].size_bytes > limits.text_bytes:
            notes.error("text-too-large", f"{name} has more than {limits.text_bytes} bytes", Place(name))
            return b""
        return texts.get(name, b"")

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
