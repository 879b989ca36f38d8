"""All VIMs' inventories as one: what each tells is in it, and nothing is put together anew while nothing changes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from vnfm.vim.connection import VimSettings
from vnfm.vim.registry import VimRegistry


def _mock(folder: Path, name: str, **config: Any) -> VimSettings:
    return VimSettings(name, "mock", {"state_file": str(folder / f"{name}.sqlite"), **config})


def test_inventories_are_joined_once_for_as_long_as_no_vim_tells_anything_new(tmp_path: Path) -> None:
    async def story() -> None:
        registry = VimRegistry(tmp_path, "manager-1", 1)
        try:
            registry.add(_mock(tmp_path, "a", simulate={"hosts": 40}))
            alone = await registry.inventory()
            assert {host.vim for host in alone.hosts} == {"a"}
            assert (await registry.inventory()).hosts is alone.hosts
            registry.add(_mock(tmp_path, "b", hosts=2, licences=[{"id": "dpi", "site": "mock", "count": 3}]))
            both = await registry.inventory()
            assert [host.id for host in both.hosts if host.vim == "b"] == ["host-1", "host-2"]
            assert both.hosts[:40] == alone.hosts
            assert both.fabric == alone.fabric
            assert [(x.vim, x.id, x.count) for x in both.licences if x.vim == "b"] == [("b", "dpi", 3)]
            assert set(both.capabilities) == {"a", "b"}
            await registry.remove("a")
            rest = await registry.inventory()
            assert {host.vim for host in rest.hosts} == {"b"}
            assert not rest.fabric
        finally:
            await registry.close()

    asyncio.run(story())


def test_a_vim_that_stays_away_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    async def story() -> None:
        registry = VimRegistry(tmp_path, "manager-1", 1)
        try:
            registry.add(_mock(tmp_path, "good"))
            registry.add(_mock(tmp_path, "bad", hosts="many"))
            found = await registry.inventory()
            assert {host.vim for host in found.hosts} == {"good"}
            assert list(found.absent) == ["bad"]
        finally:
            await registry.close()

    asyncio.run(story())
