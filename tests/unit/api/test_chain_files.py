"""What a file of a chain says is worked out once, however many chains are created from it."""

from __future__ import annotations

import json

import pytest

from vnfm.api import chainfiles
from vnfm.api.chainfiles import ChainFiles
from vnfm.model.problem import ProblemError


def file(name: str, **more: object) -> bytes:
    ends = {"client": {"cidr": "10.1.0.0/24"}, "server": {"cidr": "10.9.0.0/24"}}
    document = {"chain": name, "ends": ends, "vnfs": {"fw": {"vnfd": "v"}}, "path": ["client", "fw", "server"]}
    return json.dumps({**document, **more}).encode()


def test_the_same_file_is_the_same_chain_and_another_one_is_read_anew() -> None:
    files = ChainFiles()
    once = files.read(file("a"), "a.json")
    assert files.read(file("a"), "a.json") is once
    assert files.read(file("b"), "a.json").name == "b"


def test_what_is_wrong_is_said_each_time_and_with_the_name_of_the_file() -> None:
    files = ChainFiles()
    for name in ("one.yaml", "one.yaml", "two.yaml"):
        with pytest.raises(ProblemError, match=name):
            files.read(file("a", colour="red"), name)


def test_only_so_many_files_are_kept_and_those_that_were_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chainfiles, "MOST_FILES", 2)
    files = ChainFiles()
    a, b = (files.read(file(name), "f") for name in "ab")
    assert files.read(file("a"), "f") is a
    files.read(file("c"), "f")
    assert files.read(file("a"), "f") is a
    assert files.read(file("b"), "f") is not b


def test_a_chain_is_held_against_its_packages_again_once_these_are_others() -> None:
    files, text = ChainFiles(), file("a")
    chain = files.read(text, "f")
    for _ in range(2):  # a refusal is never remembered as a fit
        with pytest.raises(ProblemError) as refused:
            files.check(text, "f", chain, {})
        assert refused.value.problem.word == "unknown-vnfd"
