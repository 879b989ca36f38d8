"""An API that stumbles: away for a while, too busy, a token that has run out. The last by openstacksdk itself."""

from __future__ import annotations

import asyncio
import email.utils
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from scripted_cloud import Answer, cloud_of, said

from plugins.openstack.cloud import Cloud, SdkTransport
from plugins.openstack.errors import ApiError
from plugins.openstack.settings import Login
from vnfm.pluginkit.problems import PluginError

AWAY = ApiError(0, "connection refused", "GET compute/servers")


def ask(answers: list[Answer], patience_s: float = 5.0) -> tuple[Any, int, float]:
    cloud, scripted = cloud_of({("GET", "/servers"): answers}, patience_s)
    begun = time.monotonic()
    found = asyncio.run(cloud.get("compute", "/servers"))
    return found, scripted.count("GET", "/servers"), time.monotonic() - begun


@pytest.mark.parametrize("trouble", [AWAY, said({"message": "busy"}, 503), said({"message": "slow down"}, 429)])
def test_what_passes_is_waited_for(trouble: Answer) -> None:
    found, asked, _ = ask([trouble, trouble, said({"servers": []})])
    assert found == {"servers": []}
    assert asked == 3


def test_who_says_when_to_come_again_is_believed() -> None:
    _, asked, took_s = ask([said({"message": "slow down"}, 429, retry_after="1"), said({"servers": []})])
    assert asked == 2
    assert took_s >= 1


def test_patience_ends_in_one_problem_that_says_to_try_again() -> None:
    with pytest.raises(PluginError) as caught:
        ask([AWAY], patience_s=0.6)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert "connection refused" in caught.value.problem.detail


def test_a_refusal_is_not_asked_for_again() -> None:
    with pytest.raises(PluginError) as caught:
        ask([said({"message": "no such thing"}, 400), said({})])
    assert "no such thing" in caught.value.problem.detail


# -- Keystone and Nova, as far as a token needs them


class Keystone:
    """Gives numbered tokens; Nova takes those that were not revoked."""

    def __init__(self) -> None:
        self.issued = 0
        self.valid: set[str] = set()
        self.refuse_logins = False
        self.busy: list[tuple[int, dict[str, str]]] = []
        self.seen: list[str] = []

    def answer(self, handler: BaseHTTPRequestHandler, base: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """One request."""
        path = handler.path.split("?")[0]
        if path == "/v3/auth/tokens":
            return self._login(base)
        if path in ("/v3", "/v3/"):
            version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{base}/v3/"}]}
            return 200, {"version": version}, {}
        token = handler.headers.get("X-Auth-Token", "")
        self.seen.append(token)
        if token not in self.valid:
            return 401, {"error": {"message": "The request you have made requires authentication."}}, {}
        if self.busy:
            status, headers = self.busy.pop(0)
            return status, {"overLimit": {"message": "This request was rate-limited."}}, headers
        return 200, {"servers": [{"name": token}]}, {}

    def _login(self, base: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        if self.refuse_logins:
            return 401, {"error": {"code": 401, "message": "The password is wrong"}}, {}
        self.issued += 1
        token = f"token-{self.issued}"
        self.valid.add(token)
        endpoint = {"interface": "public", "region": "R", "region_id": "R", "url": f"{base}/compute/v2.1", "id": "e"}
        return (
            201,
            {
                "token": {
                    "expires_at": "2999-01-01T00:00:00.000000Z",
                    "issued_at": "2020-01-01T00:00:00.000000Z",
                    "methods": ["application_credential"],
                    "project": {"id": "p1", "name": "p", "domain": {"id": "d", "name": "d"}},
                    "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
                    "catalog": [{"type": "compute", "name": "nova", "id": "s", "endpoints": [endpoint]}],
                }
            },
            {"X-Subject-Token": token},
        )


@pytest.fixture
def keystone() -> Iterator[tuple[Keystone, str]]:
    served = Keystone()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            base = f"http://127.0.0.1:{server.server_address[1]}"
            status, body, headers = served.answer(self, base)
            data = json.dumps(body).encode()
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data)), "Content-Type": "application/json"}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served, f"http://127.0.0.1:{server.server_address[1]}/v3"
    server.shutdown()
    server.server_close()


def entered(url: str, patience_s: float = 1.0) -> Cloud:
    login = Login(auth_url=url, credential_id="app", secret="s3cret", region="R")
    return Cloud(SdkTransport(login), ThreadPoolExecutor(2), patience_s)


def test_a_token_that_has_run_out_is_renewed_within_the_call(keystone: tuple[Keystone, str]) -> None:
    served, url = keystone
    cloud = entered(url)
    assert asyncio.run(cloud.get("compute", "/servers"))["servers"] == [{"name": "token-1"}]
    served.valid.clear()
    assert asyncio.run(cloud.get("compute", "/servers"))["servers"] == [{"name": "token-2"}]


def test_an_api_that_is_too_busy_is_asked_again_when_it_says(keystone: tuple[Keystone, str]) -> None:
    served, url = keystone
    cloud = entered(url, patience_s=30)
    later = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    served.busy = [(429, {"Retry-After": "1"}), (503, {"Retry-After": later})]
    begun_s = time.monotonic()
    assert asyncio.run(cloud.get("compute", "/servers"))["servers"] == [{"name": "token-1"}]
    assert time.monotonic() - begun_s >= 1
    assert len(served.seen) == 3


def test_who_is_too_busy_for_longer_than_we_wait_is_told_with_when_to_come_again(
    keystone: tuple[Keystone, str],
) -> None:
    served, url = keystone
    served.busy = [(429, {"Retry-After": "120"})]
    with pytest.raises(PluginError) as caught:
        asyncio.run(entered(url).get("compute", "/servers"))
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.problem.retry_after_ms == 120_000
    assert "rate-limited" in caught.value.problem.detail
    assert len(served.seen) == 1


def test_credentials_that_are_refused_are_the_operators_to_mend_and_are_not_told(
    keystone: tuple[Keystone, str],
) -> None:
    served, url = keystone
    served.refuse_logins = True
    with pytest.raises(ApiError) as caught:
        entered(url)
    assert caught.value.status == 401
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Login(auth_url=url, credential_id="app", secret="s3cret"))


def test_nobody_at_the_address_is_told_as_such() -> None:
    with pytest.raises(ApiError) as caught:
        entered("http://127.0.0.1:9/v3")
    assert caught.value.transient
