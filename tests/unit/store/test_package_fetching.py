"""Packages from an address: only from where the operator said, whole, in time, and of a size that fits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vnfm.model.problem import ProblemError
from vnfm.store.fetching import PackageSources

BODY = bytes(range(256)) * 4096


class Site(BaseHTTPRequestHandler):
    """/ok/…, /to?URL redirects, /short lies about its length, /drip never ends, /loop redirects to itself."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/ok/to":
            self.send_response(302)
            self.send_header("Location", query)
            self.end_headers()
        elif path.startswith("/ok/drip"):
            self.send_response(200)
            self.end_headers()
            while True:
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
                time.sleep(0.02)
        elif path.startswith(("/ok/", "/secret")):
            self.send_response(404 if path.endswith("absent") else 200)
            self.send_header("Content-Length", str(len(BODY) + (5 if path.endswith("short") else 0)))
            self.end_headers()
            self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def got(sources: PackageSources, url: str) -> bytes:
    async def work() -> bytes:
        return b"".join([chunk async for chunk in sources.fetch(url)])

    return asyncio.run(work())


def refused(sources: PackageSources, url: str) -> str:
    with pytest.raises(ProblemError) as caught:
        got(sources, url)
    return caught.value.problem.word


def test_what_lies_below_an_allowed_address_comes_whole(site: str) -> None:
    sources = PackageSources.of([f"{site}/ok/"])
    assert got(sources, f"{site}/ok/p.csar") == BODY
    assert got(sources, f"{site}/ok/to?/ok/p.csar") == BODY
    assert got(sources, f"{site}/ok/to?p.csar") == BODY


def test_nothing_is_allowed_by_default(site: str) -> None:
    assert refused(PackageSources(), f"{site}/ok/p.csar") == "source-refused"


@pytest.mark.parametrize("target", ["/secret", "http://localhost:1/ok/p", "file:///etc/passwd", "ftp://127.0.0.1/ok/p"])
def test_a_redirect_out_of_the_policy_is_not_followed(site: str, target: str) -> None:
    assert refused(PackageSources.of([f"{site}/ok"]), f"{site}/ok/to?{target}") == "source-refused"


def test_a_loop_an_absent_file_a_lie_and_nobody_there(site: str) -> None:
    sources = PackageSources.of([f"{site}/ok", "http://127.0.0.1:9/"])
    assert refused(sources, f"{site}/ok/to?/ok/to") == "source-refused"
    for url in (f"{site}/ok/absent", f"{site}/ok/short", "http://127.0.0.1:9/p"):
        assert refused(sources, url) == "source-unreachable"


def test_size_and_time_are_bounded(site: str) -> None:
    small = PackageSources((f"{site}/ok",), max_bytes=len(BODY) - 1)
    assert refused(small, f"{site}/ok/p") == "source-too-large"
    assert refused(PackageSources((f"{site}/ok",), max_bytes=20), f"{site}/ok/drip") == "source-too-large"
    began = time.monotonic()
    assert refused(PackageSources((f"{site}/ok",), max_seconds=0.3), f"{site}/ok/drip") == "source-timeout"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://store.example/vnf/p.csar", True),
        ("https://STORE.example:443/vnf/a/b?token=1", True),
        ("https://store.example/vnf", True),
        ("https://store.example/vnfs/p.csar", False),
        ("https://store.example/", False),
        ("https://store.example:444/vnf/p", False),
        ("http://store.example/vnf/p", False),
        ("https://store.example.evil/vnf/p", False),
        ("https://store.example@evil/vnf/p", False),
        ("https://user:x@store.example/vnf/p", False),
        ("https://store.example/vnf/../p", False),
        ("https://store.example/vnf/%2e%2e/p", False),
        ("https://store.example/vnf/..%2fp", False),
        ("https://store.example/vnf/\\..\\p", False),
        ("https://store.example\\.evil/vnf/p", False),
        ("https://store.example:99999/vnf/p", False),
        ("file:///vnf/p", False),
        ("//store.example/vnf/p", False),
        ("https://store.example/vnf/p\n", False),
        ("", False),
    ],
)
def test_the_policy_compares_addresses_and_not_texts(url: str, allowed: bool) -> None:
    assert PackageSources.of(["https://store.example/vnf"]).allows(url) is allowed


@pytest.mark.parametrize(
    "prefix", ["store.example", "file:///", "https://u:p@h/", "https://h/?q", "https://h/a/../b", ""]
)
def test_a_policy_that_means_nothing_is_refused(prefix: str) -> None:
    with pytest.raises(ProblemError, match="package-source"):
        PackageSources.of([prefix])


def test_secrets_in_an_address_are_not_told(site: str) -> None:
    with pytest.raises(ProblemError) as caught:
        got(PackageSources(), "https://user:geheim@store.example/p?token=geheim")
    assert "geheim" not in str(caught.value)
