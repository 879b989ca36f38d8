"""What a handler never sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit import check
from vnfm.pluginkit.problems import PluginError

SHA = "a" * 64


def _compute() -> pb.AllocateComputeRequest:
    return pb.AllocateComputeRequest(
        host_id="h",
        runtime=pb.RUNTIME_CONTAINER,
        cpu_milli=1,
        memory_bytes=1,
        containers=[pb.Container(name="c", image_sha256=SHA, files={"/etc/a": b""})],
        ports=[
            pb.Port(
                cp_id="in",
                link=Handle(resource_id="l"),
                ips=["10.0.0.1/24", "fd00::1/64"],
                mac="02:00:00:00:00:01",
                routes=[pb.Route(destination="0.0.0.0/0", via="10.0.0.2")],
            )
        ],
        name="fw-1",
    )


def _refused(request: pb.AllocateComputeRequest) -> str:
    found = check.Findings()
    check.check_compute(found, request)
    with pytest.raises(PluginError) as refused:
        found.raise_found()
    assert refused.value.code.name == "INVALID_ARGUMENT"
    return refused.value.problem.detail


def test_a_request_with_sense_passes() -> None:
    found = check.Findings()
    check.check_compute(found, _compute())
    found.raise_found()


def _clear(field: str) -> Callable[[pb.AllocateComputeRequest], None]:
    return lambda request: request.ClearField(field)  # type: ignore[arg-type]


STORIES: list[tuple[str, Callable[[pb.AllocateComputeRequest], object]]] = [
    ("host_id", _clear("host_id")),
    ("runtime", _clear("runtime")),
    ("cpu_milli", _clear("cpu_milli")),
    ("memory_bytes", _clear("memory_bytes")),
    ("containers", _clear("containers")),
    ("name", lambda request: setattr(request, "name", "a/b")),
    ("containers[0].image_sha256", lambda request: setattr(request.containers[0], "image_sha256", "../x")),
    ("containers[0].name", lambda request: setattr(request.containers[0], "name", "a b")),
    ("containers[0].files", lambda request: request.containers[0].files.update({"/a/../../b": b""})),
    ("containers", lambda request: request.containers.append(request.containers[0])),
    ("ports", lambda request: request.ports.append(request.ports[0])),
    ("ports[0].cp_id", lambda request: setattr(request.ports[0], "cp_id", "-rf")),
    ("ports[0].link.resource_id", lambda request: request.ports[0].ClearField("link")),
    ("ports[0].ips", lambda request: request.ports[0].ips.append("10.0.0.1")),
    ("ports[0].mac", lambda request: setattr(request.ports[0], "mac", "02:00")),
    ("ports[0].routes", lambda request: setattr(request.ports[0].routes[0], "destination", "all")),
    ("ports[0].routes", lambda request: setattr(request.ports[0].routes[0], "via", "x; reboot")),
    ("ports[0].l2_transparent", lambda request: setattr(request.ports[0], "l2_transparent", True)),
    ("boot.image_sha256", lambda request: setattr(request, "runtime", pb.RUNTIME_VM)),
]


@pytest.mark.parametrize(("field", "spoil"), STORIES, ids=[field for field, _ in STORIES])
def test_each_bad_field_is_named(field: str, spoil: Callable[[pb.AllocateComputeRequest], object]) -> None:
    request = _compute()
    spoil(request)
    assert f"{field}:" in _refused(request)


def test_all_bad_fields_are_named_at_once() -> None:
    detail = _refused(pb.AllocateComputeRequest())
    assert all(field in detail for field in ("host_id", "runtime", "cpu_milli", "memory_bytes"))


def test_a_path_begins_and_ends_at_its_ends() -> None:
    hop, sap = pb.Hop(compute=Handle(resource_id="c"), ingress_cp_id="a", egress_cp_id="b"), pb.Hop()
    sap.sap.resource_id = "s"
    for hops, bad in (([hop, sap], "hops[0]"), ([sap, sap, sap], "hops[1]"), ([sap], "hops"), ([sap, hop, sap], "")):
        found = check.Findings()
        check.check_path(found, pb.AllocatePathRequest(hops=hops, generation=1))
        if not bad:
            found.raise_found()
            continue
        with pytest.raises(PluginError, match=bad.replace("[", r"\[")):
            found.raise_found()


def _path(**match: object) -> pb.AllocatePathRequest:
    sap = pb.Hop(sap=Handle(resource_id="s"))
    hop = pb.Hop(compute=Handle(resource_id="c"), ingress_cp_id="a", egress_cp_id="b")
    return pb.AllocatePathRequest(hops=[sap, hop, sap], generation=1, match=pb.Classifier(**match))  # type: ignore[arg-type]


def _path_refused(request: pb.AllocatePathRequest) -> str:
    found = check.Findings()
    check.check_path(found, request)
    try:
        found.raise_found()
    except PluginError as refused:
        return refused.problem.detail
    return ""


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"source_cidr": "10.0.0.0/8", "destination_cidr": "10.9.0.0/16"},
        {"ip_protocol": 6, "destination_port": 65535, "source_port": 1},
        {"ip_protocol": 132, "source_port": 53},
        {"ip_protocol": 1, "dscp": 63, "vlan": 4094},
    ],
)
def test_matches_with_sense_pass(match: dict[str, object]) -> None:
    assert _path_refused(_path(**match)) == ""


@pytest.mark.parametrize(
    ("field", "match"),
    [
        ("match.dscp", {"dscp": 64}),
        ("match.vlan", {"vlan": 4095}),
        ("match.ip_protocol", {"ip_protocol": 256}),
        ("match.source_port", {"source_port": 65536}),
        ("match.destination_port", {"ip_protocol": 1, "destination_port": 80}),
        ("match.source_port", {"source_port": 53}),
        ("match.source_cidr", {"source_cidr": "10.0.0.1/8"}),
        ("match.destination_cidr", {"source_cidr": "10.0.0.0/8", "destination_cidr": "fd00::/8"}),
    ],
)
def test_matches_without_sense_are_named(field: str, match: dict[str, object]) -> None:
    assert f"{field}:" in _path_refused(_path(**match))


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        (["c", "d"], ""),
        (["c"], ""),
        (["d", "c"], "beginning with the hop's compute 'c'"),
        (["c", "d", "d"], "twice"),
        (["c", "../d"], "replicas[1].resource_id"),
    ],
)
def test_replicas_are_all_of_them_once_each_with_the_hops_compute_first(replicas: list[str], says: str) -> None:
    request = _path()
    request.hops[1].replicas.extend(Handle(resource_id=each) for each in replicas)
    assert says in _path_refused(request)
    assert bool(says) == bool(_path_refused(request))


def test_a_sap_has_no_replicas() -> None:
    request = _path()
    request.hops[0].replicas.add(resource_id="s")
    assert "hops[0].replicas: only a compute" in _path_refused(request)


def test_what_a_path_and_a_link_need_is_named_with_its_capability() -> None:
    assert list(check.needed_for_path(_path())) == []
    request = _path(dscp=46)
    request.hops[1].replicas.extend([Handle(resource_id="c"), Handle(resource_id="d")])
    assert list(check.needed_for_path(request)) == [
        ("match", pb.CAPABILITY_STEER),
        ("hops[1].replicas", pb.CAPABILITY_BALANCE),
    ]
    del request.hops[1].replicas[1]
    assert len(list(check.needed_for_path(request))) == 1, "one instance needs no balancing"
    assert list(check.needed_for_link(pb.AllocateLinkRequest(steered=True))) == [("steered", pb.CAPABILITY_STEER)]
