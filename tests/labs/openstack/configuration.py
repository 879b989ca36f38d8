"""Writes every service's configuration from the templates beside this file, and the few secrets of a lab."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import lab as plan
from .lab import Lab

HERE = Path(__file__).parent

# template -> file below etc/
FILES: Mapping[str, tuple[str, ...]] = {
    "keystone.conf.j2": ("keystone", "keystone.conf"),
    "glance-api.conf.j2": ("glance", "glance-api.conf"),
    "placement.conf.j2": ("placement", "placement.conf"),
    "nova.conf.j2": ("nova", "nova.conf"),
    "nova-tcg-1.conf.j2": ("nova", f"{plan.EMULATED}.conf"),
    "neutron.conf.j2": ("neutron", "neutron.conf"),
    "ml2.ini.j2": ("neutron", "ml2.ini"),
    "linuxbridge.ini.j2": ("neutron", "linuxbridge.ini"),
    "dhcp.ini.j2": ("neutron", "dhcp.ini"),
    "metadata.ini.j2": ("neutron", "metadata.ini"),
    "heat.conf.j2": ("heat", "heat.conf"),
    "mariadb.cnf.j2": ("mariadb.cnf",),
    "uwsgi.ini.j2": ("uwsgi.ini",),
    "rabbitmq.conf.j2": ("rabbitmq.conf",),
    "libvirtd.conf.j2": ("libvirt", "libvirtd.conf"),
    "qemu.conf.j2": ("libvirt", "qemu.conf"),
}
SERVICES = ("keystone", "glance", "placement", "nova", "neutron", "heat")
GLANCE_STORES = ("images", "staging", "tasks")
LIBVIRT_FOLDERS = ("lib", "run", "cache", "log")

# A plain tenant, another one beside it, and who may do everything: cloud -> (project, user).
ACCOUNTS: Mapping[str, tuple[str, str]] = {
    "lab": ("demo", "demo"),
    "lab-two": ("demo-two", "demo-two"),
    "lab-admin": ("admin", "admin"),
}

COMMANDS: Mapping[str, str] = {
    # root already: options are dropped, the rest is run
    "sudo": """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
""",
    # Neutron's agent guards taps against false addresses in the host's own table, which is not the lab's to fill. And
    # ebtables on nftables cannot take away the rules with which it does: asked to, the agent tries for ever.
    "ebtables": """#!/bin/sh
exit 0
""",
}


def configure(lab: Lab) -> str:
    """Lay out the state folder and write all configuration; returns the password of all accounts in this lab."""
    lab.folder.mkdir(parents=True, exist_ok=True)
    lab.folder.chmod(0o711)  # dnsmasq is nobody when it reads its files
    folders = [lab.folder / name for name in ("log", "run", "home", "bin", "done", "python/heat", "etc/libvirt")]
    folders += [lab.data(name, "lock") for name in SERVICES] + [lab.data("keystone", "fernet")]
    folders += [lab.data("keystone", "credential"), lab.data("nova", "instances"), lab.data("rabbitmq")]
    folders += [lab.data("glance", name) for name in GLANCE_STORES]
    folders += [lab.folder / "libvirt" / name for name in LIBVIRT_FOLDERS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for private in (lab.etc(), lab.folder / "log", lab.data("keystone"), lab.folder / "libvirt"):
        private.chmod(0o700)
    known = _secrets(lab)
    jinja, words = _jinja(), _words(lab, known)
    for template, parts in FILES.items():
        _write(lab.etc(*parts), jinja.get_template(template).render(words))
    for name in lab.simulated_hosts:
        _write(lab.etc("nova", f"{name}.conf"), jinja.get_template("nova-sim.conf.j2").render(words, name=name))
    shutil.copy("/etc/nova/api-paste.ini", lab.etc("nova", "api-paste.ini"))
    _write(lab.etc("rabbitmq-plugins"), "[].\n")
    _programs(lab, jinja.get_template("entry_points.txt.j2").render(words))
    if not lab.clouds.exists():
        write_clouds(lab, None)
    return known["password"]


def write_clouds(lab: Lab, application: Mapping[str, str] | None) -> None:
    """Write clouds.yaml; with `application`, the id and secret of an application credential, a cloud for it, too."""
    words = _words(lab, _secrets(lab))
    text = _jinja().get_template("clouds.yaml.j2").render(words, accounts=ACCOUNTS, application=application)
    _write(lab.clouds, text)


def password(lab: Lab) -> str:
    """The password of all accounts in this lab."""
    return _secrets(lab)["password"]


def _secrets(lab: Lab) -> dict[str, str]:
    """Made once a lab and kept in its folder."""
    path = lab.etc("secrets.json")
    if not path.exists():
        _write(path, json.dumps({"password": secrets.token_urlsafe(18), "key": secrets.token_hex(16)}))
    found: dict[str, str] = json.loads(path.read_text())
    return found


def _programs(lab: Lab, entry_points: str) -> None:
    """What Debian's Python is to find: the simulated hosts' driver and wiring, Heat's addition; and commands."""
    for source in (HERE / "simulated").glob("lab_*.py"):
        shutil.copy(source, lab.folder / "python" / source.name)
    shutil.copy(HERE / "simulated/heat_silent.py", lab.folder / "python/heat/heat_silent.py")
    told = lab.folder / "python/lab_simulated-1.dist-info"
    _write(told / "METADATA", "Metadata-Version: 2.1\nName: lab-simulated\nVersion: 1\n")
    _write(told / "entry_points.txt", entry_points)
    for name, script in COMMANDS.items():
        command = lab.folder / "bin" / name
        _write(command, script)
        command.chmod(0o755)


def _jinja() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _words(lab: Lab, known: Mapping[str, str]) -> dict[str, object]:
    return {
        "lab": lab,
        "host": plan.HOST,
        "region": plan.REGION,
        "ports": plan.PORTS,
        "url": plan.url,
        "emulated": plan.EMULATED,
        "wires": plan.WIRES,
        "underlay_address": plan.UNDERLAY_ADDRESS,
        "vxlan_port": plan.VXLAN_PORT,
        "vxlan_group": plan.VXLAN_GROUP,
        **known,
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
