"""The VNFCs that have to be there, found by themselves, by their group and by their VNF without looking at the rest."""

from __future__ import annotations

from collections.abc import Iterable

from vnfm.lcm.healing import Expected


class Expectations:
    """By id; one group's and one VNF's in the order in which they were added."""

    def __init__(self, vnfcs: Iterable[Expected] = ()) -> None:
        self._by_id: dict[str, Expected] = {}
        self._by_group: dict[str, dict[str, Expected]] = {}
        self._by_vnf: dict[str, dict[str, Expected]] = {}
        for vnfc in vnfcs:
            self.add(vnfc)

    def add(self, vnfc: Expected) -> None:
        """Or put it in the place of the one of the same id."""
        self.remove(vnfc.vnfc_id)
        self._by_id[vnfc.vnfc_id] = vnfc
        self._by_group.setdefault(vnfc.group, {})[vnfc.vnfc_id] = vnfc
        self._by_vnf.setdefault(vnfc.vnf_instance_id, {})[vnfc.vnfc_id] = vnfc

    def remove(self, vnfc_id: str) -> None:
        """Success where it is not there."""
        gone = self._by_id.pop(vnfc_id, None)
        if gone is None:
            return
        for index, key in ((self._by_group, gone.group), (self._by_vnf, gone.vnf_instance_id)):
            del index[key][vnfc_id]
            if not index[key]:
                del index[key]

    def get(self, vnfc_id: str) -> Expected | None:
        """One."""
        return self._by_id.get(vnfc_id)

    def of_vim(self, vim: str) -> list[Expected]:
        """All that run on a VIM."""
        return [e for e in self._by_id.values() if e.vim == vim]

    def of_group(self, group: str) -> list[Expected]:
        """A chain's, or those of a VNF that stands alone."""
        return list(self._by_group.get(group, {}).values())

    def groups_of(self, vnf_instance_ids: Iterable[str]) -> set[str]:
        """The groups of these VNFs' VNFCs."""
        return {e.group for i in vnf_instance_ids for e in self._by_vnf.get(i, {}).values()}
