"""What descriptors become before they are placed."""

from __future__ import annotations

import pytest

from vnfm.model.chain import ChainRule
from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.policies import AffinityRule
from vnfm.model.problem import ProblemError
from vnfm.model.vdu import Container, ImageFormat, SwImage, Vdu
from vnfm.placement.demand import artefacts_of, demand_of, is_wish, rule_of_chain, rule_of_vnfd
from vnfm.placement.request import RuleKind, Scope

MIB = 1 << 20


def _image(kind: ImageFormat) -> SwImage:
    return SwImage("i", "1", kind, "Files/i")


def _vdu(**changes: object) -> Vdu:
    values: dict[str, object] = {
        "id": "vdu",
        "name": "vdu",
        "description": "",
        "cpu_milli": 500,
        "memory_bytes": 64 * MIB,
        "disk_bytes": 0,
        "needs": Needs(),
    }
    return Vdu(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "runtimes"),
    [
        (ImageFormat.QCOW2, {Runtime.VM}),
        (ImageFormat.RAW, {Runtime.VM}),
        (ImageFormat.ROOTFS_TAR, {Runtime.CONTAINER, Runtime.KATA}),
        (ImageFormat.OCI_ARCHIVE, {Runtime.CONTAINER, Runtime.KATA}),
    ],
)
def test_the_image_says_what_a_vdu_can_be(kind: ImageFormat, runtimes: set[Runtime]) -> None:
    assert artefacts_of(_vdu(disk_image=_image(kind))) == runtimes


def test_a_vdu_with_both_images_can_be_anything_and_one_without_nothing() -> None:
    both = _vdu(disk_image=_image(ImageFormat.QCOW2), containers=(Container("c", _image(ImageFormat.OCI_ARCHIVE)),))
    assert artefacts_of(both) == set(Runtime)
    assert artefacts_of(_vdu()) == frozenset()
    assert artefacts_of(_vdu(containers=(Container("c", None),))) == frozenset()


def test_a_units_containers_count_where_the_unit_says_less() -> None:
    parts = tuple(Container(f"c{i}", None, cpu_milli=400, memory_bytes=100 * MIB) for i in range(2))
    got = demand_of(_vdu(containers=parts), demand_id="d", alias="fw", tenant="blue")
    assert (got.cpu_milli, got.memory_bytes) == (800, 200 * MIB)


@pytest.mark.parametrize("asked", list(Isolation))
@pytest.mark.parametrize("override", [None, *Isolation])
def test_a_chain_raises_isolation_and_never_lowers_it(asked: Isolation, override: Isolation | None) -> None:
    got = demand_of(_vdu(needs=Needs(isolation=asked)), demand_id="d", alias="a", tenant="t", isolation=override)
    assert got.needs.isolation == max(asked, override or Isolation.NONE)


def test_what_a_chain_asks_for_is_no_wish_any_more() -> None:
    wish = Needs(isolation=Isolation.TENANT, min_trust=1, wishes=frozenset({"isolation"}))
    assert is_wish(wish, "isolation")
    assert is_wish(wish, "min_trust")
    got = demand_of(_vdu(needs=wish), demand_id="d", alias="a", tenant="t", isolation=Isolation.KERNEL)
    assert not is_wish(got.needs, "isolation")
    assert is_wish(got.needs, "min_trust")


def test_a_chains_rule_sets_vnf_against_vnf() -> None:
    demands = [demand_of(_vdu(), demand_id=i, alias=a, tenant="t") for i, a in (("1", "a"), ("2", "a"), ("3", "b"))]
    got = rule_of_chain(ChainRule("anti-affinity", "NFVI_NODE", ("a", "b")), demands)
    assert (got.kind, got.scope, got.groups) == (RuleKind.ANTI_AFFINITY, Scope.NFVI_NODE, (("1", "2"), ("3",)))


def test_a_vnfds_rule_sets_every_vnfc_of_its_targets_apart() -> None:
    demands = [demand_of(_vdu(), demand_id=i, alias=a, tenant="t") for i, a in (("1", "a"), ("2", "a"), ("3", "b"))]
    got = rule_of_vnfd(AffinityRule("ha", True, "nfvi_node", ("vdu",)), "a", demands)
    assert (got.id, got.groups) == ("a/ha", (("1",), ("2",)))


@pytest.mark.parametrize("rule", [ChainRule("near", "ZONE", ("a",)), ChainRule("affinity", "HALL", ("a",))])
def test_a_word_that_no_standard_knows_is_refused(rule: ChainRule) -> None:
    with pytest.raises(ProblemError, match="expected"):
        rule_of_chain(rule, [])
