"""What tests make in a cloud, noted and taken away again, the last first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import openstack
from labs.openstack.standing import Cloud

NOVA_SECONDS = 300


class Stage:
    """Makes things in projects of the cloud; the stack of exits takes them away."""

    def __init__(self, cloud: Cloud, name: str, exits: ExitStack) -> None:
        self.cloud, self.name, self._exits = cloud, name, exits
        self._connections: dict[str, Any] = {}

    def connection(self, name: str | None) -> Any:
        """A connection to one of clouds.yaml's clouds."""
        assert name is not None
        if name not in self._connections:
            self.enter(name, openstack.connect(cloud=name))
        return self._connections[name]

    def enter(self, name: str, connection: Any) -> None:
        """A connection that is known by this name from now on."""
        self._connections[name] = connection
        self._exits.callback(connection.close)

    @property
    def member(self) -> Any:
        """The plain tenant."""
        return self.connection(self.cloud.member)

    @property
    def admin(self) -> Any:
        """Who may do everything."""
        return self.connection(self.cloud.admin)

    def network(self, who: Any, cidr: str, **provider: Any) -> Any:
        """A network with one subnet."""
        made = who.network.create_network(name=f"{self.name}-{cidr.split('/')[0]}", **provider)
        self._exits.callback(who.network.delete_network, made.id)
        who.network.create_subnet(network_id=made.id, ip_version=4, cidr=cidr, gateway_ip=None)
        return made

    def port(self, who: Any, network: Any, **values: Any) -> Any:
        """A port on a network."""
        made = who.network.create_port(network_id=network.id, **values)
        self._exits.callback(who.network.delete_port, made.id)
        return made

    def server(self, who: Any, image: str, flavor: str, networks: list[Mapping[str, str]], **values: Any) -> Any:
        """A server that is ACTIVE."""
        made = self.ordered(who, image, flavor, networks, **values)
        return who.compute.wait_for_server(made, wait=NOVA_SECONDS)

    def ordered(self, who: Any, image: str, flavor: str, networks: list[Mapping[str, str]], **values: Any) -> Any:
        """A server as Nova has taken the order."""
        found = who.image.find_image(image, ignore_missing=False)
        size = who.compute.find_flavor(flavor, ignore_missing=False)
        words = {"image_id": found.id, "flavor_id": size.id, "networks": networks, **values}
        made = who.compute.create_server(name=f"{self.name}-{time.monotonic_ns() % 10**6}", **words)
        self._exits.callback(self._end, who, made)
        return made

    def console(self, who: Any, server: Any) -> str:
        """What a server has said on its console."""
        said = who.compute.get_server_console_output(server)
        return str(said["output"] if isinstance(said, dict) else said)

    def keep(self, callback: Any, *words: Any) -> None:
        """Note how something else is taken away."""
        self._exits.callback(callback, *words)

    def _end(self, who: Any, server: Any) -> None:
        who.compute.delete_server(server)
        who.compute.wait_for_delete(server, wait=NOVA_SECONDS)
