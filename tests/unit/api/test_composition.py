"""What `vnfm serve` is told, and where it listens."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import grpc.aio
import pytest
import structlog

from vnfm.api.listening import bind
from vnfm.app import locked_state, run
from vnfm.model.problem import ProblemError
from vnfm.settings import default_state_dir, parse_vim, settings_for


def bound(listen: str) -> str:
    async def main() -> str:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        try:
            return bind(server, listen)
        finally:
            await server.stop(0)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "name", "kind", "config"),
    [
        ("m=mock", "m", "mock", {}),
        ("far=grpc:127.0.0.1:5000", "far", "grpc:127.0.0.1:5000", {}),
        ("x=exec:/opt/plugin", "x", "exec:/opt/plugin", {}),
        ("m=mock:hosts.yaml", "m", "mock", {"hosts": 3}),
        ("m=mock:script.yaml", "m", "mock", {"script": [{"match": {"rpc": "Exec"}, "do": "fail"}]}),
    ],
)
def test_a_vim_is_told_by_name_kind_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, kind: str, config: object
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hosts.yaml").write_text("hosts: 3\n")
    Path("script.yaml").write_text("[{match: {rpc: Exec}, do: fail}]\n")
    made = parse_vim(text)
    assert (made.name, made.kind, made.config) == (name, kind, config)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mock", "expected NAME=KIND"),
        ("=mock", "expected NAME=KIND"),
        ("m=", "expected NAME=KIND"),
        ("../m=mock", "VIM name"),
        ("m/x=mock", "VIM name"),
        ("m=mock:missing.yaml", "missing.yaml"),
        ("m=mock:broken.yaml", "broken.yaml"),
        ("m=local:list.yaml", "expected a mapping of settings, found list"),
    ],
)
def test_a_vim_that_makes_no_sense_is_refused_by_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text("{a: [")
    Path("list.yaml").write_text("[1]")
    with pytest.raises(ProblemError, match=why) as refused:
        parse_vim(text)
    assert refused.value.problem.word == "vim-config"


def test_a_local_vim_keeps_its_data_below_the_state_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert settings_for(tmp_path, "l", "local", {}).config == {"state_dir": str(tmp_path / "vim" / "l" / "data")}
    assert settings_for(tmp_path, "l", "local", {"state_dir": "/x"}).config == {"state_dir": "/x"}
    with pytest.raises(ProblemError, match="no VIM plugin 'nimbus'"):
        settings_for(tmp_path, "n", "nimbus", {})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--vim", "m=nimbus"], "no VIM plugin 'nimbus'"),
        (["--vim", "m"], "expected NAME=KIND"),
        (["--vim", "m=mock", "--vim", "m=mock"], "two VIMs are called m"),
        (["--vim", "m=mock", "--listen", "0.0.0.0:0"], "only loopback"),
        (["--vim", "m=mock", "--listen", "nowhere"], "expected unix:PATH or HOST:PORT"),
        (["--vim", "m=mock", "--database", "nosuch://x"], "SQLAlchemy URL"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    vims = [v for k, v in zip(arguments[::2], arguments[1::2], strict=True) if k == "--vim"]
    try:
        assert run(tmp_path / "s", options.get("--listen", ""), options.get("--database", ""), vims) == 2
    finally:
        structlog.reset_defaults()  # a command sets up the whole process's log
    assert told in capfd.readouterr().err


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:0", "example.org:0", "[::]:0", ":0", "*:0"])
def test_no_address_beyond_this_host_is_served(listen: str) -> None:
    with pytest.raises(ProblemError, match="only loopback addresses"):
        bound(listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "127.0.0.1:http", "127.0.0.1", "unix", "127.0.0.1:-1"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ProblemError, match="expected unix:PATH or HOST:PORT"):
        bound(listen)


def test_loopback_is_served_on_a_free_port_that_is_told() -> None:
    host, _, port = bound("127.0.0.1:0").rpartition(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) <= 65535


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ProblemError, match="cannot be bound") as refused:
            bound(f"127.0.0.1:{taken.getsockname()[1]}")
        assert refused.value.problem.word == "bad-listen"


def test_a_file_in_the_way_of_the_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ProblemError, match="is no socket"):
        bound(f"unix:{path}")
    assert path.read_text() == "data"


def test_the_socket_of_a_server_that_answers_is_not_stolen(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ProblemError, match="another server answers"):
            bound(f"unix:{path}")
        assert path.exists()
    assert bound(f"unix:{path}") == f"unix:{path}"  # the other is gone, its socket is left


def test_a_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def main() -> int:
        server = grpc.aio.server()
        bind(server, f"unix:{tmp_path}/deep/er/s")
        await server.start()
        mode = (tmp_path / "deep" / "er" / "s").stat().st_mode
        await server.stop(0)
        return stat.S_IMODE(mode)

    assert asyncio.run(main()) & 0o077 == 0


def test_a_path_that_the_kernel_does_not_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="107 bytes"):
        bound(f"unix:{tmp_path}/{'x' * 100}")


def test_a_second_manager_on_one_state_folder_is_refused_by_name(tmp_path: Path) -> None:
    with locked_state(tmp_path), pytest.raises(ProblemError, match=f"pid {os.getpid()}") as refused:
        locked_state(tmp_path).__enter__()
    assert refused.value.problem.word == "state-in-use"
    with locked_state(tmp_path):
        pass


def test_where_state_is_kept_by_default() -> None:
    assert default_state_dir({}, 0) == Path("/var/lib/vnfm")
    assert default_state_dir({"XDG_STATE_HOME": "/x"}, 1000) == Path("/x/vnfm")
    assert default_state_dir({}, 1000) == Path.home() / ".local/state/vnfm"
