"""The connection to a manager: where it is, who asks, and one way to make a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import grpc

from vnfm.cli.errors import Unreachable, translate
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc

Q_contra = TypeVar("Q_contra", contravariant=True)
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
Metadata = tuple[tuple[str, str], ...]

CALL_TIMEOUT_S = 120.0
# A manager that was restarted is found again within a second, not after grpc's own two minutes.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    # in spite of its name, how long one attempt to connect may take: a busy host answers late
    ("grpc.min_reconnect_backoff_ms", 15000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


class Unary(Protocol[Q_contra, A_co]):
    """A stub's method that answers once."""

    def __call__(self, request: Q_contra, /, timeout: float | None = ..., metadata: Metadata | None = ...) -> A_co: ...


class Streaming(Protocol[Q_contra, A_co]):
    """A stub's method that answers with a stream."""

    def __call__(
        self, request: Q_contra, /, timeout: float | None = ..., metadata: Metadata | None = ...
    ) -> Iterable[A_co]: ...


def default_endpoint(environment: dict[str, str], user_id: int) -> str:
    """Where `vnfm serve` listens when nobody says otherwise."""
    if user_id == 0:
        return "unix:/var/lib/vnfm/vnfm.sock"
    state_home = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "~")) / ".local/state")
    return f"unix:{Path(state_home).expanduser() / 'vnfm' / 'vnfm.sock'}"


class Client:
    """Stubs of one channel, opened at first use."""

    def __init__(self, endpoint: str, tenant: str) -> None:
        self.endpoint = endpoint
        self.tenant = tenant

    @cached_property
    def channel(self) -> grpc.Channel:
        """Insecure on purpose: a unix socket or loopback."""
        if self.endpoint.startswith("unix:"):
            path = self.endpoint.removeprefix("unix:").removeprefix("//")
            if not os.path.exists(path):
                raise Unreachable(self.endpoint, "there is no such socket")
        return grpc.insecure_channel(self.endpoint, options=CHANNEL_OPTIONS)

    @property
    def metadata(self) -> Metadata:
        """What every call carries."""
        return (("vnfm-tenant", self.tenant),)

    @cached_property
    def packages(self) -> nfvo_pb2_grpc.PackagesStub:
        """SOL003 clause 10."""
        return nfvo_pb2_grpc.PackagesStub(self.channel)

    @cached_property
    def lifecycle(self) -> nfvo_pb2_grpc.LifecycleStub:
        """SOL003 clause 5."""
        return nfvo_pb2_grpc.LifecycleStub(self.channel)

    @cached_property
    def chains(self) -> nfvo_pb2_grpc.ChainsStub:
        """SOL005 clause 6."""
        return nfvo_pb2_grpc.ChainsStub(self.channel)

    @cached_property
    def placement(self) -> nfvo_pb2_grpc.PlacementStub:
        """Looking ahead."""
        return nfvo_pb2_grpc.PlacementStub(self.channel)

    @cached_property
    def vims(self) -> nfvo_pb2_grpc.VimsStub:
        """The connections to VIMs."""
        return nfvo_pb2_grpc.VimsStub(self.channel)

    def call(self, method: Unary[Q_contra, A_co], request: Q_contra, timeout_s: float | None = CALL_TIMEOUT_S) -> A_co:
        """One answer; raises CliError."""
        return self.guard(lambda: method(request, timeout=timeout_s, metadata=self.metadata))

    def collect(self, method: Streaming[Q_contra, A_co], request: Q_contra) -> list[A_co]:
        """A whole stream, for lists; raises CliError."""
        return self.guard(lambda: list(method(request, timeout=CALL_TIMEOUT_S, metadata=self.metadata)))

    def follow(self, answers: Iterable[A]) -> Iterator[A]:
        """A stream as it comes; raises CliError."""
        try:
            yield from answers
        except grpc.RpcError as error:
            raise translate(error, self.endpoint) from error

    def guard(self, action: Callable[[], A]) -> A:
        """Run `action`, gRPC's errors made into ours."""
        try:
            return action()
        except grpc.RpcError as error:
            raise translate(error, self.endpoint) from error

    def close(self) -> None:
        """Closes the channel if one was opened."""
        if "channel" in self.__dict__:
            self.channel.close()
