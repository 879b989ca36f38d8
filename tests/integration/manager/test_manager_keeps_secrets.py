"""Credentials of a VIM that is added at run time: sealed on the disk, seen by its plugin alone, not lost with a key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from manager_harness import ROOT, Manager, manager

from vnfm.model.problem import ProblemError
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.settings import parse_vim
from vnfm.store.sealing import new_key_file

PIN, TOKEN = "hunter2-pin", "hunter2-token"
CONFIG = {"hosts": 1, "user": "u", "pin": PIN, "tenants": {"gold": {"token": TOKEN}}}
PLUGIN = """
import dataclasses, json, sys
from pathlib import Path
from plugins.mock.plugin import make_plugin
from vnfm.pluginkit import serve
from vnfm.pluginkit.problems import invalid

told, state = Path(sys.argv[1]), Path(sys.argv[2])

def made():
    plugin = make_plugin(state, frozenset())
    async def configure(config, secrets):
        told.write_text(json.dumps({"config": config, "secrets": secrets}))
        if secrets.get("pin") == "wrong-pin":
            raise invalid("config.pin", f"nobody is let in with {secrets['pin']}")
        await plugin.configure({"hosts": config["hosts"]}, {})
    secret = {"type": "string", "writeOnly": True, "minLength": 4}
    tenants = {"type": "object", "additionalProperties": {"type": "object", "properties": {"token": secret}}}
    properties = {"hosts": {}, "user": {"type": "string"}, "pin": secret, "tenants": tenants}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return dataclasses.replace(plugin, configure=configure, config_schema=schema)

