"""Real namespaces on this host; every test must leave the host as it found it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_net_chains import Ids, terminate_all

from plugins.local.net import HostNetwork


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.host)
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: makes real network namespaces"))


@pytest.fixture
def ids() -> Ids:
    """Ids that no other test on this host uses."""
    return Ids(uuid.uuid4().hex[:10])


@pytest.fixture
def net(tmp_path: Path, ids: Ids) -> Iterator[HostNetwork]:
    """A network whose run folder and namespaces are checked to be empty in the end."""
    network = HostNetwork(tmp_path / "run")
    at_home = os.readlink("/proc/self/ns/net")
    yield network
    terminate_all(network)
    assert os.readlink("/proc/self/ns/net") == at_home, "the process changed its namespace"
    assert network.query() == []
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == []
    assert ids.namespaces_left() == []
