"""What an operator says of a VIM beside its plugin: prices and licences. It stands under `operator` in the VIM's
configuration, which the plugin does not see, and goes before what the plugin tells.

    operator:
      prices:
        per_vcpu: 1.5                       # of every host of the VIM
        on_cost: 20                         # of switching on a host that is off
        sites: {edge: {per_vcpu: 4}}        # a site's goes before the VIM's, a host's before both
        hosts: {gpu-1: {per_vcpu: 9, on_cost: 50}}
      licences:                             # for software that is named here, in place of what the plugin counts
        - {id: dpi, site: edge, count: 12}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vnfm.model.problem import problem
from vnfm.model.resources import Licence
from vnfm.placement.inventory import Host

KEY = "operator"
_PRICE = {"per_vcpu": {"type": "number", "minimum": 0}, "on_cost": {"type": "number", "minimum": 0}}
_PRICES_BY_NAME = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": False, "properties": _PRICE},
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "prices": {
            "type": "object",
            "additionalProperties": False,
            "properties": {**_PRICE, "sites": _PRICES_BY_NAME, "hosts": _PRICES_BY_NAME},
        },
        "licences": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "count"],
                "properties": {
                    "id": {"type": "string", "minLength": 1},
                    "site": {"type": "string"},
                    "count": {"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in the operator's own unit; None: not said here."""

    per_vcpu: float | None = None
    on_cost: float | None = None

    def over(self, other: Prices) -> Prices:
        """These, and the other's where these say nothing."""
        return Prices(
            other.per_vcpu if self.per_vcpu is None else self.per_vcpu,
            other.on_cost if self.on_cost is None else self.on_cost,
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator says. `licences`: pools of the software that is named."""

    prices: Prices = Prices()
    by_site: Mapping[str, Prices] = field(default_factory=dict)
    by_host: Mapping[str, Prices] = field(default_factory=dict)
    licences: tuple[Licence, ...] = ()

    def hosts(self, told: Iterable[Host]) -> tuple[Host, ...]:
        """The hosts at the operator's prices."""
        if not self.by_site and not self.by_host and self.prices == Prices():
            return tuple(told)
        return tuple(self._priced(h) for h in told)

    def _priced(self, host: Host) -> Host:
        none = Prices()
        said = self.by_host.get(host.id, none).over(self.by_site.get(host.site, none)).over(self.prices)
        return replace(
            host,
            price_per_vcpu=host.price_per_vcpu if said.per_vcpu is None else said.per_vcpu,
            on_cost=host.on_cost if said.on_cost is None else said.on_cost,
        )

    def pools(self, told: Iterable[Licence]) -> tuple[Licence, ...]:
        """The licences, those of software that the operator counts in place of the plugin's."""
        mine = {x.id for x in self.licences}
        return (*(x for x in told if x.id not in mine), *self.licences)


def terms_of(vim: str, config: Mapping[str, Any]) -> tuple[Terms, dict[str, Any]]:
    """The operator's terms and the configuration without them. Raises ProblemError `vim-config` with the field."""
    rest = {k: v for k, v in config.items() if k != KEY}
    if KEY not in config:
        return Terms(), rest
    said = config[KEY]
    _check(vim, said)
    prices = said.get("prices", {})
    return Terms(
        prices=_prices(prices),
        by_site={name: _prices(p) for name, p in prices.get("sites", {}).items()},
        by_host={name: _prices(p) for name, p in prices.get("hosts", {}).items()},
        licences=tuple(Licence(vim, x["id"], x.get("site", ""), int(x["count"])) for x in said.get("licences", ())),
    ), rest


def _prices(said: Mapping[str, Any]) -> Prices:
    return Prices(said.get("per_vcpu"), said.get("on_cost"))


def _check(vim: str, said: object) -> None:
    import jsonschema

    try:
        jsonschema.validate(said, SCHEMA)
    except jsonschema.ValidationError as error:
        where = ".".join([KEY, *(str(p) for p in error.absolute_path)])
        raise problem("vim-config", f"configuration of VIM {vim}: {where}: {error.message}", instance=vim) from error
