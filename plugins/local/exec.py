"""Commands inside what runs: by the runtime in containers and microVMs, by the agent in VMs, in SAPs' namespaces."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from plugins.local.computes import request_of
from plugins.local.containers import Containers, container_id
from plugins.local.stamps import Stamp, StampFolder
from plugins.local.vms import Vms
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import invalid, not_found, not_ready

_BLOCK_BYTES = 32 << 10


class ExecRunner:
    """`run` is one command from its start to its exit code."""

    def __init__(self, containers: Containers, vms: Vms, stamps: StampFolder) -> None:
        self._containers = containers
        self._vms = vms
        self._stamps = stamps

    def run(
        self, start: pb.ExecInput, resource: pb.Resource, inputs: AsyncIterator[pb.ExecInput]
    ) -> AsyncIterator[pb.ExecOutput]:
        """Its output as it comes; the last item has `exited`."""
        if start.tty:
            raise invalid("tty", "terminals are not offered by this VIM; leave it out")
        if resource.kind == pb.KIND_SAP:
            namespace = resource.handle.native_id
            argv = ["nsenter", f"--net=/run/netns/{namespace}", "--", *start.command]
            return piped(argv, dict(os.environ), start, inputs)
        stamp = self._stamps.read(start.compute.resource_id)
        if stamp is None:
            raise not_found("compute", start.compute.resource_id)
        if resource.state != pb.STATE_RUNNING:
            raise not_ready(f"{stamp.resource_id} does not run: {resource.reason or 'it is stopped'}")
        if stamp.runtime == "VM":
            return self._vms.exec_command(self._stamps.folder(stamp.resource_id), start, inputs)
        return self._in_container(stamp, start, inputs)

    async def _in_container(
        self, stamp: Stamp, start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]
    ) -> AsyncIterator[pb.ExecOutput]:
        request = request_of(stamp)
        names = [container.name for container in request.containers]
        if start.container and start.container not in names:
            raise not_found(f"container {start.container!r}, only {', '.join(names)}, in", stamp.resource_id)
        index = len(request.init_containers) + (names.index(start.container) if start.container else 0)
        folder = self._stamps.folder(stamp.resource_id) / str(index)
        runtime = self._containers.runtime(request)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix="exec-", suffix=".json") as file:
            json.dump(process_of(folder, start.command), file)
            file.flush()
            argv = runtime.exec_argv(container_id(stamp.resource_id, index), Path(file.name))
            async for output in piped(argv, runtime.environment(), start, inputs):
                yield output


def process_of(bundle: Path, command: Sequence[str]) -> Mapping[str, object]:
    """The container's own process specification with another command."""
    process = json.loads((bundle / "config.json").read_text())["process"]
    return {**process, "args": list(command), "terminal": False}


async def piped(
    argv: Sequence[str], env: Mapping[str, str], start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]
) -> AsyncIterator[pb.ExecOutput]:
    """A child process with its stdio passed through; it dies with the call."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        start_new_session=True,
        limit=_BLOCK_BYTES,
    )
    outputs: asyncio.Queue[pb.ExecOutput | None] = asyncio.Queue(64)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feeding = asyncio.create_task(_feed(child.stdin, start, inputs))
    reading = [
        asyncio.create_task(_read(child.stdout, outputs, lambda data: pb.ExecOutput(stdout=data))),
        asyncio.create_task(_read(child.stderr, outputs, lambda data: pb.ExecOutput(stderr=data))),
    ]
    try:
        open_streams = len(reading)
        while open_streams:
            item = await outputs.get()
            if item is None:
                open_streams -= 1
            else:
                yield item
        code = await child.wait()
        yield pb.ExecOutput(exit_code=code if code >= 0 else 128 - code, exited=True)
    finally:
        for task in (feeding, *reading):
            task.cancel()
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, 9)
            await asyncio.shield(child.wait())


async def _feed(pipe: asyncio.StreamWriter, start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        item: pb.ExecInput | None = start
        while item is not None:
            if item.stdin:
                pipe.write(item.stdin)
                await pipe.drain()
            if item.eof:
                break
            item = await anext(inputs, None)
        pipe.close()


async def _read(pipe: asyncio.StreamReader, outputs: asyncio.Queue[pb.ExecOutput | None], wrap: object) -> None:
    assert callable(wrap)
    while data := await pipe.read(_BLOCK_BYTES):
        await outputs.put(wrap(data))
    await outputs.put(None)
