"""A plugin's process: started by the manager over a private unix socket, or reached by address with mutual TLS.

Started by the manager: VNFM_PLUGIN_COOKIE says so, VNFM_PLUGIN_DIR is a folder for the socket that nobody else may
enter. One line on stdout, `1|1|unix|PATH|grpc` (line format, API version, network, address, protocol), then stdout is
closed to /dev/null; the log goes to stderr. When stdin ends, the manager is gone: the plugin stops, so that none is
left to act twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import log as plugin_log
from vnfm.pluginkit.core import Core
from vnfm.pluginkit.exchange import CallsServicer
from vnfm.pluginkit.handlers import Plugin
from vnfm.pluginkit.observe import ObservationServicer
from vnfm.pluginkit.servicers import IdentityServicer, ImagesServicer, InventoryServicer, ResourcesServicer
from vnfm.pluginkit.work import ComputeServicer, NetworkServicer, StorageServicer

COOKIE = "VNFM_PLUGIN_COOKIE"
FOLDER = "VNFM_PLUGIN_DIR"
MESSAGE_BYTES = 16 << 20
_GRACE_S = 1.0  # calls in flight may end by themselves; watches never do
_CLOSE_S = 3.0  # the plugin may let go of what it holds
_HARD_S = 10.0  # then the process ends, whatever hangs
_UNIX_PATH_BYTES = 107

log = structlog.get_logger("vnfm.pluginkit")


class Unusable(Exception):
    """The process cannot serve as it was started; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of mutual TLS: our certificate and key, and the authority whose clients may call."""

    cert: Path
    key: Path
    client_ca: Path

    def credentials(self) -> grpc.ServerCredentials:
        """For a server that insists on the client's certificate."""
        pair = (self.key.read_bytes(), self.cert.read_bytes())
        return grpc.ssl_server_credentials([pair], self.client_ca.read_bytes(), require_client_auth=True)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to serve: a unix socket (managed by the manager, ends with stdin), or a TCP address."""

    network: str
    address: str
    tls: Tls | None = None

    @property
    def managed(self) -> bool:
        """Whether the manager started this process."""
        return self.network == "unix"


def run(name: str, version: str, make_plugin: Callable[[], Plugin], argv: Sequence[str]) -> int:
    """Serve until told to stop; returns the process's exit code (0 stopped, 1 failed, 2 wrongly started).

    `make_plugin` is called inside the running event loop. `argv` is without the program's name.
    """
    try:
        endpoint = _endpoint(name, argv, dict(os.environ))
    except Unusable as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    os.environ.pop(COOKIE, None)
    plugin_log.set_up(name)
    try:
        asyncio.run(_serve(name, version, make_plugin, endpoint))
        if endpoint.managed:
            Path(endpoint.address).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"{name}: cannot serve on {endpoint.address}: {error}\n")
        return 1
    return 0


def add_servicers(server: grpc.aio.Server, core: Core, name: str, version: str) -> list[str]:
    """Register the whole contract; returns the services' full names."""
    rpc.add_IdentityServicer_to_server(IdentityServicer(core, name, version), server)
    rpc.add_InventoryServicer_to_server(InventoryServicer(core), server)
    rpc.add_ResourcesServicer_to_server(ResourcesServicer(core), server)
    rpc.add_ImagesServicer_to_server(ImagesServicer(core), server)
    rpc.add_ComputeServicer_to_server(ComputeServicer(core), server)
    rpc.add_StorageServicer_to_server(StorageServicer(core), server)
    rpc.add_NetworkServicer_to_server(NetworkServicer(core), server)
    rpc.add_ObservationServicer_to_server(ObservationServicer(core), server)
    rpc.add_CallsServicer_to_server(CallsServicer(core), server)
    return [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]


