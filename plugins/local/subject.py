"""What health is judged by, gathered from the parts that realize computes and SAPs. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plugins.local.computes import Computes
from plugins.local.guests import AgentListener
from plugins.local.net import HostNetwork
from plugins.local.net.observe import Place
from plugins.local.netpart import NetPart
from plugins.local.process import ProcessRef
from plugins.local.watch import Ending
from vnfm.pluginkit.handlers import Stamped


@dataclass(frozen=True, slots=True)
class Subject:
    """See health.Subject."""

    computes: Computes
    net: NetPart
    network: HostNetwork

    def processes(self, resource_id: str) -> dict[str, ProcessRef]:
        """What must be alive while it runs; empty where it is not to be watched now."""
        return self.computes.processes(resource_id)

    def places(self, resource_id: str) -> Sequence[Place]:
        """Where its ports are."""
        return self.network.places((resource_id,)).get(resource_id, ())

    def find(self, resource_id: str) -> Stamped | None:
        """As its stamp and the kernel tell now."""
        return self.computes.find(resource_id) or self.net.find(resource_id)

    def epitaph(self, resource_id: str, ending: Ending) -> str:
        """Why it failed, given which of its processes ended and how."""
        return self.computes.epitaph(resource_id, ending)

    def payload_ended(self, resource_id: str) -> bool:
        """Whether a microVM's payload has ended by itself."""
        return self.computes.payload_ended(resource_id)

    def pulse(self, resource_id: str) -> Callable[[], str] | None:
        """Looks why its guest counts as hung, by signs of life that lie there; None where none do."""
        return self.computes.pulse(resource_id)

    def listener(self, resource_id: str) -> AgentListener | None:
        """Asks its guest whether it lives."""
        return self.computes.listener(resource_id)
