"""What a cloud's APIs answer when they refuse, and what that means to the caller. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import grpc

from vnfm.pluginkit.problems import NEVER, NEW_PLACEMENT, SAME_CALL, PluginError, failed, no_capacity, unavailable

TRANSIENT = frozenset({429, 502, 503, 504})
_FINAL = frozenset({"quota-exceeded", "insufficient-capacity", "bad-image", "permission-denied", "address-in-use"})
_QUOTA = re.compile(
    r"quota|OverQuota|maximum number of stacks|limit (?:has been|was) (?:reached|exceeded)", re.IGNORECASE
)
_NO_HOST = re.compile(
    r"No valid host was found|NoValidHost|not enough hosts available|Insufficient compute resources|"
    r"Requested instance NUMA topology .*cannot fit|PCI device request .* failed|"
    r"Exceeded maximum number of retries|Exhausted all hosts|could not be placed",
    re.IGNORECASE,
)
_IMAGE = re.compile(
    r"Image\b.*(?:unacceptable|corrupt|not found|could not be found|is not active|requires|is invalid|larger)|"
    r"Flavor's (?:disk|memory) is too small|ImageUnacceptable|Unexpected error while running command.*qemu-img|"
    r"Disk(?: of size)? .*(?:too small|smaller)|InvalidDiskInfo|signature verification",
    re.IGNORECASE | re.DOTALL,
)
_FORBIDDEN = re.compile(r"disallowed by policy|Policy doesn't allow|^(?:\w+: )?Forbidden", re.IGNORECASE)
_ADDRESS = re.compile(
    r"IP address .* already|IpAddressAlreadyAllocated|is already in use|IpAddressInUse", re.IGNORECASE
)


@dataclass(slots=True)
class ApiError(Exception):
    """One request that did not succeed; `status` 0 where nobody answered."""

    status: int
    message: str
    request: str
    retry_after_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.request}: {self.status or 'no answer'}: {self.message}"

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed in a while."""
        return self.status == 0 or self.status in TRANSIENT


def message_of(body: str) -> str:
    """The words in an error's body: each service wraps them in its own way."""
    try:
        found = json.loads(body)
    except ValueError:
        text = re.sub(r"<[^>]+>", " ", body)
        return " ".join(text.split())[:600]
    return _words(found)[:1200]


def _words(found: object) -> str:
    if isinstance(found, dict):
        for key in ("message", "detail", "explanation"):
            if isinstance(found.get(key), str) and found[key]:
                inner = found.get("error")
                return _words(inner) if key == "explanation" and isinstance(inner, dict) else str(found[key])
        for value in found.values():
            if words := _words(value):
                return words
    if isinstance(found, list):
        return "; ".join(filter(None, map(_words, found)))
    return found if isinstance(found, str) else ""


def to_problem(error: ApiError, *, instance: str = "") -> PluginError:
    """The one Problem with the real cause."""
    if error.transient:
        wait_ms = int(1000 * error.retry_after_s) or 1000
        return unavailable(f"the cloud does not answer: {error}", retry_after_ms=wait_ms)
    if error.status == 401:
        return _refused(f"the cloud refuses our credentials: {error}: mend the VIM's configuration", instance)
    if error.status == 403 and not _QUOTA.search(error.message):
        return _refused(f"the cloud does not allow it: {error}: the project's user lacks a role", instance)
    return cause(str(error), instance=instance)


def _refused(detail: str, instance: str) -> PluginError:
    return PluginError("permission-denied", detail, grpc.StatusCode.PERMISSION_DENIED, instance=instance)


def cause(words: str, *, instance: str = "") -> PluginError:
    """What a refusal or a fault's text says, as the contract has it."""
    if _QUOTA.search(words):
        return PluginError(
            "quota-exceeded",
            f"{words}: raise the project's quota, or free some of it",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            retry=NEW_PLACEMENT,
            instance=instance,
        )
    if _FORBIDDEN.search(words):
        return _refused(f"the cloud does not allow it: {words}: the project's user lacks a role", instance)
    if _NO_HOST.search(words):
        return no_capacity(words, instance=instance)
    if _IMAGE.search(words):
        return PluginError(
            "bad-image", words, grpc.StatusCode.FAILED_PRECONDITION, retry=NEVER, title="Bad image", instance=instance
        )
    if _ADDRESS.search(words):
        return PluginError(
            "address-in-use", words, grpc.StatusCode.FAILED_PRECONDITION, retry=SAME_CALL, instance=instance
        )
    return failed(words, instance=instance)


def hopeless(words: str) -> bool:
    """Whether what was refused with these words is refused again when it is asked for again at once."""
    return cause(words).word in _FINAL
