"""Port specifications, stamps on disk, and locks by name."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plugins.local.net import (
    Hop,
    HostRefusedError,
    InvalidSpecError,
    MemberKind,
    PathSpec,
    PortSpec,
    Route,
    naming,
    pathstamps,
)
from plugins.local.net.locks import NamedLocks
from plugins.local.net.ports import check_mac, link_local, needs_onlink, ordered_routes, parse_ips
from plugins.local.net.probe import At, watches
from plugins.local.net.stamps import StampFolder
from plugins.local.net.tally import Pass


def test_routes_on_the_link_come_before_those_that_lean_on_them() -> None:
    spec = PortSpec(
        "p",
        ("10.0.0.2/24",),
        routes=(Route("0.0.0.0/0", "10.9.0.1"), Route("10.9.0.1/32"), Route("10.8.0.0/16", "10.0.0.1")),
    )
    routes = ordered_routes(spec)
    assert [str(route.destination) for route in routes] == ["10.9.0.1/32", "10.8.0.0/16", "0.0.0.0/0"]
    assert [needs_onlink(route, parse_ips(spec)) for route in routes] == [False, False, True]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (PortSpec("p", ("10.0.0.300/24",)), "ips"),
        (PortSpec("p", ("10.0.0.1/24",), routes=(Route("10.0.0.1/24", "10.0.0.2"),)), "routes"),
        (PortSpec("p", ("10.0.0.1/24",), routes=(Route("::/0", "10.0.0.2"),)), "mixes"),
        (PortSpec("p", ("10.0.0.1/24",), l2_transparent=True), "l2_transparent"),
        (PortSpec("p", mac="01:00:5e:00:00:01"), "mac"),
        (PortSpec("p", mac="02:00"), "mac"),
    ],
)
def test_a_bad_port_names_the_field(spec: PortSpec, named: str) -> None:
    with pytest.raises(InvalidSpecError, match=named):
        _ = (parse_ips(spec), ordered_routes(spec), check_mac(spec))


def test_a_link_local_address_is_made_of_the_mac() -> None:
    assert str(link_local("02:00:5e:10:00:01")) == "fe80::5eff:fe10:1/64"


def test_a_path_that_makes_no_sense_names_the_field() -> None:
    ends = (Hop("a", MemberKind.SAP, "", "x", "a"), Hop("b", MemberKind.SAP, "x", "", "b"))
    pathstamps.check(PathSpec("p", ends, "chain"))
    for bad, named in (
        (PathSpec("p", ends), "chain id"),
        (PathSpec("p", ends[:1], "chain"), "hops"),
        (PathSpec("p", (ends[0], ends[0]), "chain"), "names of their own"),
        (PathSpec("p", (ends[1], ends[0]), "chain"), "egress_cp"),
    ):
        with pytest.raises(InvalidSpecError, match=named):
            pathstamps.check(bad)


def test_a_one_armed_hop_is_watched_at_one_device_for_all_passes() -> None:
    hops = (
        Hop("a", MemberKind.SAP, "", "x", "a"),
        Hop("arm", MemberKind.CONTAINER, "eth0", "eth0", "arm"),
        Hop("b", MemberKind.SAP, "x", "", "b"),
    )
    found = {watch.point.namespace: watch for watch in watches(PathSpec("p", hops, "chain"), [])}
    arm = found[naming.namespace_name("arm")]
    assert arm.expected == {passing.value: At(1, "arm", "eth0") for passing in Pass}
    assert found[naming.namespace_name("a")].expected == dict.fromkeys(((False, True), (True, False)), At(0, "a", "x"))


def test_a_stamp_is_read_as_it_was_written_last(tmp_path: Path) -> None:
    folder, elsewhere = StampFolder(tmp_path), StampFolder(tmp_path)
    assert folder.read("a") is None
    folder.write("a", {"n": 1})
    assert elsewhere.read("a") == {"n": 1}
    elsewhere.write("a", {"n": 2})
    assert folder.read("a") == {"n": 2}
    assert folder.all() == {"a": {"n": 2}}
    folder.remove("a")
    folder.remove("a")
    assert elsewhere.all() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_stamp_torn_or_of_another_shape_reads_as_empty(tmp_path: Path) -> None:
    folder = StampFolder(tmp_path)
    for content in ("{", "[]", ""):
        (tmp_path / "a.json").write_text(content)
        assert folder.read("a") == {}
        folder.remove("a")


def test_a_rest_of_a_killed_writer_is_no_stamp(tmp_path: Path) -> None:
    folder = StampFolder(tmp_path)
    (tmp_path / ".abc.new").write_text("{")
    assert folder.all() == {}
    folder.remove("abc")
    assert list(tmp_path.iterdir()) == []


def test_a_stamp_that_cannot_be_written_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    folder = StampFolder(tmp_path)
    folder.write("a", {"n": 1})
    with pytest.raises(HostRefusedError, match="run folder"):
        folder.write("b" * 300, {"n": 2})
    assert folder.all() == {"a": {"n": 1}}


def test_names_are_held_by_one_at_a_time_and_forgotten_after() -> None:
    locks = NamedLocks()
    inside = 0
    most = 0

    def work(*names: str) -> None:
        nonlocal inside, most
        for _ in range(200):
            with locks.hold(*names):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work, args=names) for names in (("a", "b"), ("b", "a"), ("a", "a", "c"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert most == 1
    assert locks._locks == {}
