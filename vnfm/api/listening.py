"""Where the manager listens."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path

import grpc.aio

from vnfm.model.problem import problem

MAX_PORT = 65535
SOCKET_PATH_BYTES = 107  # what the kernel takes


def bind(server: grpc.aio.Server, listen: str) -> str:
    """Loopback or a unix socket only: there is no mutual TLS yet. Raises ProblemError `bad-listen`."""
    if listen.startswith("unix:"):
        path = Path(listen.removeprefix("unix:"))
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise problem("bad-listen", f"--listen: {path}: a socket's path may have {SOCKET_PATH_BYTES} bytes at most")
        _make_way(path)
        old = os.umask(0o077)
        try:
            _bind(server, f"unix:{path}")
        finally:
            os.umask(old)
        return f"unix:{path}"
    host, colon, port = listen.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise problem("bad-listen", f"--listen {listen}: expected unix:PATH or HOST:PORT, the port at most {MAX_PORT}")
    if not _is_loopback(host):
        raise problem(
            "bad-listen",
            f"--listen {listen}: only loopback addresses and unix sockets are served without mutual TLS; "
            "use 127.0.0.1 or a unix socket",
        )
    return f"{host}:{_bind(server, listen)}"


def _bind(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise problem("bad-listen", f"--listen {address}: cannot be bound: in use by another, or not ours") from error


def _make_way(path: Path) -> None:
    """For a new socket, where one of a manager that is no more may lie. Nothing else is touched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise problem("bad-listen", f"--listen: {path} is there already and is no socket; name another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)  # nobody answers there any more
            return
    raise problem("bad-listen", f"--listen: another server answers at {path}; stop it, or name another path")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