sys.exit(serve.run("keeper", "1", made, ["--listen", "127.0.0.1:0"]))
"""


class Far:
    """A plugin that runs by itself and notes what it was configured with."""

    def __init__(self, folder: Path) -> None:
        self.told = folder / "told.json"
        argv = [sys.executable, "-c", PLUGIN, str(self.told), str(folder / "mock.sqlite")]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.kind = f"grpc:{self.process.stdout.readline().split('|')[3]}"

    def request(self, **more: Any) -> pb.AddVimRequest:
        request = pb.AddVimRequest(name="far", kind=self.kind)
        json_format.ParseDict({**CONFIG, **more}, request.config)
        return request


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def key_of(folder: Path, name: str = "key") -> tuple[str, str]:
    if not (folder / name).exists():
        new_key_file(folder / name)
    return "--key-file", str(folder / name)


def state_of(served: Manager) -> pb.Vim:
    return served.vims.GetVim(pb.GetRequest(ref="far"), timeout=30)


def told_by(error: grpc.RpcError) -> str:
    return f"{error.details()} {error.trailing_metadata()}"


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_secrets_reach_the_plugin_apart_and_stand_nowhere_else(tmp_path: Path, far: Far) -> None:
    with manager(tmp_path, args=key_of(tmp_path)) as served:
        shown = served.vims.AddVim(far.request(), timeout=60)
        assert shown.state == "CONNECTED"
        told = json.loads(far.told.read_text())
        assert told["secrets"] == {"pin": PIN, "tenants/gold/token": TOKEN}
        assert told["config"] == {"hosts": 1, "user": "u", "tenants": {"gold": {}}}
        assert "hunter2" not in str(shown) + str(list(served.vims.ListVims(pb.ListRequest())))
        proc = Path("/proc", str(served.process.pid))
        assert b"hunter2" not in (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        assert b"hunter2" not in read_all(tmp_path / "s") + (tmp_path / "manager.log").read_bytes()
    with manager(tmp_path, args=key_of(tmp_path)) as served:
        far.told.unlink(missing_ok=True)
        served.vims.GetInventory(pb.GetRequest(ref="far"), timeout=60)
        assert json.loads(far.told.read_text())["secrets"] == {"pin": PIN, "tenants/gold/token": TOKEN}
        assert b"hunter2" not in read_all(tmp_path / "s") + (tmp_path / "manager.log").read_bytes()


def test_a_manager_without_the_key_says_so_and_nothing_is_lost(tmp_path: Path, far: Far) -> None:
    with manager(tmp_path, args=key_of(tmp_path)) as served:
        served.vims.AddVim(far.request(), timeout=60)
    for args, why in (((), "was given no key"), (key_of(tmp_path, "other"), "was given key ")):
        with manager(tmp_path, args=args) as served:
            found = state_of(served)
            assert (found.state, why in found.detail) == ("FAILED", True), found
            assert served.vims.GetVim(pb.GetRequest(ref="m")).state in ("STARTING", "CONNECTED")
            with pytest.raises(grpc.RpcError) as refused:
                served.vims.GetInventory(pb.GetRequest(ref="far"), timeout=60)
            assert "secrets-locked" in told_by(refused.value)
    with manager(tmp_path, args=key_of(tmp_path)) as served:
        served.vims.GetInventory(pb.GetRequest(ref="far"), timeout=60)
        assert state_of(served).state == "CONNECTED"


@pytest.mark.parametrize(
    ("more", "keyed", "word"),
    [
        ({}, False, "no-key"),
        ({"pin": "abc"}, True, "vim-config"),
        ({"pin": "wrong-pin"}, True, "invalid-request"),
        ({"tenants": TOKEN}, True, "vim-config"),
    ],
)
def test_a_refusal_quotes_no_secret_and_keeps_nothing(
    tmp_path: Path, far: Far, more: dict[str, Any], keyed: bool, word: str
) -> None:
    with manager(tmp_path, args=key_of(tmp_path) if keyed else ()) as served:
        with pytest.raises(grpc.RpcError) as refused:
            served.vims.AddVim(far.request(**more), timeout=60)
        said = told_by(refused.value)
        assert word in said
        if more.get("tenants") != TOKEN:  # there it is no secret that the schema knows
            assert not [secret for secret in (PIN, TOKEN, "'abc'", "wrong-pin") if secret in said]
        assert [vim.name for vim in served.vims.ListVims(pb.ListRequest())] == ["m"]
    log = (tmp_path / "manager.log").read_text()
    assert not [secret for secret in (PIN, "'abc'", "wrong-pin") if secret in log]


def test_a_key_is_changed_for_a_passphrase_while_the_manager_is_stopped(tmp_path: Path, far: Far) -> None:
    def rotate(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "vnfm.main", "key", "rotate", "--state", str(tmp_path / "s"), *words]
        return subprocess.run(argv, cwd=ROOT, input=said, capture_output=True, text=True, timeout=60, check=False)

    with manager(tmp_path, args=key_of(tmp_path)) as served:
        served.vims.AddVim(far.request(), timeout=60)
        busy = rotate(*key_of(tmp_path), "--new-passphrase", said="open sesame\n")
        assert (busy.returncode, "in use" in busy.stderr) == (1, True), busy.stderr
    wrong = rotate(*key_of(tmp_path, "other"), "--new-passphrase", said="open sesame\n")
    assert (wrong.returncode, "nothing is lost" in wrong.stderr) == (1, True), wrong.stderr
    done = rotate(*key_of(tmp_path), "--new-passphrase", said="open sesame\n")
    assert (done.returncode, done.stdout) == (0, "sealed anew: far\n"), done.stderr
    with manager(tmp_path, args=key_of(tmp_path)) as served:
        assert "sealed with a passphrase" in state_of(served).detail
    back = rotate("--passphrase", *("--new-key-file", key_of(tmp_path)[1]), said="open sesame\n")
    assert back.returncode == 0, back.stderr
    with manager(tmp_path, args=key_of(tmp_path)) as served:
        served.vims.GetInventory(pb.GetRequest(ref="far"), timeout=60)


def test_a_file_that_is_no_yaml_is_told_by_its_place_only(tmp_path: Path) -> None:
    (tmp_path / "pop1.yaml").write_text(f"user: u\npin: {PIN}: {TOKEN}\n")
    with pytest.raises(ProblemError, match=r"line 2, column") as refused:
        parse_vim(f"pop1=openstack:{tmp_path / 'pop1.yaml'}")
    assert "hunter2" not in str(refused.value)
