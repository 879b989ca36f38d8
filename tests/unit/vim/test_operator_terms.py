"""What an operator says of a VIM's prices and licences goes before what the plugin tells."""

from __future__ import annotations

from typing import Any

import pytest

from vnfm.model.problem import ProblemError
from vnfm.model.resources import Licence
from vnfm.placement.inventory import Host
from vnfm.vim.terms import Terms, terms_of

TOLD = (
    Host("a", "lab", (), frozenset(), site="s1", price_per_vcpu=1.0, on_cost=5.0),
    Host("b", "lab", (), frozenset(), site="s1", price_per_vcpu=2.0),
    Host("c", "lab", (), frozenset(), site="s2", price_per_vcpu=3.0),
)


def _terms(**said: Any) -> Terms:
    return terms_of("lab", {"operator": said, "other": 1})[0]


def test_the_plugin_gets_its_own_configuration_without_the_operators_words() -> None:
    assert terms_of("lab", {"operator": {}, "hosts": 3})[1] == {"hosts": 3}
    assert terms_of("lab", {"hosts": 3}) == (Terms(), {"hosts": 3})


def test_without_a_word_the_plugins_prices_stand() -> None:
    assert _terms().hosts(TOLD) == TOLD


def test_a_hosts_price_goes_before_its_sites_and_that_before_the_vims() -> None:
    said = _terms(
        prices={"per_vcpu": 7, "sites": {"s1": {"per_vcpu": 4, "on_cost": 9}}, "hosts": {"b": {"per_vcpu": 0.5}}}
    )
    assert [(h.price_per_vcpu, h.on_cost) for h in said.hosts(TOLD)] == [(4, 9), (0.5, 9), (7, 0.0)]


def test_a_price_of_nothing_is_a_price() -> None:
    assert [h.price_per_vcpu for h in _terms(prices={"per_vcpu": 0}).hosts(TOLD)] == [0, 0, 0]


def test_the_operator_counts_a_licence_in_place_of_the_plugin_and_leaves_the_others() -> None:
    told = (Licence("lab", "dpi", "s1", 9), Licence("lab", "voice", "s1", 3))
    said = _terms(licences=[{"id": "dpi", "site": "s2", "count": 2}, {"id": "fw", "count": 1}])
    assert said.pools(told) == (told[1], Licence("lab", "dpi", "s2", 2), Licence("lab", "fw", "", 1))


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"prices": {"per_vcpu": -1}}, "operator.prices.per_vcpu"),
        ({"prices": {"sites": {"s1": {"per_cpu": 1}}}}, "operator.prices.sites.s1"),
        ({"licences": [{"id": "dpi", "count": 1.5}]}, "operator.licences.0.count"),
        ({"licences": [{"id": "dpi"}]}, "operator.licences.0"),
        ({"price": 1}, "operator"),
        ([], "operator"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(said: object, where: str) -> None:
    with pytest.raises(ProblemError) as refused:
        terms_of("lab", {"operator": said})
    assert refused.value.problem.word == "vim-config"
    assert f"VIM lab: {where}: " in refused.value.problem.detail
