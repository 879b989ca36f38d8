"""The contract's fixtures: each target once, its process shared, each test a manager of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract_client import Caller, private_folder, spawned
from contract_targets import Target, all_targets
from contract_world import Running, World


def _params() -> list[object]:
    return [
        pytest.param(target, id=target.name, marks=[getattr(pytest.mark, mark) for mark in target.marks])
        for target in all_targets()
    ]


@pytest.fixture(scope="session", params=_params())
def target(request: pytest.FixtureRequest) -> Target:
    """Each plugin of the table."""
    found: Target = request.param
    if reason := found.skip():
        pytest.skip(f"{found.name}: {reason}")
    return found


@pytest.fixture
def spawnable(target: Target) -> Target:
    """Only plugins that the test can start and stop."""
    if not target.argv:
        pytest.skip(f"{target.name} is reached by address: its process is not ours to stop")
    return target


@pytest.fixture(scope="session")
def running(target: Target) -> Iterator[Running]:
    """The target's process, started and configured once."""
    if target.address:
        yield _greet(target, target.address)
        return
    with private_folder() as folder, spawned(target, folder) as process:
        yield _greet(target, process.address)


def _greet(target: Target, address: str) -> Running:
    caller = Caller(address)
    offer = caller.hello(target)
    caller.close()
    return Running(target, address, offer)


@pytest.fixture
def caller(running: Running) -> Iterator[Caller]:
    """A manager that nobody has heard of; what it has made is swept away afterwards."""
    found = Caller(running.address)
    yield found
    found.sweep()
    found.close()


@pytest.fixture
def world(caller: Caller, running: Running) -> World:
    """Requests of that manager."""
    return World(caller, running.target)
