"""The process dies between any two steps: the same call completes the work, and terminate leaves nothing."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from local_net_chains import Ids, WireGuest, build_steered, ping, terminate_all
from local_net_deaths import deaths

from plugins.local.net import HostNetwork, HostRefusedError, LinkSpec, Member, MemberKind, PortSpec, ResourceKind, State


def _members(ids: Ids, shape: str) -> tuple[Member, ...]:
    container = [Member(ids(name), "eth0", MemberKind.CONTAINER) for name in ("a", "b", "c")]
    return {
        "pair": (container[0], container[1]),
        "fabric": (container[0], Member(ids("b"), "eth0", MemberKind.KATA)),
        "bridge": tuple(container),
    }[shape]


def _check_link(net: HostNetwork, ids: Ids, spec: LinkSpec, shape: str) -> None:
    assert [one.state for one in net.query()] == [State.RUNNING]
    if shape == "fabric":
        return
    for index, member in enumerate(spec.members):
        net.configure_port(member.resource_id, PortSpec("eth0", (f"10.7.0.{index + 1}/24",)))
    assert ping(ids("a"), "10.7.0.2") == 3


@pytest.mark.parametrize("shape", ["pair", "fabric", "bridge"])
def test_a_link_is_completed_by_the_same_call_wherever_its_maker_died(
    net: HostNetwork, ids: Ids, tmp_path: Path, shape: str
) -> None:
    spec = LinkSpec(ids("link"), _members(ids, shape), ids("chain"))
    for _ in deaths(tmp_path / "run", lambda dying: dying.allocate_link(spec)):
        net.allocate_link(spec)
        _check_link(net, ids, spec, shape)
        net.terminate(spec.id, ResourceKind.LINK)
        assert ids.namespaces_left() == []


@pytest.mark.parametrize("shape", ["pair", "fabric", "bridge"])
def test_a_half_made_link_is_terminated_without_a_rest_wherever_its_maker_died(
    net: HostNetwork, ids: Ids, tmp_path: Path, shape: str
) -> None:
    spec = LinkSpec(ids("link"), _members(ids, shape), ids("chain"))
    for _ in deaths(tmp_path / "run", lambda dying: dying.allocate_link(spec)):
        net.terminate(spec.id, ResourceKind.LINK)
        assert net.query() == []
        assert ids.namespaces_left() == []


@pytest.mark.parametrize("shape", ["pair", "fabric", "bridge"])
def test_a_termination_is_completed_by_the_same_call(net: HostNetwork, ids: Ids, tmp_path: Path, shape: str) -> None:
    spec = LinkSpec(ids("link"), _members(ids, shape), ids("chain"))
    net.allocate_link(spec)
    for _ in deaths(tmp_path / "run", lambda dying: dying.terminate(spec.id, ResourceKind.LINK)):
        net.terminate(spec.id, ResourceKind.LINK)
        assert net.query() == []
        assert ids.namespaces_left() == []
        net.allocate_link(spec)


def test_a_path_is_completed_or_terminated_wherever_its_maker_died(net: HostNetwork, ids: Ids, tmp_path: Path) -> None:
    chain = build_steered(net, ids)
    guest = WireGuest(net, chain.guests[0])
    try:
        for step in deaths(tmp_path / "run", lambda dying: dying.allocate_path(chain.path)):
            if step % 2:
                net.terminate(chain.path.id, ResourceKind.PATH)
                assert not [one for one in net.query() if one.kind is ResourceKind.PATH]
                assert ping(chain.client, chain.server_ip, 1) == 0
            net.allocate_path(chain.path)
            assert ping(chain.client, chain.server_ip) == 3
            net.terminate(chain.path.id, ResourceKind.PATH)
        for _ in deaths(tmp_path / "run", lambda dying: dying.terminate(chain.path.id, ResourceKind.PATH)):
            net.terminate(chain.path.id, ResourceKind.PATH)
            assert ping(chain.client, chain.server_ip, 1) == 0
            net.allocate_path(chain.path)
    finally:
        guest.stop()


def test_a_namespace_file_without_a_namespace_is_made_one(net: HostNetwork, ids: Ids) -> None:
    from plugins.local.net import netns

    name = netns.path(net.ensure_namespace(ids("a")))
    net.remove_namespace(ids("a"))
    name.touch()  # what a death between the file and the mount leaves
    net.ensure_namespace(ids("a"))
    assert netns.exists(name.name)


def test_on_a_full_disk_nothing_is_made(ids: Ids, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        net = HostNetwork(tmp_path / "run")
        with open(tmp_path / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(HostRefusedError, match="No space left"):
            net.allocate_link(LinkSpec(ids("link"), _members(ids, "pair")))
        with pytest.raises(HostRefusedError, match="No space left"):
            net.ensure_namespace(ids("a"))
        assert net.query() == []
        assert ids.namespaces_left() == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_unreadable_stamp_is_reported_and_can_be_terminated(net: HostNetwork, ids: Ids, tmp_path: Path) -> None:
    (tmp_path / "run" / "links" / f"{ids('torn')}.json").write_text("{")
    (found,) = net.query()
    assert found.state is State.FAILED
    assert "unreadable" in found.reason
    net.terminate(ids("torn"), ResourceKind.LINK)
    terminate_all(net)
    assert net.query() == []
