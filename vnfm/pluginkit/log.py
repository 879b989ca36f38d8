"""A plugin's log: one JSON object a line on stderr, no secrets in it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET = re.compile(r"secret|passw|token|credential|api_?key|private_?key|cookie", re.IGNORECASE)


def set_up(plugin_name: str) -> None:
    """Send structlog's lines, and the standard library's warnings, to stderr as JSON."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(plugin=plugin_name)
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide the values of keys that sound like secrets, at any depth."""
    return {key: _hidden(key, value) for key, value in event.items()}


def _hidden(key: str, value: Any) -> Any:
    if _SECRET.search(key):
        return "***"
    if isinstance(value, dict):
        return {name: _hidden(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden("", part) for part in value]
    return value


class _Stderr:
    """Writes lines and survives a manager that is gone: a broken pipe must not stop the shutdown."""

    def msg(self, message: str) -> None:
        try:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), exc_info=record.exc_info if record.exc_info else None
        )
