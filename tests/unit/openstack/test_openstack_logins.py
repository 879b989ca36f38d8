"""How a project is entered: by clouds.yaml, an application credential or a password; a tenant of ours by its own."""

from __future__ import annotations

import jsonschema
import pytest

from plugins.openstack.cloud import _region
from plugins.openstack.settings import CONFIG_SCHEMA, parse
from vnfm.model.confidential import part
from vnfm.pluginkit.problems import PluginError

CONFIG = {
    "auth_url": "http://k/v3",
    "username": "pop1",
    "password": "s3cret",
    "project": "edge",
    "tenants": {
        "gold": {"username": "gold", "password": "s3cret-gold", "project": "gold", "user_domain": "customers"},
        "a/b~c": {"application_credential_id": "app", "application_credential_secret": "s3cret-app"},
    },
}


def test_secrets_come_apart_from_the_rest_and_each_tenant_gets_its_own() -> None:
    jsonschema.Draft202012Validator(CONFIG_SCHEMA).validate(CONFIG)
    parted = part(CONFIG, CONFIG_SCHEMA, by_name=False)
    assert "s3cret" not in str(dict(parted.plain))
    settings = parse(parted.plain, parted.secrets)
    assert (settings.login.username, settings.login.secret, settings.login.project) == ("pop1", "s3cret", "edge")
    gold, app = settings.tenants["gold"], settings.tenants["a/b~c"]
    assert (gold.auth_url, gold.secret, gold.user_domain, gold.project_domain) == (
        "http://k/v3",
        "s3cret-gold",
        "customers",
        "customers",
    )
    assert (app.credential_id, app.secret, app.username) == ("app", "s3cret-app", "")
    assert "s3cret" not in repr(settings)


def test_a_password_logs_in_as_its_user_into_its_project() -> None:
    import openstack.config

    parted = part(CONFIG, CONFIG_SCHEMA, by_name=False)
    login = parse(parted.plain, parted.secrets).tenants["gold"]
    region = _region(openstack.config.OpenStackConfig, login)
    assert region.config["auth_type"] == "v3password"
    assert region.config["auth"] == {
        "auth_url": "http://k/v3",
        "username": "gold",
        "password": "s3cret-gold",
        "project_name": "gold",
        "user_domain_name": "customers",
        "project_domain_name": "customers",
    }


@pytest.mark.parametrize(
    ("config", "secrets", "field"),
    [
        ({"username": "u", "auth_url": "k", "project": "p"}, {}, "config.password"),
        ({"username": "u", "auth_url": "k"}, {"password": "x"}, "config.project"),
        ({"username": "u", "project": "p"}, {"password": "x"}, "config.auth_url"),
        ({"username": "u", "cloud": "c"}, {"password": "x"}, "config.cloud"),
        (
            {"cloud": "c", "tenants": {"t": {"username": "u", "project": "p", "auth_url": "k"}}},
            {"password": "x"},
            "tenants.t.password",
        ),
    ],
)
def test_what_is_missing_is_named(config: dict[str, object], secrets: dict[str, str], field: str) -> None:
    with pytest.raises(PluginError, match=field.replace(".", r"\.")):
        parse(config, secrets)
