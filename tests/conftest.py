"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

TEMPLATES_ENV = "VNFM_MICROVM_TEMPLATES"


@pytest.fixture(scope="session", autouse=True)
def _templates_of_their_own() -> Iterator[None]:
    """Templates of microVMs stand in memory beside those of managers on this host; they go with the tests."""
    if TEMPLATES_ENV in os.environ:
        yield
        return
    folder = Path(f"/dev/shm/vnfm-tests-{os.getpid()}")
    os.environ[TEMPLATES_ENV] = str(folder)
    yield
    del os.environ[TEMPLATES_ENV]
    shutil.rmtree(folder, ignore_errors=True)