async def _serve(name: str, version: str, make_plugin: Callable[[], Plugin], endpoint: Endpoint) -> None:
    plugin = make_plugin()
    core = Core(plugin)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ]
    )
    services = add_servicers(server, core, name, version)
    healths = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    for service in ("", *services):
        await healths.set(service, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = _bind(server, endpoint)
    await server.start()
    stop = _stop_signal(endpoint)
    _announce(f"1|1|{endpoint.network}|{address}|grpc")
    log.info("serving", version=version, address=address)
    await stop.wait()
    log.info("stopping")
    _end_hard_later()
    await healths.enter_graceful_shutdown()
    await server.stop(_GRACE_S)
    await core.flights.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await plugin.close()


def _bind(server: grpc.aio.Server, endpoint: Endpoint) -> str:
    if endpoint.managed:
        server.add_insecure_port(f"unix:{endpoint.address}")
        return endpoint.address
    host = endpoint.address.rpartition(":")[0]
    if endpoint.tls is None:
        port = server.add_insecure_port(endpoint.address)
    else:
        port = server.add_secure_port(endpoint.address, endpoint.tls.credentials())
    return f"{host}:{port}"


def _announce(line: str) -> None:
    """The one line on stdout; afterwards neither we nor a child can disturb whoever reads it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _stop_signal(endpoint: Endpoint) -> asyncio.Event:
    """Set by SIGTERM, and where the manager started us by the end of stdin; a thread sees that, since stdin may be
    of any kind. Ctrl-C in the manager's terminal reaches us too, and is the manager's to handle."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if not endpoint.managed:
        loop.add_signal_handler(signal.SIGINT, stop.set)
        return stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        _end_hard_later()  # from here, since the loop itself may hang
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="stdin", daemon=True).start()
    return stop


def _end_hard_later() -> None:
    timer = threading.Timer(_HARD_S, os._exit, (70,))
    timer.daemon = True
    timer.start()


def _endpoint(name: str, argv: Sequence[str], env: dict[str, str]) -> Endpoint:
    parser = argparse.ArgumentParser(prog=name, description=f"VIM plugin {name}: started by vnfm, or by --listen")
    parser.add_argument("--listen", metavar="HOST:PORT", help="serve remote managers")
    parser.add_argument("--tls-cert", type=Path, help="our certificate (PEM)")
    parser.add_argument("--tls-key", type=Path, help="its key (PEM)")
    parser.add_argument("--tls-client-ca", type=Path, help="the authority of the managers' certificates (PEM)")
    args = parser.parse_args(argv)
    if args.listen is not None:
        return _remote(args.listen, args.tls_cert, args.tls_key, args.tls_client_ca)
    if not env.get(COOKIE):
        raise Unusable(
            f"this is a VIM plugin, which the manager starts (vnfm serve --vim NAME={name}); "
            "to serve remote managers give --listen HOST:PORT with --tls-cert, --tls-key and --tls-client-ca"
        )
    return Endpoint("unix", str(_socket(env.get(FOLDER, ""))))


def _remote(listen: str, cert: Path | None, key: Path | None, client_ca: Path | None) -> Endpoint:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise Unusable(f"--listen is {listen!r}, expected HOST:PORT")
    if cert and key and client_ca:
        for path in (cert, key, client_ca):
            if not os.access(path, os.R_OK):
                raise Unusable(f"{path} cannot be read")
        return Endpoint("tcp", listen, Tls(cert, key, client_ca))
    if cert or key or client_ca:
        raise Unusable("mutual TLS needs all of --tls-cert, --tls-key and --tls-client-ca")
    if not _loopback(host):
        raise Unusable(f"{host} is not loopback: give --tls-cert, --tls-key and --tls-client-ca")
    return Endpoint("tcp", listen)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _socket(folder: str) -> Path:
    if not folder:
        raise Unusable(f"{FOLDER} is not set: the manager names a private folder for the socket there")
    path = Path(folder)
    try:
        found = path.stat()
    except OSError as error:
        raise Unusable(f"{FOLDER}: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Unusable(f"{FOLDER}: {folder} must be a folder of ours with mode 0700")
    socket = path / f"{os.getpid()}.sock"
    if len(os.fsencode(socket)) > _UNIX_PATH_BYTES:
        raise Unusable(f"{FOLDER}: {folder} is too long for a unix socket ({_UNIX_PATH_BYTES} bytes with its name)")
    socket.unlink(missing_ok=True)
    return socket
