"""The databases and their tables, each made once a lab; what was interrupted is begun anew."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from .console import LabError
from .lab import REGION, Lab, url
from .processes import SERVICE_ENV

# Tools are known by this name where services are known by theirs.
TOOLS = "tools"


def prepare_mariadb(lab: Lab) -> None:
    """Make the server's own tables."""
    folder, config = lab.data("mariadb"), f"--defaults-file={lab.etc('mariadb.cnf')}"
    options = (f"--datadir={folder}", "--auth-root-authentication-method=normal", "--skip-test-db")

    def make() -> None:
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted one has left cannot be gone on with
        tool(lab, "mariadb-install-db", ["mariadb-install-db", config, *options])

    once(lab, "mariadb", make)


def mariadb_answers(lab: Lab) -> bool:
    """Whether the server takes orders."""
    return _mariadb(lab, "select 1").returncode == 0


def make_account(lab: Lab, password: str) -> None:
    """One account for all services."""
    once(lab, "account", lambda: _order(lab, f"grant all on *.* to 'lab'@'%' identified by '{password}'"))


def _fresh(lab: Lab, *databases: str) -> None:
    """Empty databases: tables that an interrupted tool has left cannot be gone on with."""
    for name in databases:
        _order(lab, f"drop database if exists {name}; create database {name} character set utf8mb3")


def keystone_tables(lab: Lab, password: str) -> None:
    """Keystone's tables and keys, and its first administrator."""
    manage = ["keystone-manage", "--config-file", str(lab.etc("keystone", "keystone.conf"))]
    owner = ["--keystone-user", "root", "--keystone-group", "root"]
    places = [f"--bootstrap-{kind}-url={url('keystone', '/v3/')}" for kind in ("admin", "internal", "public")]

    def make() -> None:
        _fresh(lab, "keystone")
        for words in (["db_sync"], ["fernet_setup", *owner], ["credential_setup", *owner]):
            tool(lab, "keystone-tables", [*manage, *words])
        words = [*manage, "bootstrap", *places, f"--bootstrap-region-id={REGION}"]
        tool(lab, "keystone-tables", words, {"OS_BOOTSTRAP_PASSWORD": password})

    once(lab, "keystone", make)


def nova_tables(lab: Lab) -> None:
    """Nova's tables and its one cell beside cell0 (its database is nova_cell0), which keeps what found no host."""
    manage = ["nova-manage", "--config-file", str(lab.etc("nova", "nova.conf"))]

    def make() -> None:
        _fresh(lab, "nova_api", "nova", "nova_cell0")
        tool(lab, "nova-tables", [*manage, "api_db", "sync"])
        tool(lab, "nova-tables", [*manage, "cell_v2", "map_cell0"])
        tool(lab, "nova-tables", [*manage, "db", "sync"])
        tool(lab, "nova-tables", [*manage, "cell_v2", "create_cell", "--name", "cell1"])

    once(lab, "nova", make)


def other_tables(lab: Lab) -> None:
    """The tables of Neutron, Placement, Glance and Heat."""

    def file(service: str, name: str) -> list[str]:
        return ["--config-file", str(lab.etc(service, name))]

    neutron = [*file("neutron", "neutron.conf"), *file("neutron", "ml2.ini")]
    commands: Mapping[str, Sequence[str]] = {
        "neutron": ["neutron-db-manage", *neutron, "upgrade", "heads"],
        "placement": ["placement-manage", *file("placement", "placement.conf"), "db", "sync"],
        "glance": ["glance-manage", *file("glance", "glance-api.conf"), "db_sync"],
        "heat": ["heat-manage", *file("heat", "heat.conf"), "db_sync"],
    }

    def make(service: str) -> None:
        _fresh(lab, service)
        tool(lab, f"{service}-tables", commands[service])

    for service in commands:
        once(lab, service, partial(make, service))


def once(lab: Lab, step: str, work: Callable[[], object]) -> None:
    """Do the work unless it was done in this lab before; what was interrupted is done again."""
    mark = lab.folder / "done" / step
    if not mark.exists():
        work()
        mark.touch()


def tool(
    lab: Lab,
    log: str,
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end; LabError with what it said where it fails."""
    done = subprocess.run(
        words,
        env={**lab.environment(), SERVICE_ENV: TOOLS, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with lab.log(log).open("a") as out:
        out.write(f"{os.path.basename(words[0])} ended with {done.returncode}\n{done.stdout}")
    if done.returncode:
        raise LabError(f"{os.path.basename(words[0])} failed with {done.returncode}:\n{done.stdout[-3000:]}")


def _order(lab: Lab, orders: str) -> None:
    done = _mariadb(lab, orders)
    if done.returncode:
        raise LabError(f"MariaDB refused an order: {done.stdout}")


def _mariadb(lab: Lab, orders: str) -> subprocess.CompletedProcess[str]:
    words = ["mariadb", f"--defaults-file={lab.etc('mariadb.cnf')}", "-N"]
    out, err = subprocess.PIPE, subprocess.STDOUT
    return subprocess.run(words, env=lab.environment(), input=orders, text=True, check=False, stdout=out, stderr=err)
