"""Brings the lab up, as far as it is not up yet, and takes it down again."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from . import configuration, health, identities, resources, schemas, services, wires
from .console import say, wait_for
from .debian import install_missing
from .guest import guest_image
from .lab import Lab
from .processes import Processes, Service, kill


def up(lab: Lab) -> None:
    """Have the lab running, whole and seeded: what runs is kept, what died is started again."""
    install_missing()
    with _alone(lab):
        Raising(lab).all()


class Raising:
    """One pass over everything that a running lab needs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._processes = Processes(lab)
        self._before = set(self._processes.known())
        kill(self._processes.orphans(schemas.TOOLS))
        self._password = configuration.configure(lab)

    def all(self) -> None:
        """Everything, in order; steps that do not need each other run side by side."""
        lab = self._lab
        with ThreadPoolExecutor(3) as side:
            image = side.submit(guest_image, lab)
            self._keepers()
            tables = [side.submit(schemas.nova_tables, lab), side.submit(schemas.other_tables, lab)]
            schemas.keystone_tables(lab, self._password)
            self._start((services.keystone(lab),), wait=True)
            schemas.once(lab, "identities", lambda: identities.populate(lab, self._password))
            for one in tables:
                one.result()
            say("tables and identities are there")
            self._control_and_hosts()
            guest = image.result()
        cloud = identities.connect(lab, "lab-admin")
        names = [service.name for service in services.everything(lab)]
        health.wait_for_cloud(lab, cloud, self._processes, names)
        say("compute hosts and agents have reported")
        schemas.once(lab, "resources", lambda: resources.seed(lab, cloud, guest))
        if application := identities.application_credential(lab):
            configuration.write_clouds(lab, application)

    def _keepers(self) -> None:
        schemas.prepare_mariadb(self._lab)
        mariadb, *broker = services.keepers(self._lab)
        self._start((mariadb, *broker))
        wait_for("MariaDB", self._mariadb_ready, 90)
        schemas.make_account(self._lab, self._password)
        for service in broker:
            health.wait_for_service(service, self._processes)
        say("database and broker answer")

    def _mariadb_ready(self) -> bool:
        self._processes.must_run("mariadb")
        return schemas.mariadb_answers(self._lab)

    def _control_and_hosts(self) -> None:
        lab = self._lab
        control = services.control(lab)
        wires.plug()
        self._start((*control, services.libvirt(lab)))
        socket = lab.folder / "libvirt/run/libvirt-sock"
        wait_for("libvirtd", socket.exists, 60)
        self._start(services.computes(lab))
        for service in control:
            health.wait_for_service(service, self._processes)
        say("all APIs answer")
        self._start(services.agents(lab))

    def _start(self, wanted: Sequence[Service], wait: bool = False) -> None:
        for service in wanted:
            if self._processes.pid(service.name) is None:
                if service.name in self._before:
                    say(f"{service.name} had died and is started again")
                self._processes.start(service)
            if wait:
                health.wait_for_service(service, self._processes)


def down(lab: Lab) -> list[str]:
    """Stop everything and remove the state; returns what could not be removed, in a line each."""
    with _alone(lab):
        processes = Processes(lab)
        order = [service.name for service in services.everything(lab)]
        last = {"libvirtd", "placement", "keystone", "mariadb", "epmd", "rabbitmq"}
        processes.stop([name for name in reversed(order) if name not in last])
        _end_guests(lab)
        for group in (("libvirtd", "placement", "keystone"), ("rabbitmq", "mariadb"), ("epmd",)):
            processes.stop(group, 30)
        kill(processes.all())
        wait_for("the last processes", lambda: not processes.all(), 30)
        networks = [path.name for path in lab.data("neutron", "dhcp").glob("*")]
        wires.unplug(networks)
        namespaces = wires.namespaces(networks)
        if lab.folder.exists():
            shutil.rmtree(lab.folder)
    return [*wires.left(), *namespaces, *([str(lab.folder)] if lab.folder.exists() else [])]


def _end_guests(lab: Lab) -> None:
    """Kill the guests by the pid files that libvirt keeps."""
    for record in (lab.folder / "libvirt/run/qemu").glob("*.pid"):
        try:
            pid = int(record.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if str(lab.folder).encode() in command and b"qemu-system" in command.split(b"\0")[0]:
            kill([pid])


@contextmanager
def _alone(lab: Lab) -> Iterator[None]:
    """One at a time: whoever raises or takes down the lab meanwhile is waited for."""
    lock = lab.folder.with_name(f".{lab.folder.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
