"""What requests for changes mean, and what documents of counters say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from vnfm.api.changes import free_alias, last_end
from vnfm.api.counting import Counted, Rates, chain_stats, joined, vnf_stats
from vnfm.api.liveness import Live, health_document
from vnfm.api.observing import trace_document
from vnfm.api.pictures import match_words
from vnfm.api.targets import choose_vnfc, choose_vnfcs, find_cp, find_vnfd_id
from vnfm.lcm.healing import Condition, Health
from vnfm.lcm.operation import Operation
from vnfm.model.chain import ChainEnd, ChainVnf, ForwardingPath, Match, PathHop, ServiceChain
from vnfm.model.connectivity import Cpd, ExtCpd
from vnfm.model.lcm import InstantiationState, LcmOperationState, LcmOperationType, Vnfc, VnfInstance, VnfState
from vnfm.model.package import OnboardingState, OperationalState, UsageState, VnfPackage
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.resources import ComputeStats, HopCount, Passing, PathStats, PortStats, ProbeResult, StatsSample
from vnfm.model.vnfd import Flavour

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def package(vnfd_id: str, product: str, state: OperationalState = OperationalState.ENABLED) -> VnfPackage:
    return VnfPackage(
        f"p-{vnfd_id}", "default", OnboardingState.ONBOARDED, state, UsageState.NOT_IN_USE, vnfd_id, "us", product, "1"
    )  # fmt: skip


@contextmanager
def refused(word: str) -> Iterator[None]:
    with pytest.raises(ProblemError) as error:
        yield
    assert error.value.problem.word == word


PACKAGES = [package("b1bb-1", "DPI"), package("b1bb-2", "Router"), package("c2", "old", OperationalState.DISABLED)]


def test_a_vnfd_is_meant_by_its_id_its_product_or_a_beginning() -> None:
    assert find_vnfd_id(PACKAGES, "b1bb-1", "t") == "b1bb-1"
    assert find_vnfd_id(PACKAGES, "dpi", "t") == "b1bb-1"
    assert find_vnfd_id([*PACKAGES, package("d3dddd", "x")], "d3dd", "t") == "d3dddd"
    with refused("ambiguous"):
        find_vnfd_id(PACKAGES, "b1bb", "t")
    with refused("unknown-vnfd"):
        find_vnfd_id(PACKAGES, "old", "t")  # disabled
    with refused("unknown-vnfd"):
        find_vnfd_id(PACKAGES, "b1b", "t")  # too short


def chain(*ends: str) -> ServiceChain:
    paths = tuple(
        ForwardingPath(f"p{n}", (PathHop("client"), PathHop("fw"), PathHop(end))) for n, end in enumerate(ends)
    )
    known = tuple(ChainEnd(e, "10.0.0.0/24") for e in ("client", *dict.fromkeys(ends)))
    return ServiceChain("c", known, (ChainVnf("fw", "fw"),), paths)


def test_an_alias_is_made_from_the_product_and_never_one_that_is_taken() -> None:
    assert free_alias(chain("server"), "Deep Packet/Inspector ") == "deep-packet-inspector"
    assert free_alias(chain("server"), "FW") == "fw-2"
    assert free_alias(chain("server"), "Client") == "client-2"
    assert free_alias(chain("server"), "…") == "vnf"


def test_an_insert_goes_before_the_end_that_its_paths_share() -> None:
    assert last_end(chain("server"), "") == "server"
    assert last_end(chain("server", "server"), "") == "server"
    assert last_end(chain("server", "dmz"), "p1") == "dmz"
    with refused("bad-request"):
        last_end(chain("server", "dmz"), "")
    with refused("unknown-path"):
        last_end(chain("server"), "nope")


def vnfc(name: str, vdu: str = "v") -> Vnfc:
    return Vnfc(name, vdu, Runtime.CONTAINER, "m", "h", f"n-{name}")


def test_vnfcs_are_meant_by_vdu_or_by_the_beginning_of_an_id() -> None:
    three = (vnfc("aaaa1"), vnfc("aaaa2"), vnfc("bbbb", "w"))
    assert choose_vnfc(three, "w", "x").id == "bbbb"
    assert choose_vnfc(three, "aaaa2", "x").id == "aaaa2"
    assert [v.id for v in choose_vnfcs(three, ["v", "bb"], "x")] == ["aaaa1", "aaaa2", "bbbb"]
    with refused("ambiguous"):
        choose_vnfc(three, "aaaa", "x")
    with refused("not-found"):
        choose_vnfcs(three, ["nope"], "x")
    with refused("conflict"):
        choose_vnfc((), "", "x")


def test_a_port_is_meant_by_either_side_of_the_vnf() -> None:
    flavour = Flavour("f", cps=(Cpd("eth0", "v", "", 0),), external_cps=(ExtCpd("outside", "eth0"),))
    assert find_cp(flavour, "outside", "x").id == "eth0"
    assert find_cp(flavour, "eth0", "x").id == "eth0"
    with refused("unknown-cp"):
        find_cp(flavour, "eth9", "x")


def port(vnfc_id: str, packets: int, cp: str = "left") -> PortStats:
    return PortStats(vnfc_id, cp, packets, packets * 100, 1, packets, packets * 100, 0)


def instance(*vnfcs: Vnfc) -> VnfInstance:
    return VnfInstance(
        "i", "default", "c/fw", "fw", "p", "f", "chain", InstantiationState.INSTANTIATED, VnfState.STARTED,
        vnfcs, "fw",
    )  # fmt: skip


def sample(seconds: float, packets: int, vnfc_id: str = "a", cpu_ns: int = 0) -> StatsSample:
    return StatsSample(
        NOW + timedelta(seconds=seconds),
        (ComputeStats(vnfc_id, cpu_ns, 1 << 20, 0, 3),),
        (port(vnfc_id, packets), port("sap", packets, "client"), port("stranger", 1)),
        (PathStats("path", vnfc_id, "left", packets, packets * 100),),
    )


def test_rates_come_from_two_samples_and_begin_with_none() -> None:
    rates = Rates()
    first = vnf_stats(sample(0, 100), instance(vnfc("a")), rates)["vnfcs"][0]
    assert (first["cpu_milli"], first["ports"][0]["in_pps"], first["ports"][0]["in_bps"]) == (None, None, None)
    assert first["memory_limit_bytes"] is None
    second = vnf_stats(sample(2, 300, cpu_ns=500_000_000), instance(vnfc("a")), rates)["vnfcs"][0]
    assert second["cpu_milli"] == 250.0
    assert (second["ports"][0]["in_pps"], second["ports"][0]["out_bps"]) == (100.0, 80000)
    assert second["ports"][0]["in_dropped"] == 1


def test_a_counter_that_began_anew_has_no_rate_and_one_that_was_away_neither() -> None:
    rates = Rates()
    vnf_stats(sample(0, 500), instance(vnfc("a")), rates)
    again = vnf_stats(sample(1, 5), instance(vnfc("a")), rates)["vnfcs"][0]["ports"][0]
    assert again["in_pps"] is None
    healed = vnf_stats(sample(2, 9, "b"), instance(vnfc("b")), rates)["vnfcs"][0]["ports"][0]
    assert healed["in_pps"] is None
    assert vnf_stats(sample(3, 19, "b"), instance(vnfc("b")), rates)["vnfcs"][0]["ports"][0]["in_pps"] == 10.0


def test_a_chains_counters_are_told_by_the_names_in_the_chain() -> None:
    counted = Counted({"sap": "client"}, {"path": "main"})
    told = chain_stats(sample(0, 7), "c", [instance(vnfc("a"), vnfc("gone"))], counted, Rates())
    assert [p["cp"] for p in told["vnfs"][0]["vnfcs"][0]["ports"]] == ["left"]
    assert told["vnfs"][0]["vnfcs"][1]["cpu_ns"] is None  # it is not there
    assert told["vnfs"][0]["vnfcs"][1]["ports"] == []
    assert told["ends"][0]["ports"][0]["in_packets"] == 7
    assert told["paths"] == [
        {
            "name": "main",
            "hops": [
                {
                    "name": "fw",
                    "cp": "left",
                    "resource_id": "a",
                    "packets": 7,
                    "bytes": 700,
                    "pps": None,
                    "bps": None,
                }
            ],
        }
    ]


def test_samples_of_several_vims_are_one() -> None:
    both = joined([sample(0, 1), sample(1, 2, "b")])
    assert both.at == NOW + timedelta(seconds=1)
    assert {c.resource_id for c in both.computes} == {"a", "b"}


def test_a_trace_tells_direction_and_event_of_each_passing() -> None:
    passings = (Passing("client", "c", "s", False, True, 0), Passing("fw", "left", "a", True, False, 18250))
    told = trace_document("main", ProbeResult((HopCount("client", "fw", 3, 3, 18),), True, 40, passings=passings))
    assert told["hops"][0] == {
        "name": "client",
        "cp": "c",
        "resource_id": "s",
        "direction": "forward",
        "event": "leaves",
        "at_us": 0.0,
    }
    assert (told["hops"][1]["direction"], told["hops"][1]["event"], told["hops"][1]["at_us"]) == (
        "return",
        "arrives",
        18.25,
    )
    assert told["broken"] == ""
    lost = trace_document("main", ProbeResult((HopCount("client", "fw", 3, 0, 0),), False))
    assert "between client and fw" in lost["broken"]


def health(conditions: dict[str, Condition], operation: Operation | None = None) -> str:
    live = Live(lambda _vim, name: conditions.get(name, Condition(Health.UNKNOWN)), operation)
    document = health_document(instance(*(vnfc(name) for name in conditions)), live)
    assert document
    return str(document["state"])


def test_a_vnf_does_as_its_worst_vnfc_does_and_heals_while_it_is_healed() -> None:
    well, dead = Condition(Health.WELL), Condition(Health.FAILED, "oom")
    assert health({"a": well, "b": well}) == "WELL"
    assert health({"a": well, "b": dead}) == "FAILED"
    assert health({"a": well, "b": Condition(Health.UNKNOWN)}) == "UNKNOWN"

    def heal(state: LcmOperationState) -> Operation:
        return Operation("o", "t", LcmOperationType.HEAL, state, "c/fw", "i", NOW, NOW, subjects={"i": "fw"})

    assert health({"a": dead}, heal(LcmOperationState.PROCESSING)) == "HEALING"
    assert health({"a": dead}, heal(LcmOperationState.FAILED_TEMP)) == "FAILED"


def test_a_match_is_told_in_few_words() -> None:
    assert match_words(Match(ip_protocol=6, destination_port=80, source_cidr="10.1.0.0/25")) == (
        "from 10.1.0.0/25 TCP port 80"
    )
    assert match_words(Match(dscp=46)) == "DSCP 46"
    assert match_words(Match()) == "everything else"
