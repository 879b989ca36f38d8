"""What of a VIM's configuration counts as a secret, by its plugin's schema and by its name."""

from __future__ import annotations

from typing import Any

import pytest

from vnfm.model.confidential import hidden, part, whole

SCHEMA: dict[str, Any] = {
    "properties": {
        "url": {"type": "string"},
        "pin": {"type": "string", "writeOnly": True},
        "token_words": {"type": "string"},
        "tenants": {"additionalProperties": {"properties": {"password": {"type": "string", "writeOnly": True}}}},
        "keys": {"type": "array", "items": {"type": "string", "writeOnly": True}},
    }
}


def test_what_the_schema_marks_is_taken_out_and_comes_back_where_it_was() -> None:
    config = {"url": "http://k", "pin": "1234", "tenants": {"a/b~": {"password": "x"}}, "keys": ["k0", "k1"]}
    parted = part(config, SCHEMA)
    assert parted.secrets == {"pin": "1234", "tenants/a~1b~0/password": "x", "keys/0": "k0", "keys/1": "k1"}
    assert parted.plain == {"url": "http://k", "tenants": {"a/b~": {}}, "keys": ["", ""]}
    assert whole(parted.plain, parted.secrets) == config
    assert config["pin"] == "1234"  # untouched


def test_the_schemas_word_goes_before_the_names_sound() -> None:
    config = {"token_words": "spoken", "password": "p"}
    assert part(config, SCHEMA).secrets == {"password": "p"}
    assert part(config, SCHEMA, by_name=False).secrets == {}


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("password", True),
        ("api_key", True),
        ("authToken", True),
        ("client_secret", True),
        ("password_file", False),
        ("application_credential_id", False),
        ("application_credential_secret_file", False),
        ("token_url", False),
        ("cloud", False),
    ],
)
def test_without_a_schema_the_name_decides(key: str, secret: bool) -> None:
    assert bool(part({"deep": [{key: "value"}]}, {}).secrets) is secret


def test_what_others_quote_is_hidden_the_longest_first() -> None:
    assert hidden("'hunter2' and 'hunter'", ["hunter", "hunter2", ""]) == "'(secret)' and '(secret)'"


def test_nothing_secret_stands_in_a_repr() -> None:
    assert "1234" not in repr(part({"pin": "1234"}, SCHEMA))
