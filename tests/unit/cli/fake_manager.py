"""A real gRPC server on a unix socket whose answers a test writes down: the manager as the command line sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format, message_factory, struct_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status

from vnfm.pb.common.v1 import common_pb2
from vnfm.pb.nfvo.v1 import nfvo_pb2

Run = Callable[..., Any]  # runs the command: exit_code, stdout, stderr
Answer = Callable[[Any, grpc.ServicerContext], Any]


def inventory_pieces(vim: str, hosts: int, piece: int = 2) -> list[nfvo_pb2.InventoryPiece]:
    """What ReadInventory answers of so many hosts that are all alike."""
    amount = {"total": 8 << 30, "free": 4 << 30}
    found = {
        "hosts": hosts,
        **dict.fromkeys(("servers", "workers", "active", "zones", "racks", "switches", "links", "dedicated"), hosts),
        "sites": [{"site": "s1", "zones": 1, "servers": hosts, "workers": 0}],
        "runtimes": {"VM": hosts},
        "cpu": {"total_milli": 4000, "free_milli": 1500},
        **dict.fromkeys(("memory_bytes", "hugepage_bytes", "vfs", "gpus"), amount),
    }
    one = {"runtimes": ["VM"], "cpu": {"total_milli": 4000, "free_milli": 1500, "cells": 1}, "memory_bytes": amount}
    all_hosts = [{"id": f"h{number}", **one} for number in range(hosts)]
    lists = [{"hosts": all_hosts[at : at + piece]} for at in range(0, hosts, piece)]
    documents = [{"vim": vim, "version": 7, "summary": found}, *lists, {"links": [{"a": "h0", "b": "tor"}]}]
    return [nfvo_pb2.InventoryPiece(json=json.dumps(document)) for document in documents]


class FakeManager:
    """`answer("GetChain", fn)` sets what a method does; `calls` keeps what came: (method, request, metadata)."""

    def __init__(self, socket: Path) -> None:
        self.endpoint = f"unix:{socket}"
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self._answers: dict[str, Answer] = {}
        self._server: grpc.Server | None = None

    def start(self) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(4))
        for service in nfvo_pb2.DESCRIPTOR.services_by_name.values():
            handlers = {m.name: self._handler(m) for m in service.methods}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        assert server.add_insecure_port(self.endpoint)
        server.start()
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def answer(self, method: str, answer: Any) -> None:
        """A function of (request, context), or a message (a list of them for a stream) that is always the answer."""
        self._answers[method] = answer if callable(answer) else lambda _request, _context: answer

    def refuse(self, method: str, code: grpc.StatusCode, **problem: Any) -> None:
        """The method answers with a status that carries a Problem."""

        def abort(_request: Any, context: grpc.ServicerContext) -> Any:
            detail = any_pb2.Any()
            detail.Pack(common_pb2.Problem(**problem))
            status = status_pb2.Status(code=code.value[0], message=problem.get("detail", ""), details=[detail])
            context.abort_with_status(rpc_status.to_status(status))

        self._answers[method] = abort

    def requests(self, method: str) -> list[Any]:
        return [request for name, request, _ in self.calls if name == method]

    def _handler(self, method: Any) -> Any:
        request_class = message_factory.GetMessageClass(method.input_type)
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")

        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            metadata = dict(context.invocation_metadata() or ())
            if method.client_streaming and not method.server_streaming:
                request = list(request)
            self.calls.append((method.name, request, metadata))
            if method.name not in self._answers:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "no answer was written down")
            return self._answers[method.name](request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from behave(request, context)

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            stream if method.server_streaming else behave,
            request_deserializer=request_class.FromString,
            response_serializer=lambda m: m.SerializeToString(),
        )


def struct(data: dict[str, Any]) -> struct_pb2.Struct:
    """A dict as a Struct."""
    return json_format.ParseDict(data, struct_pb2.Struct())


def op(state: str, percent: int = 0, *steps: nfvo_pb2.StepView, **more: Any) -> nfvo_pb2.VnfLcmOpOcc:
    """An operation that creates the chain vcpe."""
    return nfvo_pb2.VnfLcmOpOcc(
        id="op-1", operation="CHAIN_CREATE", state=state, target="vcpe", progress_percent=percent, steps=steps, **more
    )


def step(name: str, state: str, seconds: float = 0.0, detail: str = "") -> nfvo_pb2.StepView:
    return nfvo_pb2.StepView(name=name, state=state, seconds=seconds, detail=detail)


PLAN_BODY: dict[str, Any] = {
    "vnfs": [
        {
            "alias": "fw",
            "vnfd_id": "b1bb0ce7-ebca-4fa7-95ed-4840d70a1177",
            "runtime": "CONTAINER",
            "nested": False,
            "host": "rack1-host7",
            "host_path": ["rack1-host7"],
            "vim": "local",
            "reasons": ["isolation level tenant: the kernel may be shared within the tenant", "starts in 30 ms"],
            "rejected": [
                {"runtime": "KATA", "host": "rack1-host7", "reason": "adds 60 us a hop, more than hop_us 20 allows"},
                {"runtime": "KATA", "host": "rack1-host8", "reason": "adds 60 us a hop, more than hop_us 20 allows"},
                {"runtime": "VM", "host": "", "reason": "the package brings no disk image"},
            ],
            "runner_up": {
                "runtime": "CONTAINER",
                "nested": False,
                "host": "rack1-host8",
                "vim": "local",
                "because": "it is as light, but starts slower",
            },
        },
        {
            "alias": "gw",
            "vnfd_id": "c1bb0ce7-ebca-4fa7-95ed-4840d70a1177",
            "runtime": "VM",
            "nested": False,
            "host": "rack1-host7",
            "host_path": ["rack1-host7"],
            "vim": "local",
            "reasons": ["operating_system own: only a VM brings its own operating system"],
            "rejected": [],
            "runner_up": None,
        },
    ],
    "links": [{"id": "client-fw", "latency_us": 12.5, "bandwidth_bps": 1000000000}],
    "refused": None,
}

CHAIN_BODY: dict[str, Any] = {
    "vnfs": [
        {
            "alias": "fw",
            "vnfd_id": "b1bb0ce7",
            "runtime": "CONTAINER",
            "host": "rack1-host7",
            "vnf_instance_id": "vnf-1",
            "vnf_state": "STARTED",
            "vnfcs": [
                {
                    "id": "vnfc-1",
                    "vdu_id": "fw",
                    "runtime": "CONTAINER",
                    "host": "rack1-host7",
                    "native_id": "vnfm-1a2b",
                    "addresses": ["10.1.0.1/24", "10.2.0.1/30"],
                }
            ],
        }
    ],
    "links": [],
    "probe": {
        "at": "2026-01-02T03:04:05Z",
        "hops": [
            {"from": "client", "to": "fw", "sent": 10, "received": 10, "rtt_us": 85},
            {"from": "fw", "to": "server", "sent": 10, "received": 9, "rtt_us": 2150},
        ],
    },
}
