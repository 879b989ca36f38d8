"""The configuration: which cloud, whose credentials, what it may do. Secrets come by file or apart, with Configure."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vnfm.pluginkit.problems import invalid

SECRET, PASSWORD = "application_credential_secret", "password"
"""Keys in ConfigureRequest.secrets; a tenant's behind `tenants/NAME/`."""
_PATIENCE_S = 90
_INVENTORY_S = 10
_WATCH_S = 5
_STACK_MINUTES = 30

_TEXT = {"type": "string", "minLength": 1}
_LOGIN: dict[str, object] = {
    "cloud": {**_TEXT, "description": "the cloud's name in clouds.yaml"},
    "clouds_file": {**_TEXT, "description": "clouds.yaml, an absolute path; else where openstacksdk looks"},
    "auth_url": {**_TEXT, "description": "Keystone, instead of clouds.yaml"},
    "application_credential_id": _TEXT,
    SECRET: {**_TEXT, "writeOnly": True},
    "application_credential_secret_file": {
        **_TEXT,
        "description": "an absolute path; the file's content is the secret, nobody else may read it",
    },
    "username": {**_TEXT, "description": "with password and project, instead of an application credential"},
    PASSWORD: {**_TEXT, "writeOnly": True},
    "project": {**_TEXT, "description": "the project's name"},
    "user_domain": {**_TEXT, "description": "the domain's name (Default)"},
    "project_domain": {**_TEXT, "description": "the domain's name (as user_domain)"},
    "region": _TEXT,
    "interface": {"enum": ["public", "internal", "admin"]},
    "ca_file": {**_TEXT, "description": "the authority of the cloud's certificates (PEM)"},
}
CONFIG_SCHEMA: dict[str, object] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_LOGIN,
        "tenants": {
            "type": "object",
            "description": "tenant of ours -> the project and credentials that its resources are made with",
            "additionalProperties": {"type": "object", "additionalProperties": False, "properties": _LOGIN},
        },
        "mode": {
            "enum": ["auto", "admin", "tenant"],
            "description": "how the inventory is read: as admin by hypervisor, as plain tenant by availability zone",
        },
        "site": {"type": "string"},
        "arch": {**_TEXT, "description": "where the cloud does not tell (x86_64)"},
        "trust": {"type": "integer", "minimum": 0, "maximum": 3},
        "price_per_vcpu": {"type": "number", "minimum": 0},
        "start_ms": {"type": "integer", "minimum": 1, "description": "how long a VM takes, until observed (30000)"},
        "flavors": {
            "enum": ["auto", "create", "existing"],
            "description": "auto: one that fits exactly is made where that is allowed, else the smallest that does",
        },
        "steering": {
            "enum": ["auto", "routes"],
            "description": "auto: paths by networking-sfc where the cloud has it, else by routes",
        },
        "zones": {"type": "array", "items": _TEXT, "description": "availability zones that may be used (all)"},
        "physical_network": {
            **_TEXT,
            "description": "links that name no segment become provider networks on it; needs admin",
        },
        "hosts": {
            "type": "object",
            "description": "what the cloud's APIs do not tell of a hypervisor: hugepage_bytes, vfs",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "hugepage_bytes": {"type": "integer", "minimum": 0},
                    "vfs": {"type": "integer", "minimum": 0},
                },
            },
        },
        "networks": {
            "type": "object",
            "description": "networks outside by which links can go on in other VIMs, by the name that all VIMs' "
            "configurations give them",
            "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["encaps"],
                "properties": {
                    "encaps": {"type": "array", "minItems": 1, "items": {"enum": ["VXLAN", "VLAN", "FLAT"]}},
                    "physical_network": {**_TEXT, "description": "FLAT, VLAN: as Neutron calls it (the same name)"},
                    "endpoints": {
                        "type": "array",
                        "items": _TEXT,
                        "description": "VXLAN: where the cloud's hosts end their tunnels (as Neutron's agents tell)",
                    },
                    "udp_port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "VXLAN (4789)"},
                    "group": {"type": "string", "description": "VXLAN: the multicast group that floods (none)"},
                    "mtu_bytes": {"type": "integer", "minimum": 68, "description": "of a port on such a link"},
                    "one_way_us": {"type": "integer", "minimum": 0},
                    "bandwidth_bps": {"type": "integer", "minimum": 0},
                },
            },
        },
        "patience_s": {"type": "integer", "minimum": 1, "description": "how long a silent API is waited for (90)"},
        "inventory_s": {"type": "integer", "minimum": 1, "description": "how often the inventory is read (10)"},
        "watch_s": {"type": "integer", "minimum": 1, "description": "how often servers and stacks are looked at (5)"},
        "stack_minutes": {"type": "integer", "minimum": 1, "description": "how long Heat may take for a stack (30)"},
    },
}


