"""The warm reading process: kept between packages, replaced when it is lost, and nothing of a package stays in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from csar_writer import HEAD, VDU, vnfd, write_csar

from vnfm.tosca import Limits, read_package, worker
from vnfm.tosca.shelf import MOST_FILES, Shelf, key_of, worth_keeping
from vnfm.tosca.yamldoc import Map


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[worker.Pool]:
    own = worker.Pool()
    monkeypatch.setattr(worker, "_POOL", own)
    yield own
    own.close()


def idle(pool: worker.Pool) -> list[int]:
    return [w._process.pid for w in pool._idle]


def test_the_next_package_is_read_by_the_same_process(tmp_path: Path, pool: worker.Pool) -> None:
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    assert read_package(csar).ok
    first = idle(pool)
    assert read_package(csar) == read_package(csar)
    assert idle(pool) == first


def test_a_lost_process_is_replaced(tmp_path: Path, pool: worker.Pool) -> None:
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    assert read_package(csar).ok
    (pid,) = idle(pool)
    os.kill(pid, signal.SIGKILL)
    pool._idle[0]._process.wait()
    assert read_package(csar).ok
    assert idle(pool) != [pid]


def test_a_reading_that_is_stopped_costs_only_its_child(tmp_path: Path, pool: worker.Pool) -> None:
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    assert read_package(csar).ok
    before = idle(pool)
    slow = read_package(csar, limits=Limits(child_wall_seconds=0.001))
    assert [f.code for f in slow.findings] == ["reader-stopped"]
    assert read_package(csar).ok
    assert idle(pool) == before


def test_nothing_of_a_package_touches_the_disk(
    tmp_path: Path, pool: worker.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert read_package(csar).ok
    (pid,) = idle(pool)
    where = os.readlink(f"/proc/{pid}/cwd")
    assert where.endswith(" (deleted)")  # a folder that is empty for good
    assert not Path(where.removesuffix(" (deleted)")).exists()


def test_a_worker_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Killed without a chance to tidy up: neither the reading process nor the one that waits in it stay."""
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    code = (
        "import sys; from pathlib import Path; from vnfm.tosca import read_package, worker;"
        "assert read_package(Path(sys.argv[1])).ok; print(worker._POOL._idle[0]._process.pid, flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(csar)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        group = [p for p in group_of(pid) if p != owner.pid]
        owner.kill()
        owner.wait()
    assert len(group) >= 1
    deadline = time.monotonic() + 20
    while group_of(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group_of(pid) == []


def group_of(pgid: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == pgid and state != "Z":
                    found.append(int(entry.name))
    return found


def test_threads_read_at_the_same_time(tmp_path: Path, pool: worker.Pool) -> None:
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(read_package(csar).ok)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True, True]
    assert len(idle(pool)) <= 2


def test_a_package_s_types_do_not_reach_the_next(tmp_path: Path, pool: worker.Pool) -> None:
    types = "node_types: { acme.Machine: { derived_from: tosca.nodes.nfv.Vdu.Compute } }\n"
    text = vnfd(VDU.replace("tosca.nodes.nfv.Vdu.Compute", "acme.Machine"), head=HEAD + "  - Definitions/own.yaml\n")
    one = write_csar(tmp_path / "one.csar", {"vnfd.yaml": text, "Definitions/own.yaml": types})
    assert read_package(one).ok
    other = types.replace("acme.Machine", "acme.Engine")
    two = write_csar(tmp_path / "two.csar", {"vnfd.yaml": text, "Definitions/own.yaml": other})
    assert "type-guessed" in {f.code for f in read_package(two).findings}
    assert read_package(one).ok


def test_the_shelf_keeps_types_and_bounds_itself() -> None:
    shelf, body = Shelf(), Map("t.yaml")
    body["node_types"] = Map("t.yaml")
    assert worth_keeping(body)
    for n in range(MOST_FILES + 5):
        shelf.put(key_of(f"{n}.yaml", b"x"), body, 1)
    assert len(shelf) == MOST_FILES
    assert shelf.find(key_of("0.yaml", b"x")) is None
    assert shelf.find(key_of(f"{MOST_FILES}.yaml", b"x")) is body
    assert shelf.find(key_of(f"{MOST_FILES}.yaml", b"y")) is None  # another content
    body["topology_template"] = Map("t.yaml")
    assert not worth_keeping(body)


def test_an_interrupted_reading_leaves_no_answer_for_the_next(
    tmp_path: Path, pool: worker.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    csar = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd()})
    other = write_csar(tmp_path / "q.csar", {"vnfd.yaml": vnfd(VDU.replace("vdu1", "another"))})
    assert read_package(csar).ok

    class Interrupting:
        def register(self, *_: object) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(worker.select, "poll", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            read_package(csar)
    reading = read_package(other)
    assert reading.vnfd is not None
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["another"]
