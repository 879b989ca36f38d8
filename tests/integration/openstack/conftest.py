"""Fixtures of what is tried on a real OpenStack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from labs.openstack.standing import Cloud
from openstack_stage import Stage


@pytest.fixture
def stage(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """What the test makes in the cloud goes with it."""
    with ExitStack() as exits:
        yield Stage(cloud, f"vnfm-{os.getpid()}-{request.node.name[5:30]}", exits)


@pytest.fixture
def lab(cloud: Cloud) -> Path:
    """The lab's folder; any other cloud will not do."""
    if cloud.lab is None:
        pytest.skip(f"tries the lab itself; OS_CLOUD is {cloud.member}")
    return cloud.lab
