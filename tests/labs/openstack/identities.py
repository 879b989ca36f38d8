"""What Keystone knows: roles, projects, users, the catalogue, and an application credential."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import openstack
import yaml

from .configuration import ACCOUNTS
from .lab import CATALOGUE, REGION, Lab

ROLES = ("admin", "member", "reader", "service", "heat_stack_owner", "heat_stack_user")
TENANTS_ROLES = ("member", "reader", "heat_stack_owner")
APPLICATION = "lab-app"
Connection = openstack.connection.Connection


def connect(lab: Lab, cloud: str) -> Connection:
    """A connection as one of the accounts of clouds.yaml."""
    return openstack.connection.Connection(
        config=openstack.config.OpenStackConfig(
            config_files=[str(lab.clouds)], secure_files=[], load_envvars=False
        ).get_one(cloud)
    )


def populate(lab: Lab, password: str) -> None:
    """Make what is missing."""
    keystone = connect(lab, "lab-admin").identity
    roles = {name: _ensure(keystone.roles, keystone.create_role, name).id for name in ROLES}

    def user(name: str, **values: str) -> str:
        return str(_ensure(keystone.users, keystone.create_user, name, password=password, **values).id)

    def account(name: str, project: str, *granted: str) -> None:
        home = _ensure(keystone.projects, keystone.create_project, project, domain_id="default").id
        who = user(name, domain_id="default", default_project_id=home)
        for role in granted:
            keystone.assign_project_role_to_user(home, who, roles[role])

    for name in CATALOGUE:
        account(name, "service", "admin", "service")
    for project, name in ACCOUNTS.values():
        account(name, project, *(("admin", "heat_stack_owner") if name == "admin" else TENANTS_ROLES))
    for name, (kind, address) in CATALOGUE.items():
        service = _ensure(keystone.services, keystone.create_service, name, type=kind).id
        known = {one.interface for one in keystone.endpoints(service_id=service)}
        for interface in {"public", "internal", "admin"} - known:
            keystone.create_endpoint(service_id=service, url=address, interface=interface, region_id=REGION)
    domain = _ensure(keystone.domains, keystone.create_domain, "heat").id
    manager = user("heat_domain_admin", domain_id=domain)
    keystone.assign_domain_role_to_user(domain, manager, roles["admin"])


def application_credential(lab: Lab) -> Mapping[str, str] | None:
    """A fresh application credential of the plain tenant; None where clouds.yaml has one that still counts.

    It is unrestricted: Heat makes a trust for every stack, which is not for others (see keystone.conf.j2).
    """
    written = yaml.safe_load(lab.clouds.read_text())["clouds"].get(APPLICATION, {}).get("auth", {})
    member = connect(lab, "lab")
    user = member.current_user_id
    for one in member.identity.application_credentials(user):
        if one.id == written.get("application_credential_id"):
            return None
        if one.name == APPLICATION:
            member.identity.delete_application_credential(user, one)
    made = member.identity.create_application_credential(user, APPLICATION, unrestricted=True)
    return {"id": made.id, "secret": made.secret}


def _ensure(find: Callable[..., Iterable[Any]], make: Callable[..., Any], name: str, **values: str) -> Any:
    """The object of that name (and domain), made where it is missing."""
    domain = {"domain_id": values["domain_id"]} if "domain_id" in values else {}
    return next(iter(find(name=name, **domain)), None) or make(name=name, **values)
