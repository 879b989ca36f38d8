"""A cloud of one process behind real HTTP: Keystone lets in, Heat keeps stacks, Neutron keeps ports; all that is sent
is on record. So what openstacksdk makes of a call is seen as a cloud sees it."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_STACK = re.compile(r"/heat/v1/p1/stacks/(?P<name>[^/]+)/(?P<id>[^/]+)(?P<what>/events|/resources)?")
_SERVICES = {
    "compute": ("nova", "/compute/v2.1"),
    "network": ("neutron", "/network"),
    "orchestration": ("heat", "/heat/v1/p1"),
    "block-storage": ("cinder", "/volume/v3/p1"),
}


@dataclass
class SmallCloud:
    """Its services, extensions, ports and stacks; `sent` holds (method, path, body) of each request but log-ins."""

    services: Sequence[str] = ("compute", "network", "orchestration")
    extensions: Sequence[str] = ()
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    stacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    attachments: list[dict[str, str]] = field(default_factory=list)
    sent: list[tuple[str, str, Any]] = field(default_factory=list)
    base: str = ""

    @property
    def auth_url(self) -> str:
        return f"{self.base}/v3"

    def bodies(self, method: str, path: str) -> list[Any]:
        """What was sent there."""
        return [body for m, p, body in self.sent if m == method and p == path]

    def stack(self, name: str, tags: Sequence[str], outputs: Mapping[str, Any]) -> None:
        """One that is there already."""
        self.stacks[name] = {"id": str(uuid.uuid4()), "tags": list(tags), "outputs": dict(outputs), "action": "CREATE"}

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        """One request."""
        if path == "/v3/auth/tokens":
            return 201, self._token()
        if path.rstrip("/") in ("", "/v3"):
            return 200, {
                "version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": self.auth_url}]}
            }
        if path.rstrip("/") == "/network":
            link = {"rel": "self", "href": f"{self.base}/network/v2.0"}
            return 200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
        self.sent.append((method, path, body))
        if path == "/network/v2.0/extensions":
            return 200, {"extensions": [{"alias": alias} for alias in self.extensions]}
        if path == "/volume/v3/p1/types":
            return 200, {"volume_types": []}
        if path.startswith("/volume/v3/p1/volumes/"):
            return 200, {"volume": {"attachments": self.attachments}}
        if path == "/compute/v2.1/servers/detail":
            return 200, {"servers": []}
        if path.startswith("/network/v2.0/ports/"):
            return self._port(method, path.rpartition("/")[2], body)
        return self._heat(method, path, query, body)

    def _port(self, method: str, port_id: str, body: Any) -> tuple[int, Any]:
        if port_id not in self.ports:
            return 404, {"NeutronError": {"message": f"Port {port_id} could not be found."}}
        if method == "PUT":
            self.ports[port_id] |= body["port"]
        return 200, {"port": self.ports[port_id]}

    def _heat(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        if path == "/heat/v1/p1/stacks" and method == "POST":
            outputs = {name: one["value"] for name, one in body["template"].get("outputs", {}).items()}
            self.stack(body["stack_name"], body["tags"].split(","), outputs)
            return 201, {"stack": {"id": self.stacks[body["stack_name"]]["id"]}}
        if path == "/heat/v1/p1/stacks":
            wanted = dict(pair.split("=") for pair in query.split("&") if pair).get("name")
            return 200, {"stacks": [self._listed(name) for name in self.stacks if wanted in (None, name)]}
        found = _STACK.fullmatch(path)
        if found is None or found["name"] not in self.stacks:
            return 404, {"error": {"message": f"{method} {path}: nothing is there"}}
        name, stack = found["name"], self.stacks[found["name"]]
        if method == "PUT":
            stack |= {"action": "UPDATE", "tags": body["tags"].split(",")}
            stack["outputs"] = {key: one["value"] for key, one in body["template"].get("outputs", {}).items()}
            return 202, {}
        if found["what"] == "/events":
            event = {
                "id": f"{stack['action']}-1",
                "resource_name": name,
                "resource_status": f"{stack['action']}_COMPLETE",
            }
            made = {
                "id": "e0",
                "resource_name": "one",
                "resource_status": "CREATE_COMPLETE",
                "physical_resource_id": "x",
            }
            return 200, {"events": [made, event] if "asc" in query else [{**made, "id": "e-1"}]}
        outputs = [{"output_key": key, "output_value": value} for key, value in stack["outputs"].items()]
        return 200, {"stack": {**self._listed(name), "outputs": outputs}}

    def _listed(self, name: str) -> dict[str, Any]:
        stack = self.stacks[name]
        return {
            "id": stack["id"],
            "stack_name": name,
            "stack_status": f"{stack['action']}_COMPLETE",
            "tags": stack["tags"],
        }

    def _token(self) -> dict[str, Any]:
        catalog = []
        for kind in self.services:
            name, path = _SERVICES[kind]
            endpoint = {"interface": "public", "region": "R", "region_id": "R", "url": self.base + path, "id": name}
            catalog.append({"type": kind, "name": name, "id": name, "endpoints": [endpoint]})
        domain = {"id": "d", "name": "d"}
        return {
            "token": {
                "expires_at": "2999-01-01T00:00:00.000000Z",
                "issued_at": "2020-01-01T00:00:00.000000Z",
                "methods": ["password"],
                "project": {"id": "p1", "name": "p", "domain": domain},
                "user": {"id": "u", "name": "u", "domain": domain},
                "catalog": catalog,
            }
        }


@contextmanager
def served(cloud: SmallCloud) -> Iterator[SmallCloud]:
    """At an address of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path, _, query = self.path.partition("?")
            status, body = cloud.answer(self.command, path, query, json.loads(raw) if raw else None)
            data = json.dumps(body).encode()
            self.send_response(status)
            for key, value in (("Content-Type", "application/json"), ("Content-Length", str(len(data)))):
                self.send_header(key, value)
            if status == 201 and path.endswith("tokens"):
                self.send_header("X-Subject-Token", "token")
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cloud.base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
