"""What the demo over two VIMs tells its manager, and when it does not begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import demo
import demo_openstack
import jsonschema
import pytest
import yaml
from demo_tell import StoryError
from labs.openstack.standing import Cloud

from plugins.openstack.settings import CONFIG_SCHEMA


class Told:
    """A command line of canned answers."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def ask(self, *args: str, **_: Any) -> Any:
        return self.answers[args[1]]

    def show(self, *_: str) -> None:
        return None

    def good(self, *_: str) -> None:
        return None


def story(**answers: Any) -> demo_openstack.TwoVims:
    made = demo_openstack.TwoVims.__new__(demo_openstack.TwoVims)
    made.chain_file, made.cli, made.teller = "c", Told(**answers), Told()  # type: ignore[assignment]
    return made


def test_both_configurations_name_the_network_that_joins_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "BUILD", tmp_path)
    cloud = Cloud("lab", tmp_path / "clouds.yaml", "lab-admin", lab=tmp_path)
    vims = demo_openstack.labs_vims(cloud, "wire")
    assert [vim.partition(":")[0] for vim in vims] == ["local=local", "pop1=openstack"]
    local, pop = (yaml.safe_load(Path(vim.partition(":")[2]).read_text()) for vim in vims)
    assert local["networks"]["tunnels"].items() >= pop["networks"]["tunnels"].items()
    assert local["networks"]["tunnels"]["namespace"] == "wire"
    jsonschema.Draft202012Validator(CONFIG_SCHEMA).validate(pop)
    options = [word for vim in vims for word in ("--vim", vim)]
    assert demo_openstack.cloud_of(options)["cloud"] == "lab-admin"


def test_somebodys_cloud_needs_somebodys_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(demo_openstack.VIMS_ENV, raising=False)
    with pytest.raises(StoryError, match=r"VNFM_DEMO_VIMS a folder with local\.yaml"):
        demo_openstack.operators_vims()
    monkeypatch.setenv(demo_openstack.VIMS_ENV, str(tmp_path))
    (tmp_path / "local.yaml").write_text("{}")
    with pytest.raises(StoryError, match="VNFM_DEMO_VIMS"):
        demo_openstack.operators_vims()
    (tmp_path / "pop1.yaml").write_text("{}")
    assert demo_openstack.operators_vims()[1] == f"pop1=openstack:{tmp_path / 'pop1.yaml'}"


def test_a_plan_that_keeps_to_one_vim_is_not_the_story() -> None:
    tie = {"segment": {"encap": "VXLAN", "network": "tunnels", "leads": "pop1"}}
    story(plan={"links": [tie, {"segment": None}, tie]}).joined()
    with pytest.raises(StoryError, match="expected two links over the border"):
        story(plan={"links": [tie, {"segment": None}]}).joined()


@pytest.mark.parametrize("states", [{"local": "CONNECTED"}, {"local": "CONNECTED", "pop1": "FAILED"}])
def test_a_vim_that_is_away_ends_the_story(states: dict[str, str]) -> None:
    told = [{"name": name, "state": state} for name, state in states.items()]
    with pytest.raises(StoryError, match="expected two VIMs that are CONNECTED"):
        story(inventory={}, list=told).two_vims()
