"""The schema, what is on disk, and disks that are full."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select
from store_bench import NOW, Bench, entry, new, opened, outbox, played

import vnfm.store
from vnfm.lcm.machine import St
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.store import tables as t
from vnfm.store.blobs import BlobStore
from vnfm.store.costs import WINDOW, Start, observe, observed
from vnfm.store.database import Database, newest_version
from vnfm.store.lease import acquire

TMPFS_BYTES = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no tmpfs here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


# ---- reading ----


def test_what_one_reading_sees_is_of_one_moment(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        seen: list[int] = []
        looked, written = threading.Event(), threading.Event()

        def work(connection: Connection) -> None:
            count = select(func.count()).select_from(t.step_event)
            seen.append(connection.scalar(count) or 0)
            looked.set()
            assert written.wait(10)
            seen.append(connection.scalar(count) or 0)

        reading = asyncio.create_task(bench.database.read(work))
        await asyncio.to_thread(looked.wait, 10)
        await bench.journal.append(op, (entry(op, St.STARTED),))
        written.set()
        await reading
        assert seen == [0, 0]
        assert await bench.database.read(lambda c: c.scalar(select(func.count()).select_from(t.step_event))) == 1

    played(tmp_path, story)


# ---- schema ----


def test_migrations_lead_from_nothing_to_the_tables_as_they_are(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        with bench.database.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), t.metadata) == []

    played(tmp_path, story)


def test_there_is_one_newest_version_and_files_are_named_by_theirs() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(vnfm.store.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [newest_version()]
    for script in scripts.walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")


def test_a_schema_that_is_the_newest_is_seen_to_be_without_alembic(tmp_path: Path) -> None:
    played(tmp_path, lambda bench: asyncio.sleep(0))
    program = (
        "import sys; from vnfm.store.database import Database, sqlite_url; from pathlib import Path; "
        "Database(sqlite_url(Path(sys.argv[1]))).migrate(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.chain()
        bench.database.migrate()
        assert len(await bench.orders.chains("t")) == 1

    played(tmp_path, story)


def test_a_database_of_a_newer_version_is_refused_in_words(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        from sqlalchemy import text

        await bench.database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = 'future'")))
        with pytest.raises(ProblemError, match="future") as refused:
            bench.database.migrate()
        assert refused.value.problem.word == "storage"

    played(tmp_path, story)


def test_a_url_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(ProblemError) as refused:
        Database("nosuch://user:hunter2@host/db")
    assert refused.value.problem.word == "bad-database"
    assert "hunter2" not in refused.value.problem.detail


def test_the_fence_rises_with_every_start_and_the_id_stays(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        assert [await acquire(bench.database, new_id) for new_id in ("a", "b", "c")] == [("a", 1), ("a", 2), ("a", 3)]

    played(tmp_path, story)


def test_costs_are_a_running_mean_that_follows_a_change(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        async def see(start_ms: int) -> int:
            await bench.database.write(lambda c: observe(c, [Start("m", "h", Runtime.KATA, start_ms, 1000)]))
            (cost,) = (await bench.database.read(observed)).values()
            assert cost.start_ms is not None
            return cost.start_ms

        assert await see(100) == 100
        assert await see(200) == 150
        assert await see(300) == 200
        for _ in range(8 * WINDOW):
            last = await see(1000)
        assert 950 < last <= 1000

    played(tmp_path, story)


# ---- full disks ----


def test_a_full_disk_is_named_and_nothing_is_half_written(small_disk: Path) -> None:
    async def main() -> None:
        async with opened(small_disk / "state") as bench:
            await bench.chain(name="first")
            before = await outbox(bench)
            filler = fill(small_disk)

            async def until_it_is_refused() -> None:
                for number in range(200):
                    await bench.chain(name=f"chain-{number}")

            with pytest.raises(ProblemError, match="make room") as refused:
                await until_it_is_refused()
            assert refused.value.problem.word == "no-space"
            names = {c.name for c in await bench.orders.chains("t")}
            ordered = [o.target async for o in bench.orders.operations("t")]
            assert names == set(ordered)
            assert len(await outbox(bench)) == len(before) + len(names) - 1
            filler.unlink()
            await bench.chain(name="after")  # and it goes on when there is room again

    asyncio.run(main())


def test_a_disk_that_is_full_at_the_start_is_named(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(ProblemError) as refused:
        Bench(small_disk / "state")
    assert refused.value.problem.word in ("no-space", "storage")


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


def test_a_blob_that_does_not_fit_leaves_nothing_and_the_next_one_fits(small_disk: Path) -> None:
    blobs = BlobStore(small_disk / "blobs")
    with pytest.raises(ProblemError, match="disk that holds the manager's state folder is full") as refused:
        asyncio.run(blobs.take(chunks(*[b"x" * (1 << 20)] * 8)))
    assert refused.value.problem.word == "no-space"
    with pytest.raises(ProblemError, match="full"):
        blobs.take_file(lambda part: part.write_bytes(b"x" * 2 * TMPFS_BYTES))
    assert [p for p in (small_disk / "blobs").rglob("*") if p.is_file()] == []
    assert blobs.path(asyncio.run(blobs.take(chunks(b"small")))).read_bytes() == b"small"


# ---- blobs ----


def test_a_blob_is_named_by_its_content_and_kept_once(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    one = asyncio.run(blobs.take(chunks(b"ab", b"c")))
    assert one == blobs.take_file(lambda part: part.write_bytes(b"abc"))
    assert one == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert blobs.all() == {one}
    blobs.delete(one)
    blobs.delete(one)
    blobs.delete("")
    assert blobs.all() == set()


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError("planted")

    blobs = BlobStore(tmp_path)
    with pytest.raises(ConnectionError):
        asyncio.run(blobs.take(broken()))
    assert blobs.all() == set()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_what_a_killed_manager_left_half_written_is_swept_and_whole_blobs_stay(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    kept = blobs.take_file(lambda part: part.write_bytes(b"whole"))
    (tmp_path / "incoming" / new()).write_bytes(b"half")
    later = BlobStore(tmp_path)
    later.sweep()
    assert later.all() == {kept}
    assert list((tmp_path / "incoming").iterdir()) == []


def test_vims_are_kept_and_replaced(tmp_path: Path) -> None:
    from vnfm.store.vims import VimStore

    async def story(bench: Bench) -> None:
        vims = VimStore(bench.database)
        await vims.put("m", "mock", {"hosts": 2}, {})
        await vims.put("m", "mock", {"hosts": 3}, {})
        assert [(vim.name, vim.kind, vim.config) for vim in await vims.all()] == [("m", "mock", {"hosts": 3})]
        await vims.delete("m")
        await vims.delete("m")
        assert await vims.all() == []
        assert NOW.tzinfo

    played(tmp_path, story)
