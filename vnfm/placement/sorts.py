"""Hosts told apart by what the table and the score look at: a large cloud is judged as a few sorts of hosts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter

import numpy as np

from vnfm.placement.estate import Ints
from vnfm.placement.inventory import Host

# Room is the book's affair, places other than site and zone the network's; what is left counts.
_ASIDE = frozenset(
    {
        "id",
        "cells",
        "parent",
        "identities",
        "rack",
        "disk_bytes",
        "disk_used_by_others_bytes",
        "active",
        "on_cost",
        "opens",
    }
)
_MAPPINGS = ("refusals", "costs", "hardware")
_plain = attrgetter(*(f.name for f in fields(Host) if f.name not in _ASIDE and f.name not in _MAPPINGS))
_told = attrgetter(*_MAPPINGS)


class Sorts:
    """The sort of each host, by its position among the hosts."""

    def __init__(self, hosts: Sequence[Host], nested: Sequence[bool]) -> None:
        self.hosts = tuple(hosts)
        self._nested = tuple(nested)
        self._known: dict[Hashable, int] = {}
        self.of: Ints = np.fromiter((self._sort(i) for i in range(len(self.hosts))), np.int64, len(self.hosts))

    def _sort(self, i: int) -> int:
        host = self.hosts[i]
        told = tuple(frozenset(m.items()) for m in _told(host))
        key = (self._nested[i], _plain(host), told)
        return self._known.setdefault(key, len(self._known))

    def changed(self, hosts: Mapping[int, Host]) -> Sorts:
        """With other hosts at these positions. Sorts that nobody is of any more stay, without hosts."""
        other = Sorts((), ())
        whole = list(self.hosts)
        for i, host in hosts.items():
            whole[i] = host
        other.hosts, other._nested = tuple(whole), self._nested
        other._known, other.of = dict(self._known), self.of.copy()
        for i in hosts:
            other.of[i] = other._sort(i)
        return other

    def members(self) -> list[Ints]:
        """By sort: the positions of its hosts, ascending."""
        order = np.argsort(self.of, kind="stable")
        ends = np.cumsum(np.bincount(self.of, minlength=len(self._known)))
        return np.split(order, ends[:-1]) if len(ends) else []

    def nested(self, host: int) -> bool:
        """Whether that host is itself a VM."""
        return self._nested[host]
