"""A fake manager behind a socket, and the command run against it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_manager import FakeManager, Run
from typer.testing import CliRunner

from vnfm.cli.main import app


@pytest.fixture
def manager() -> Iterator[FakeManager]:
    """Answers on a socket of its own (a short path: unix sockets end at 107 characters)."""
    with tempfile.TemporaryDirectory(prefix="vnfm-cli-") as folder:
        fake = FakeManager(Path(folder) / "m.sock")
        fake.start()
        yield fake
        fake.stop()


@pytest.fixture
def vnfm(manager: FakeManager, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`vnfm("chain", "list")`: the result has exit_code, stdout and stderr."""
    monkeypatch.setenv("VNFM_ENDPOINT", manager.endpoint)
    monkeypatch.delenv("VNFM_TENANT", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*args: str, **settings: Any) -> Any:
        return CliRunner().invoke(app, args, **settings)

    return run
