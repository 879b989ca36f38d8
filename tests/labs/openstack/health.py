"""Whether the lab is well: by its processes, by what listens, and by what the cloud says of itself."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable

from openstack.exceptions import SDKException

from .console import wait_for
from .identities import Connection
from .lab import HOST, PORTS, Lab, url
from .processes import Processes, Service, listens
from .services import everything

AGENTS = frozenset({"Linux bridge agent", "DHCP agent", "Metadata agent"})
# What is no HTTP API.
PLAIN_PORTS = ("mariadb", "epmd", "rabbitmq")


def answers(service: Service) -> bool:
    """Whether a service with a port answers on it as it should."""
    if service.port is None:
        return True
    if service.port == "rabbitmq":
        return _speaks_amqp()
    return listens(service.port) if service.port in PLAIN_PORTS else _speaks_http(service.port)


def troubles(lab: Lab, processes: Processes) -> list[str]:
    """What is wrong with the services, in a line each; nothing when all run and answer."""
    found = []
    for service in everything(lab):
        if processes.pid(service.name) is None:
            found.append(f"{service.name} does not run (log: {lab.log(service.name)})")
        elif not answers(service):
            found.append(f"{service.name} runs and does not answer (log: {lab.log(service.name)})")
    return found


def wait_for_service(service: Service, processes: Processes, seconds: float = 180) -> None:
    """Wait until it answers; LabError when it dies meanwhile."""

    def ready() -> bool:
        processes.must_run(service.name)
        return answers(service)

    wait_for(service.name, ready, seconds)


def wait_for_cloud(lab: Lab, cloud: Connection, processes: Processes, running: list[str]) -> None:
    """Wait until compute hosts, network agents and Heat's engine have reported; LabError when one dies meanwhile."""

    def living(ready: Callable[[], bool]) -> Callable[[], bool]:
        def asked() -> bool:
            for name in running:
                processes.must_run(name)
            return ready()

        return asked

    wait_for("compute services", living(lambda: set(lab.hosts) <= _compute_hosts(cloud)), 240, 1)
    wait_for("hypervisors", living(lambda: set(lab.hosts) <= _hypervisors(cloud)), 120, 1)
    wait_for("network agents", living(lambda: _agents(cloud) >= AGENTS), 120, 1)
    wait_for("Heat's engine", living(lambda: any(one["status"] == "up" for one in _engines(cloud))), 120, 1)


def silent(lab: Lab, cloud: Connection) -> list[str]:
    """What the cloud itself says is not there, in a line each."""
    try:
        found = [f"Nova: the compute service of {host} is down" for host in set(lab.hosts) - _compute_hosts(cloud)]
        return sorted(found + [f"Neutron: no living {kind}" for kind in AGENTS - _agents(cloud)])
    except SDKException as trouble:
        return [f"the cloud cannot tell how it is: {trouble}"]


def _compute_hosts(cloud: Connection) -> set[str]:
    return {one.host for one in cloud.compute.services(binary="nova-compute") if one.state == "up"}


def _hypervisors(cloud: Connection) -> set[str]:
    # by their services: libvirt's hypervisor itself is called as the machine is
    return {one.service_details["host"] for one in cloud.compute.hypervisors(details=True)}


def _agents(cloud: Connection) -> set[str]:
    return {one.agent_type for one in cloud.network.agents() if one.is_alive}


def _engines(cloud: Connection) -> list[dict[str, str]]:
    answer = cloud.orchestration.get("/services")
    return answer.json().get("services", []) if answer.ok else []


def _speaks_http(port: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url(port, "/"), timeout=10).close()
    except urllib.error.HTTPError as refusal:
        return refusal.code < 500
    except OSError:
        return False
    return True


def _speaks_amqp() -> bool:
    """A broker answers the protocol's header with a frame (AMQP 0-9-1, 4.2.2)."""
    try:
        with socket.create_connection((HOST, PORTS["rabbitmq"]), 2) as link:
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return link.recv(1) == b"\x01"
    except OSError:
        return False
