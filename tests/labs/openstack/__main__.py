"""A small real OpenStack on this machine, without systemd: Keystone, Glance, Placement, Nova, Neutron, Heat.

From Debian 12's packages, each service by its own configuration below one state folder; /etc and the host's own
services are left alone. Two compute hosts are simulated (NUMA, dedicated CPUs, huge pages, SR-IOV; availability zone
nova), one really boots guests, emulated (zone tcg). Needs root; listens on 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .console import LabError, say
from .lab import FOLDER_ENV, UNDERLAY, WIRES, Lab, default_folder


def main() -> int:
    """The command line; 0 when all is well, 1 when it is not, 3 when no lab is up."""
    parser = argparse.ArgumentParser(prog="lab-openstack", description=__doc__)
    parser.add_argument("order", choices=("up", "down", "status"))
    parser.add_argument("--folder", type=Path, default=default_folder(), help=f"${FOLDER_ENV} or %(default)s")
    asked = parser.parse_args()
    lab = Lab(asked.folder.absolute())
    try:
        if os.geteuid():
            raise LabError("the lab needs root: it makes bridges and network namespaces")
        return {"up": _up, "down": _down, "status": _status}[asked.order](lab)
    except LabError as trouble:
        print(f"lab-openstack: {trouble}", file=sys.stderr)
        return 1


def _up(lab: Lab) -> int:
    from .raising import up

    up(lab)
    say("ready")
    code = _status(lab)
    wires = ", ".join(f"{physical} on {bridge}" for physical, (bridge, _) in WIRES.items())
    print(f"wires: {wires}; VXLAN's underlay is {UNDERLAY}")
    print("clouds: lab, lab-two (plain tenants), lab-app (application credential of lab's), lab-admin")
    print(f"export OS_CLIENT_CONFIG_FILE={lab.clouds} OS_CLOUD=lab")
    return code


def _down(lab: Lab) -> int:
    from .raising import down

    if left := down(lab):
        raise LabError("could not be removed: " + ", ".join(left))
    say(f"down; {lab.folder} is gone")
    return 0


def _status(lab: Lab) -> int:
    from . import health, identities
    from .processes import Processes, memory_bytes
    from .services import everything

    if not lab.clouds.exists():
        print(f"no lab in {lab.folder}")
        return 3
    processes = Processes(lab)
    for service in everything(lab):
        print(f"  {service.name:22} {processes.pid(service.name) or 'DOES NOT RUN'}")
    wrong = health.troubles(lab, processes)
    if not wrong:
        wrong = health.silent(lab, identities.connect(lab, "lab-admin"))
    held = processes.all()
    size = sum(path.stat().st_blocks * 512 for path in lab.folder.rglob("*") if path.is_file())
    memory_gib, disk_mib = memory_bytes(held) / 2**30, size / 2**20
    print(f"{len(held)} processes, {memory_gib:.1f} GiB of memory, {disk_mib:.0f} MiB in {lab.folder}")
    for line in wrong:
        print(f"  {line}")
    if wrong:
        print("not well: `make lab-openstack` starts what died, `make lab-openstack-down` takes all away")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
