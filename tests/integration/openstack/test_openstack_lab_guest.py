"""A guest that really boots in the lab is reached over both of the ways that lead into a cloud."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable

import pytest
from labs.openstack.lab import VXLAN_GROUP, VXLAN_PORT
from openstack_machine import machine
from openstack_stage import Stage

pytestmark = [pytest.mark.openstack, pytest.mark.usefixtures("lab"), pytest.mark.timeout(600)]

BOOT_SECONDS = 400
SEGMENT_MTU = 1400
HEADERS_BYTES = 28  # IPv4 and ICMP


def test_a_guest_answers_on_the_provider_network_and_on_its_own_vxlan_segment(stage: Stage) -> None:
    flat = {"provider_network_type": "flat", "provider_physical_network": "physnet1", "shared": True}
    outside = stage.network(stage.admin, "10.71.1.0/24", **flat)
    inside = stage.network(stage.member, "10.71.2.0/24")
    ports = [stage.port(stage.member, network) for network in (outside, inside)]
    server = stage.server(
        stage.member,
        "lab-guest",
        "lab.guest",
        [{"port": port.id} for port in ports],
        availability_zone="tcg",
        user_data=base64.b64encode(b"words for the guest").decode(),
    )
    _await(
        lambda: "LAB-GUEST ready" in stage.console(stage.member, server), lambda: stage.console(stage.member, server)
    )
    addresses = [port.fixed_ips[0]["ip_address"] for port in ports]
    segment = stage.admin.network.get_network(inside.id)
    assert (segment.provider_network_type, segment.mtu) == ("vxlan", SEGMENT_MTU)

    with machine(f"lab{os.getpid()}a", stage.cloud.wires["physnet1"], "10.71.1.250/24") as neighbour:
        assert neighbour.pings(addresses[0]) == 5
        told = json.loads(neighbour.page(addresses[0], "meta_data.json"))
        assert told["uuid"] == server.id
        assert neighbour.page(addresses[0], "user_data").strip() == "words for the guest"
    filters = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert f"tap{ports[0].id[:11]}" not in filters, "the host's packet filter is not the lab's to fill"
    with machine(f"lab{os.getpid()}b", stage.cloud.underlay, "198.51.100.77/24") as far:
        far.join_vxlan(segment.provider_segmentation_id, VXLAN_PORT, VXLAN_GROUP, "10.71.2.250/24", segment.mtu)
        assert far.pings(addresses[1]) == 5
        assert far.pings(addresses[1], count=3, payload_bytes=segment.mtu - HEADERS_BYTES) == 3


def _await(ready: Callable[[], bool], tell: Callable[[], str]) -> None:
    end = time.monotonic() + BOOT_SECONDS
    while not ready():
        assert time.monotonic() < end, tell()[-2000:]
        time.sleep(1)
