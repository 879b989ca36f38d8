"""Several paths over shared VNFs, and what can be seen of a chain at work: traces, counters, captures."""

from __future__ import annotations

import itertools
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_live import counter, create, show, status, traced
from e2e_manager import Listener, Manager, call
from e2e_packages import FW, MON, VCPE, chain_file
from e2e_traffic import Pings, address

PATHS = {
    "default": {"hops": ["client", "fw", "last", "server"]},
    "web": {
        "match": {"ip_protocol": "tcp", "destination_port": 443},
        "hops": ["client", "fw", "mon", "last", "server"],
    },
    "voice": {"match": {"dscp": 46}, "hops": ["client", "last", "server"]},
}
EXPEDITED = 46 << 2
WEB, OTHER = 443, 8080


@pytest.fixture(scope="module")
def several(manager: Manager, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three paths over three containers."""
    vnfs = {"fw": FW, "mon": MON, "last": MON}
    file = chain_file(tmp_path_factory.mktemp("several"), "several", vnfs, paths=PATHS)
    return create(manager, file, dict.fromkeys(vnfs, "CONTAINER"))


def packets(manager: Manager, chain: str = "several") -> dict[str, int]:
    """By path as the VIM counts them; and what passed each VNF as it counts itself, the answers apart."""
    stats = manager.ask("chain", "stats", chain, "--count", "1")
    found = {f"path {p['name']}": sum(h["packets"] for h in p["hops"]) for p in stats["paths"]}
    for alias in ("mon", "last"):
        sums = status(manager, f"{chain}/{alias}")
        found |= {alias: sums["left_to_right"]["packets"], f"{alias} back": sums["right_to_left"]["packets"]}
    passed = ("established", "echo", "tcp_accepted", "udp_accepted")
    return found | {"fw": sum(counter(manager, f"{chain}/fw", name) for name in passed)}


def risen(manager: Manager, what: Callable[[], object]) -> set[str]:
    """Which counters rise by it."""
    before = packets(manager)
    what()
    after = packets(manager)
    return {name for name in after if after[name] > before[name]}


def request(manager: Manager, chain: dict[str, Any], port: int) -> None:
    """One TCP connection."""
    listener = Listener(manager, chain["name"], "server", port)
    try:
        assert call(manager, chain["name"], "client", address(chain, "server"), port)
    finally:
        listener.close()


def pinged(chain: dict[str, Any], tos: int) -> None:
    """Some pings of that type of service, all of which come back."""
    with Pings(chain, per_second=50, tos=tos) as pings:
        pass
    pings.report.assert_none_lost(0)


def test_a_packet_takes_the_path_that_its_classifier_says_and_its_answer_comes_back_by_it(
    manager: Manager, several: dict[str, Any]
) -> None:
    both = {"last", "last back"}
    assert risen(manager, lambda: request(manager, several, OTHER)) == {"path default", "fw", *both}
    assert risen(manager, lambda: request(manager, several, WEB)) == {"path web", "fw", "mon", "mon back", *both}
    assert risen(manager, lambda: pinged(several, 0)) == {"path default", "fw", *both}
    assert risen(manager, lambda: pinged(several, EXPEDITED)) == {"path voice", *both}


def test_each_path_is_traced_by_itself(manager: Manager, several: dict[str, Any]) -> None:
    for name, path in PATHS.items():
        assert traced(manager, "several", name) == path["hops"]
    every = manager.ask("chain", "trace", "several")
    assert {p["path"] for p in every["paths"]} == set(PATHS)


def test_a_path_of_several_is_changed_and_the_others_stay(manager: Manager, several: dict[str, Any]) -> None:
    with Pings(several) as usual, Pings(several, tos=EXPEDITED) as voice:
        manager.ask("chain", "insert", "several", "--vnf", "mon", "--as", "guest", "--after", "fw", "--path", "default")
        assert traced(manager, "several", "default") == ["client", "fw", "guest", "last", "server"]
        assert traced(manager, "several", "web") == PATHS["web"]["hops"]
        assert traced(manager, "several", "voice") == PATHS["voice"]["hops"]
        usual.flow()
        voice.flow()
        assert status(manager, "several/guest")["left_to_right"]["packets"] > 50
        manager.ask("chain", "remove", "several", "guest")
        usual.flow()
        voice.flow()
    usual.report.assert_none_lost()
    voice.report.assert_none_lost()
    for name, path in PATHS.items():
        assert traced(manager, "several", name) == path["hops"]


def test_the_scaled_hop_of_several_paths_keeps_them_apart(manager: Manager, several: dict[str, Any]) -> None:
    with Pings(several) as usual, Pings(several, tos=EXPEDITED) as voice:
        manager.ask("chain", "scale", "several", "last", "--replicas", "2")
        usual.flow()
        voice.flow()
        for port in (WEB, OTHER):
            request(manager, several, port)
        manager.ask("chain", "scale", "several", "last", "--replicas", "1")
        usual.flow()
        voice.flow()
    usual.report.assert_none_lost()
    voice.report.assert_none_lost()


@pytest.mark.parametrize(
    "match",
    [
        pytest.param({"source_port": 40000, "ip_protocol": "udp"}, marks=pytest.mark.long),
        {"source_cidr": "10.3.0.0/25", "destination_cidr": "10.11.0.0/28", "ip_protocol": "udp"},
        {"ip_protocol": "udp", "destination_port": 33434, "source_port": 40000, "dscp": 46},
    ],
    ids=["source port", "networks and protocol", "five fields"],
)
def test_other_fields_of_a_match_choose_too(
    manager: Manager, several: dict[str, Any], tmp_path: Path, match: dict[str, Any]
) -> None:
    paths = {
        "default": {"hops": ["client", "a", "server"]},
        "chosen": {"match": match, "hops": ["client", "b", "server"]},
    }
    ends = {"client": {"cidr": "10.3.0.0/24"}, "server": {"cidr": "10.11.0.0/24"}}
    chain = create(
        manager,
        chain_file(tmp_path, "fields", {"a": MON, "b": MON}, paths=paths, ends=ends),
        {"a": "CONTAINER", "b": "CONTAINER"},
    )
    try:
        tos = EXPEDITED if "dscp" in match else 0
        datagrams(manager, chain, source_port=40000, tos=tos)
        assert seen_by(manager, "udp", 40000) == ["b"]
        datagrams(manager, chain, source_port=40001, tos=0, protocol="tcp")
        assert seen_by(manager, "tcp", 40001) == ["a"]
    finally:
        manager.take_down("fields")


def seen_by(manager: Manager, protocol: str, source_port: int) -> list[str]:
    """Which monitors saw a flow that was answered."""
    found = {
        alias
        for alias in "ab"
        for flow in status(manager, f"fields/{alias}", "flows")
        if (flow["protocol"], flow.get("source_port"), flow["packets"] > 0) == (protocol, source_port, True)
    }
    return sorted(found)


SEND = """
import socket, sys
host, port, source, tos, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.settimeout(10)
s.bind(("", source))
try:
    s.connect((host, port))
    s.send(b"x")
    s.recv(10)
except ConnectionRefusedError:
    print("refused by the other end")
"""


def datagrams(
    manager: Manager, chain: dict[str, Any], source_port: int, tos: int, protocol: str = "udp", port: int = 33434
) -> None:
    """A packet to a port where nobody listens: the refusal must come back."""
    words = [sys.executable, "-I", "-c", SEND, address(chain, "server"), *map(str, (port, source_port, tos)), protocol]
    done = manager.run("chain", "exec", chain["name"], "client", "--", *words)
    assert done.stdout.strip() == "refused by the other end", done


def test_counters_and_rates_of_a_chain_and_of_a_vnf(manager: Manager, several: dict[str, Any]) -> None:
    with Pings(several) as pings:
        done = manager.run("chain", "stats", "several", "--interval", "0.5", "--count", "3", "-o", "json")
        vnf = manager.run("vnf", "stats", "several/fw", "--interval", "0.5", "--count", "2", "-o", "json")
    pings.report.assert_none_lost()
    assert (done.code, vnf.code) == (0, 0), (done, vnf)
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(samples) == 3
    firewalls = [next(v for v in s["vnfs"] if v["alias"] == "fw")["vnfcs"][0] for s in samples]
    for before, after in itertools.pairwise(firewalls):
        for port in ("left", "right"):
            old, new = (next(p for p in f["ports"] if p["cp"] == port) for f in (before, after))
            assert new["in_packets"] - old["in_packets"] > 150, "500 pings a second for half a second"
            assert new["in_pps"] > 300
            assert new["out_packets"] > old["out_packets"]
        assert after["memory_bytes"] > 1 << 18
        assert after["cpu_ns"] >= before["cpu_ns"]
    default = [next(p for p in s["paths"] if p["name"] == "default") for s in samples]
    assert sum(h["packets"] for h in default[2]["hops"]) > sum(h["packets"] for h in default[0]["hops"]) + 300
    assert {e["name"] for e in samples[0]["ends"]} == {"client", "server"}
    last = json.loads(vnf.stdout.splitlines()[-1])
    assert {p["cp"] for p in last["vnfcs"][0]["ports"]} == {"left", "right"}
    assert last["vnfcs"][0]["ports"][0]["in_pps"] > 300


@pytest.mark.parametrize("port", ["left", pytest.param("right", marks=pytest.mark.long)])
def test_a_capture_has_the_packets_of_the_port(
    manager: Manager, several: dict[str, Any], tmp_path: Path, port: str
) -> None:
    file = tmp_path / "fw.pcap"
    with Pings(several) as pings:
        done = manager.run("vnf", "capture", "several/fw", "--port", port, "-o", str(file), "--seconds", "2")
        assert done.code == 0, done
    pings.report.assert_none_lost()
    kinds = list(echoes(file.read_bytes()))
    assert len(kinds) > 2 * 2 * 400, "two seconds of 500 requests and as many answers a second"
    assert abs(kinds.count(8) - kinds.count(0)) < 50, "as many requests as answers"


def echoes(pcap: bytes) -> Iterator[int]:
    """The ICMP types in a capture of Ethernet frames."""
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}[
        pcap[:4]
    ]
    at = 24
    while at < len(pcap):
        length = struct.unpack_from(f"{order}I", pcap, at + 8)[0]
        frame = pcap[at + 16 : at + 16 + length]
        at += 16 + length
        if frame[12:14] == b"\x08\x00" and frame[23] == 1:
            yield frame[14 + (frame[14] & 15) * 4]


def test_what_is_not_there_is_refused(manager: Manager, several: dict[str, Any], tmp_path: Path) -> None:
    for words in (
        ("chain", "trace", "nobody"),
        ("chain", "trace", "several", "--path", "nobody"),
        ("chain", "stats", "nobody", "--count", "1"),
        ("vnf", "stats", "several/nobody", "--count", "1"),
    ):
        assert manager.refused(*words)[0] == "not-found", words
    done = manager.run(
        "vnf", "capture", "several/fw", "--port", "middle", "-o", str(tmp_path / "x.pcap"), "--seconds", "1"
    )
    assert done.code == 1
    assert "middle" in done.stderr
    assert not (tmp_path / "x.pcap").exists()


def test_the_chain_with_several_paths_goes_without_a_trace(manager: Manager, several: dict[str, Any]) -> None:
    manager.take_down("several")
    manager.nothing_stands()


@pytest.mark.long
def test_a_trace_crosses_container_microvm_and_vm_with_times_that_rise(manager: Manager) -> None:
    manager.ask("chain", "create", str(VCPE))
    try:
        assert traced(manager, "vcpe") == ["client", "fw", "rt", "gw", "server"]
        (path,) = manager.ask("chain", "trace", "vcpe")["paths"]
        times = [h["at_us"] for h in path["hops"]]
        assert times[0] == 0
        assert times == sorted(times)
        assert path["rtt_us"] >= times[-1] - 1000
        assert {h["cp"] for h in path["hops"] if h["name"] == "rt"} == {"left", "right"}
        show(manager, "vcpe")
    finally:
        manager.take_down("vcpe")
    manager.nothing_stands()
