"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from labs.openstack.standing import Cloud, standing

# A shell's background job ignores Ctrl-C, and so would every program that is started from here to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What needs an OpenStack runs where there is one."""
    if item.get_closest_marker("openstack"):
        found = standing(os.environ)
        if isinstance(found, str):
            pytest.skip(found)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """The OpenStack of tests marked `openstack`; openstacksdk and plugins find its clouds.yaml by the environment."""
    found = standing(os.environ)
    if isinstance(found, str):
        pytest.skip(found)
    with pytest.MonkeyPatch.context() as patch:
        if found.clouds_file is not None:
            patch.setenv("OS_CLIENT_CONFIG_FILE", str(found.clouds_file))
        yield found