@dataclass(frozen=True, slots=True)
class Login:
    """How one project is entered: a cloud of clouds.yaml, an application credential, or a user and a password."""

    cloud: str = ""
    clouds_file: str = ""
    auth_url: str = ""
    credential_id: str = ""
    secret: str = field(default="", repr=False)
    region: str = ""
    interface: str = ""
    ca_file: str = ""
    username: str = ""
    project: str = ""
    user_domain: str = "Default"
    project_domain: str = "Default"


@dataclass(frozen=True, slots=True)
class HostHint:
    """What the operator says of a hypervisor."""

    hugepage_bytes: int = 0
    vfs: int = 0


@dataclass(frozen=True, slots=True)
class Outside:
    """A network outside by which links go on in other VIMs. Without `endpoints` those are meant that Neutron tells."""

    network: str
    encaps: tuple[str, ...]
    physical_network: str = ""
    endpoints: tuple[str, ...] = ()
    udp_port: int = 0
    group: str = ""
    mtu_bytes: int = 0
    one_way_us: int = 0
    bandwidth_bps: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked values. `tenants`: tenant of ours -> how its project is entered; all others use `login`."""

    login: Login
    tenants: Mapping[str, Login] = field(default_factory=dict)
    mode: str = "auto"
    site: str = ""
    arch: str = "x86_64"
    trust: int = 0
    price_per_vcpu: float = 0.0
    start_ms: int = 30_000
    flavors: str = "auto"
    steering: str = "auto"
    zones: tuple[str, ...] = ()
    physical_network: str = ""
    hosts: Mapping[str, HostHint] = field(default_factory=dict)
    networks: Mapping[str, Outside] = field(default_factory=dict)
    patience_s: float = _PATIENCE_S
    inventory_s: float = _INVENTORY_S
    watch_s: float = _WATCH_S
    stack_minutes: int = _STACK_MINUTES


def parse(config: Mapping[str, Any], secrets: Mapping[str, str]) -> Settings:
    """From what CONFIG_SCHEMA has let through; INVALID_ARGUMENT names the field. Reads secret files."""
    tenants = {
        name: _login({**_shared(config), **one}, _of(secrets, name), f"config.tenants.{name}")
        for name, one in config.get("tenants", {}).items()
    }
    hosts = {name: HostHint(**one) for name, one in config.get("hosts", {}).items()}
    taken = ("mode", "site", "arch", "trust", "start_ms", "flavors", "steering", "physical_network", "stack_minutes")
    plain = {key: config[key] for key in taken if key in config}
    return Settings(
        login=_login(config, secrets, "config"),
        tenants=tenants,
        hosts=hosts,
        zones=tuple(config.get("zones", ())),
        price_per_vcpu=float(config.get("price_per_vcpu", 0)),
        networks={name: _outside(name, told) for name, told in config.get("networks", {}).items()},
        patience_s=float(config.get("patience_s", _PATIENCE_S)),
        inventory_s=float(config.get("inventory_s", _INVENTORY_S)),
        watch_s=float(config.get("watch_s", _WATCH_S)),
        **plain,
    )


def _outside(name: str, told: Mapping[str, Any]) -> Outside:
    group = str(told.get("group", ""))
    where = f"config.networks.{name}"
    _addresses(f"{where}.group", [group] if group else [], multicast=True)
    _addresses(f"{where}.endpoints", told.get("endpoints", ()), multicast=False)
    lists = {key: tuple(told.get(key, ())) for key in ("encaps", "endpoints")}
    return Outside(network=name, **{"physical_network": name, **told, **lists})


def _addresses(where: str, told: Iterable[str], *, multicast: bool) -> None:
    for text in told:
        try:
            sane = ipaddress.ip_address(text).is_multicast == multicast
        except ValueError:
            sane = False
        if not sane:
            raise invalid(where, f"{text!r} is not {'a multicast group' if multicast else 'an address'}")


def _of(secrets: Mapping[str, str], tenant: str) -> dict[str, str]:
    """A tenant's own; in a path `~1` stands for a slash of its name, `~0` for a tilde (RFC 6901)."""
    begin = f"tenants/{tenant.replace('~', '~0').replace('/', '~1')}/"
    return {path.removeprefix(begin): value for path, value in secrets.items() if path.startswith(begin)}


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a tenant's login takes over: where the cloud is, not who enters it."""
    return {key: config[key] for key in ("clouds_file", "auth_url", "region", "interface", "ca_file") if key in config}


