"""Why a signature does not hold."""

from __future__ import annotations


class SignatureFault(Exception):
    """`code` is the finding's: signature-malformed, -certificate-missing, -wrong-key, -content-changed, -weak,
    -expired, -not-yet-valid, -untrusted, -certificate-version."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
