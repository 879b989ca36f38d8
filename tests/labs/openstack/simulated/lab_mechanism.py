"""Neutron's side of the simulated hosts: an ML2 mechanism that binds every kind of port there at once.

Runs in neutron-server, under Debian's Python.
"""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api

HOST_PREFIX = "sim-"
PHYSICAL = (constants.TYPE_FLAT, constants.TYPE_VLAN)
BOUND_AS = {
    portbindings.VNIC_NORMAL: portbindings.VIF_TYPE_BRIDGE,
    portbindings.VNIC_DIRECT: portbindings.VIF_TYPE_HW_VEB,
    portbindings.VNIC_MACVTAP: portbindings.VIF_TYPE_HW_VEB,
    portbindings.VNIC_DIRECT_PHYSICAL: portbindings.VIF_TYPE_HOSTDEV_PHY,
}


class SimulatedMechanism(api.MechanismDriver):
    """Binds ports on hosts whose names begin with sim-; leaves all others to the next driver."""

    connectivity = portbindings.CONNECTIVITY_L2

    def initialize(self):
        """Nothing to prepare."""

    def bind_port(self, context):
        """Bind to the first segment that fits: a virtual function needs a physical network."""
        kind = BOUND_AS.get(context.current[portbindings.VNIC_TYPE])
        if kind is None or not context.host.startswith(HOST_PREFIX):
            return
        virtual_function = kind == portbindings.VIF_TYPE_HW_VEB
        for segment in context.segments_to_bind:
            if virtual_function and segment[api.NETWORK_TYPE] not in PHYSICAL:
                continue
            details = {portbindings.CAP_PORT_FILTER: False}
            if virtual_function:
                details[portbindings.VIF_DETAILS_VLAN] = str(segment.get(api.SEGMENTATION_ID) or 0)
            context.set_binding(segment[api.ID], kind, details, status=constants.PORT_STATUS_ACTIVE)
            return