def _login(config: Mapping[str, Any], secrets: Mapping[str, str], where: str) -> Login:
    ways = [key for key in ("cloud", "application_credential_id", "username") if config.get(key)]
    if len(ways) != 1:
        raise invalid(
            f"{where}.cloud",
            "expected one way in: the name of a cloud in clouds.yaml, or application_credential_id with auth_url, or "
            f"username with auth_url, password and project; found {', '.join(ways) or 'none'}",
        )
    for key in ("clouds_file", "ca_file"):
        _readable(config, key, where)
    by = ways[0]
    secret = "" if by == "cloud" else _entered(config, secrets, where, by)
    domain = str(config.get("user_domain", "Default"))
    return Login(
        cloud=str(config.get("cloud", "")),
        clouds_file=str(config.get("clouds_file", "")),
        auth_url=str(config.get("auth_url", "")),
        credential_id=str(config.get("application_credential_id", "")),
        secret=secret,
        region=str(config.get("region", "")),
        interface=str(config.get("interface", "")),
        ca_file=str(config.get("ca_file", "")),
        username=str(config.get("username", "")),
        project=str(config.get("project", "")),
        user_domain=domain,
        project_domain=str(config.get("project_domain", domain)),
    )


def _entered(config: Mapping[str, Any], secrets: Mapping[str, str], where: str, by: str) -> str:
    """The secret of an application credential or a user. INVALID_ARGUMENT names what is missing beside it."""
    needed = ("auth_url", "project") if by == "username" else ("auth_url",)
    for key in needed:
        if not config.get(key):
            raise invalid(f"{where}.{key}", f"is missing: {by} needs it")
    if by == "username":
        if not (secret := secrets.get(PASSWORD, "")):
            raise invalid(f"{where}.{PASSWORD}", "is missing: username needs it")
        return secret
    return secrets.get(SECRET) or _secret(config, where)


def _readable(config: Mapping[str, Any], key: str, where: str) -> None:
    path = str(config.get(key, ""))
    if path and not (os.path.isabs(path) and os.access(path, os.R_OK)):
        raise invalid(f"{where}.{key}", f"{path!r}: expected an absolute path of a file that can be read")


def _secret(config: Mapping[str, Any], where: str) -> str:
    key = "application_credential_secret_file"
    _readable(config, key, where)
    path = Path(str(config.get(key, "")))
    if not path.is_file():
        raise invalid(f"{where}.{key}", "is missing: the file with the application credential's secret")
    if path.stat().st_mode & 0o077:
        raise invalid(f"{where}.{key}", f"{path}: others may read it: chmod 600 it")
    return path.read_text().strip()
