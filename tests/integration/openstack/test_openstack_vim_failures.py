"""What a cloud refuses, and what becomes of its services, comes to the caller as one Problem with the real cause."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml
from labs.openstack import health, services
from labs.openstack.lab import Lab, url
from labs.openstack.processes import Processes
from labs.openstack.standing import Cloud
from openstack_stage import Stage
from openstack_vim import Refused, Vim, plugin, port

from vnfm.pb.common.v1.common_pb2 import Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb

pytestmark = [pytest.mark.openstack, pytest.mark.usefixtures("lab"), pytest.mark.timeout(600)]
SIMULATED, BOOTING = "sim-1", "tcg-1"
BARE = b"vnfm: nothing boots from this\n" * 40_000
AWAY_S = 60.0
PASSWORD = uuid.uuid4().hex


@pytest.fixture
def vim(cloud: Cloud) -> Iterator[Vim]:
    """As admin, who chooses the machine."""
    with plugin(cloud, cloud.admin) as found:
        yield found


def no_disk(folder: Path) -> bytes:
    """Bytes of this test alone, and no qcow2."""
    return os.urandom(1 << 20)


def others_disk(folder: Path) -> bytes:
    """A qcow2 that would have its guest read a file of the host that it runs on."""
    disk = folder / "disk.qcow2"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/shadow", str(disk), "1M"]
    subprocess.run(words, check=True)
    return disk.read_bytes()


@pytest.mark.parametrize("made", [no_disk, others_disk])
def test_an_image_that_nova_does_not_take_is_told_as_such(vim: Vim, tmp_path: Path, made: Any) -> None:
    image = vim.image(made(tmp_path), "qcow2")
    with pytest.raises(Refused) as refused:
        vim.compute(BOOTING, image, image_format="qcow2")
    assert refused.value.word == "bad-image", refused.value
    assert refused.value.problem.retry == Problem.NEVER
    (left,) = vim.query()
    assert left.state == pb.STATE_FAILED
    assert [handle.resource_id for handle in refused.value.problem.partial] == [left.handle.resource_id]


def test_the_same_bytes_are_not_booted_in_another_format(vim: Vim) -> None:
    image = vim.image(os.urandom(1 << 16), "raw")
    with pytest.raises(Refused) as refused:
        vim.compute(SIMULATED, image, image_format="qcow2")
    assert refused.value.word == "invalid-request", refused.value
    assert "boot.format" in refused.value.problem.detail
    assert vim.query() == []
    assert vim.compute(SIMULATED, image, image_format="raw").state == pb.STATE_RUNNING


def test_an_address_that_another_one_has_is_told_as_such(vim: Vim) -> None:
    link, image = vim.link("10.88.0.0/24"), vim.image(BARE, "raw")
    vim.compute(SIMULATED, image, port("in", link, "10.88.0.5/24"))
    with pytest.raises(Refused) as refused:
        vim.compute(SIMULATED, image, port("in", link, "10.88.0.5/24"))
    assert refused.value.word == "address-in-use", refused.value
    assert "10.88.0.5" in refused.value.problem.detail


def test_a_strangers_stack_keeps_its_name(vim: Vim, stage: Stage) -> None:
    """Nobody but a stranger could have made it: it has the name that ours would have, and no stamp."""
    known = vim.link()
    (ours,) = [one for one in stage.admin.orchestration.stacks() if one.name.endswith(known.handle.resource_id)]
    wanted = str(uuid.uuid4())
    name = ours.name.replace(known.handle.resource_id, wanted)
    made = stage.admin.orchestration.create_stack(name=name, template={"heat_template_version": "2018-08-31"})
    stage.keep(stage.admin.orchestration.delete_stack, made)
    with pytest.raises(Refused) as refused:
        vim.link(resource_id=wanted)
    assert refused.value.word == "already-exists", refused.value
    assert name in refused.value.problem.detail
    vim.terminate(wanted)
    assert stage.admin.orchestration.find_stack(name) is not None, "what bears no stamp is not touched"


def test_an_api_that_is_away_for_a_minute_is_waited_for_or_told(cloud: Cloud, lab: Path) -> None:
    with (
        plugin(cloud, cloud.member, patience_s=240) as patient,
        plugin(cloud, cloud.member, patience_s=2) as hurried,
        ThreadPoolExecutor(1) as aside,
    ):
        begun_s = time.monotonic()
        with away(lab, "heat"):
            waits = aside.submit(patient.link, "10.89.0.0/24")
            with pytest.raises(Refused) as refused:
                hurried.link("10.89.0.0/24")
            assert refused.value.word == "vim-unavailable", refused.value
            assert refused.value.problem.retry == Problem.SAME_CALL
            assert "orchestration" in refused.value.problem.detail
            while time.monotonic() < begun_s + AWAY_S:
                assert not waits.done(), "nobody was there who could have made it"
                time.sleep(1)
        assert waits.result().state == pb.STATE_RUNNING
        assert hurried.link("10.89.0.0/24").state == pb.STATE_RUNNING


def test_a_token_that_keystone_has_revoked_is_renewed(cloud: Cloud, lab: Path, stage: Stage, tmp_path: Path) -> None:
    own = tenant(cloud, stage, tmp_path)
    with plugin(own, own.member) as vim:
        vim.link("10.90.0.0/24")
        user = stage.connection(own.member)
        token = user.authorize()
        stage.admin.identity.update_user(user.current_user_id, password=PASSWORD)
        with away(
            lab, "heat"
        ):  # services take for minutes what they have found to be valid once: not this one any more
            pass
        assert heats_answer(user.current_project_id, token) == 401, "what was revoked does not count"
        assert vim.link("10.91.0.0/24").state == pb.STATE_RUNNING


def tenant(cloud: Cloud, stage: Stage, folder: Path) -> Cloud:
    """Another user of the member's project, whom nobody else knows."""
    assert cloud.clouds_file is not None
    keystone, name = stage.admin.identity, f"vnfm-{uuid.uuid4().hex[:8]}"
    project = stage.member.current_project_id
    user = keystone.create_user(name=name, password=PASSWORD, domain_id="default", default_project_id=project)
    stage.keep(keystone.delete_user, user)
    for role in ("member", "reader", "heat_stack_owner"):
        keystone.assign_project_role_to_user(project, user, keystone.find_role(role))
    entry: dict[str, Any] = yaml.safe_load(cloud.clouds_file.read_text())["clouds"][cloud.member]
    entry["auth"].update(username=name, password=PASSWORD)
    file = folder / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {name: entry}}))
    config = openstack.config.OpenStackConfig(config_files=[str(file)], secure_files=[], load_envvars=False)
    stage.enter(name, openstack.connection.Connection(config=config.get_one(name)))
    return replace(cloud, member=name, clouds_file=file)


def heats_answer(project: str, token: str) -> int:
    """The status that Heat answers with to who shows this token."""
    request = urllib.request.Request(url("heat", f"/v1/{project}/stacks"), headers={"X-Auth-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


@contextmanager
def away(folder: Path, name: str) -> Iterator[None]:
    """One of the lab's services ends, and is there again afterwards."""
    lab = Lab(folder)
    processes = Processes(lab)
    (service,) = [one for one in services.everything(lab) if one.name == name]
    processes.stop([name])
    try:
        yield
    finally:
        processes.start(service)
        health.wait_for_service(service, processes)
