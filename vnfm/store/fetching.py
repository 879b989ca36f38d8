"""Packages from elsewhere (SOL005 9.4.6): only from where the operator said, within a size and a time."""

from __future__ import annotations

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from vnfm.model.problem import Retry, problem

PORTS = {"https": 443, "http": 80}
MAX_REDIRECTS = 5
CHUNK_BYTES = 256 * 1024
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class PackageSources:
    """Where packages may be fetched from: URLs that an address has to begin with, none by default.

    Scheme, host and port have to be the same, the path to begin with whole segments of the prefix's.
    """

    prefixes: tuple[str, ...] = ()
    max_bytes: int = 16 * GIB
    max_seconds: float = 3600.0
    stall_seconds: float = 30.0

    @staticmethod
    def of(prefixes: Sequence[str]) -> PackageSources:
        """Raises ProblemError `bad-package-source` for a prefix that is no http(s) address."""
        for prefix in prefixes:
            parts = _split(prefix)
            if parts is None or parts.query or parts.fragment:
                detail = f"--package-source {prefix}: expected https://HOST[:PORT]/[PATH], without user, query or dots"
                raise problem("bad-package-source", detail, instance=prefix)
        return PackageSources(tuple(prefixes))

    def allows(self, url: str) -> bool:
        """Whether the address lies below one of the prefixes."""
        asked = _split(url)
        return asked is not None and any(
            _origin(asked) == _origin(known) and _below(asked.path, known.path)
            for known in map(_split, self.prefixes)
            if known is not None
        )

    def check(self, url: str) -> None:
        """Raises ProblemError `source-refused`."""
        if self.allows(url):
            return
        known = ", ".join(self.prefixes) or "none"
        detail = (
            f"packages are not fetched from {_shown(url)}; allowed sources: {known}; serve --package-source adds one"
        )
        raise problem("source-refused", detail, instance=_shown(url))

    async def fetch(self, url: str) -> AsyncIterator[bytes]:
        """The content in chunks. Raises ProblemError: source-refused for the address or one that it leads to,
        source-unreachable, source-too-large, source-timeout."""
        self.check(url)
        ends = time.monotonic() + self.max_seconds
        received = 0
        answer = await self._within(ends, url, self._open, url)
        with closing(answer):
            length = answer.headers.get("Content-Length", "")
            expected = int(length) if length.isdigit() else None
            if expected is not None and expected > self.max_bytes:
                raise self._too_large(url)
            while chunk := await self._within(ends, url, _some, answer):
                received += len(chunk)
                if received > self.max_bytes:
                    raise self._too_large(url)
                yield chunk
            if expected is not None and received != expected:
                raise _unreachable(url, f"it ended after {received} of {expected} bytes")

    def _open(self, url: str) -> Any:
        # An opener of our own: the default one knows file:, ftp: and data: too, and follows anything.
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(self),
        ):
            opener.add_handler(handler)
        request = urllib.request.Request(url, headers={"Accept": "application/zip, */*", "User-Agent": "vnfm"})
        return opener.open(request, timeout=self.stall_seconds)

    async def _within(self, ends: float, url: str, call: Any, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                return await asyncio.to_thread(call, *arguments)
        except TimeoutError as error:
            detail = (
                f"{_shown(url)} did not come within {self.max_seconds:g} s, or nothing came for {self.stall_seconds:g}"
            )
            raise problem("source-timeout", detail, instance=_shown(url), retry=Retry.SAME_CALL) from error
        except urllib.error.HTTPError as error:
            if 300 <= error.code < 400:  # where to it would not go: another scheme, or round in circles
                detail = f"{_shown(url)} redirects to where one may not fetch from, or too often"
                raise problem("source-refused", detail, instance=_shown(url)) from error
            raise _unreachable(url, f"it answers {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                detail = f"{_shown(url)}: nothing came for {self.stall_seconds:g} s"
                raise problem("source-timeout", detail, instance=_shown(url), retry=Retry.SAME_CALL) from error
            raise _unreachable(url, str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(url, str(error) or type(error).__name__) from error

    def _too_large(self, url: str) -> Exception:
        detail = f"{_shown(url)} has more than {self.max_bytes} bytes"
        return problem("source-too-large", detail, instance=_shown(url))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Only to where one may fetch from anyway."""

    max_redirections = MAX_REDIRECTS

    def __init__(self, sources: PackageSources) -> None:
        self._sources = sources

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        self._sources.check(urljoin(req.full_url, newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _some(answer: Any) -> bytes:
    """What is there: read() would wait for a whole chunk, however slowly it drips."""
    return bytes(answer.read1(CHUNK_BYTES))


def _unreachable(url: str, why: str) -> Exception:
    detail = f"cannot fetch {_shown(url)}: {why}"
    return problem("source-unreachable", detail, instance=_shown(url), retry=Retry.SAME_CALL)


def _split(url: str) -> SplitResult | None:
    """A URL's parts; None for one that is no plain http(s) address: anything that readers may take differently."""
    if len(url) > 2000 or not url.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in url):
        return None
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc or not port_fits:
        return None
    lowered = parts.path.lower()
    if any(s in (".", "..") for s in lowered.split("/")) or "%2e" in lowered or "%2f" in lowered or "%5c" in lowered:
        return None
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or PORTS[parts.scheme]


def _below(path: str, prefix: str) -> bool:
    folder = prefix if prefix.endswith("/") else prefix + "/"
    return path == prefix or path.startswith(folder)


def _shown(url: str) -> str:
    """An address without its query and user, which may hold secrets."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]
    except ValueError:
        return "that address"
