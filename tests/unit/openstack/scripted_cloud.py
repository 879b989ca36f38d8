"""A cloud that answers by script, in place of the network: what really runs is all that stands above it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from plugins.openstack.cloud import Body, Cloud, Params, Service
from plugins.openstack.errors import ApiError
from vnfm.pb.common.v1.common_pb2 import Owner

OWNER = Owner(manager_id="m", tenant="blue", chain_id="c", vnf_instance_id="v", op_occ_id="o", fence=3)


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    text: str
    retry_after: str = ""


def said(body: object = None, status: int = 200, retry_after: str = "") -> Said:
    """An answer with JSON in it."""
    return Said(status, json.dumps(body) if body is not None else "", retry_after)


Answer = Said | ApiError
Handler = Callable[[Body | None, Params], Answer]


@dataclass
class Scripted:
    """Answers by (method, path): a list is used up, its last answer stays; a function is asked."""

    answers: dict[tuple[str, str], list[Answer] | Handler]
    project_id: str = "p1"
    delegated: bool = False
    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    def send(self, service: Service, method: str, path: str, body: Body | None, params: Params, version: str) -> Answer:
        """One request."""
        self.calls.append((method, path, body if body is not None else dict(params)))
        found = self.answers.get((method, path))
        if found is None:
            return said({"error": {"message": f"{method} {path} is not in the script"}}, 404)
        answer = found(body, params) if callable(found) else (found.pop(0) if len(found) > 1 else found[0])
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def upload(self, path: str, chunks: Iterator[bytes]) -> Said:
        """Takes all bytes."""
        self.calls.append(("PUT", path, b"".join(chunks)))
        return said(None, 204)

    def count(self, method: str, path: str) -> int:
        """How often it was asked."""
        return sum((m, p) == (method, path) for m, p, _ in self.calls)


def cloud_of(
    answers: Mapping[tuple[str, str], list[Answer] | Handler], patience_s: float = 5.0
) -> tuple[Cloud, Scripted]:
    """A Cloud over a script."""
    scripted = Scripted(dict(answers))
    return Cloud(scripted, ThreadPoolExecutor(2), patience_s), scripted  # type: ignore[arg-type]
