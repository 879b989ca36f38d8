"""Fences: a manager that has lost its lease, and does not know it yet, cannot act."""

from __future__ import annotations

import grpc

from vnfm.pb.common.v1.common_pb2 import Owner
from vnfm.pluginkit.problems import PluginError


class Fences:
    """The highest fence seen, by manager_id. In memory: after a restart it is seeded from the stamps."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def known(self, manager_id: str) -> bool:
        """Whether this manager was seen or seeded since the plugin started."""
        return manager_id in self._seen

    def seed(self, manager_id: str, fence: int) -> None:
        """At least this fence was seen, a stamp says."""
        self._seen[manager_id] = max(fence, self._seen.get(manager_id, 0))

    def check(self, owner: Owner) -> None:
        """Take note of the owner's fence; ABORTED where a higher one was seen."""
        seen = self._seen.get(owner.manager_id, 0)
        if owner.fence < seen:
            raise PluginError(
                "lease-lost",
                f"owner.fence is {owner.fence}, but {seen} was seen: another run of manager {owner.manager_id!r} "
                "holds the lease now, so this one must stop",
                grpc.StatusCode.ABORTED,
            )
        self._seen[owner.manager_id] = owner.fence
