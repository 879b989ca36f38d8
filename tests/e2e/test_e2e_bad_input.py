"""Bad input: each kind has its named problem, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_host import wait_until
from e2e_manager import ROOT, VNFM, Manager, private_folder
from e2e_packages import FW, Packages, chain_file

UNKNOWN_VNFD = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def as_before(manager: Manager) -> Iterator[None]:
    """Nothing is left of what was refused: no record, no blob, no temporary file, nothing on the host."""
    blobs = _blobs(manager)
    packages = manager.ask("package", "list")
    yield
    assert manager.ask("chain", "list") == []
    assert manager.ask("vnf", "list") == []
    assert manager.open_operations() == []
    after = [p for p in manager.ask("package", "list") if p["onboarding_state"] == "ONBOARDED"]
    assert after == packages
    assert wait_until(lambda: _blobs(manager) <= blobs, 10), f"blobs left: {_blobs(manager) - blobs}"
    manager.nothing_stands()


def _blobs(manager: Manager) -> set[str]:
    return {str(p) for p in (manager.state / "blobs").rglob("*") if p.is_file()}


@pytest.mark.parametrize("entry_name", ["Files/images/fw.oci.tar", "ChangeLog.txt"])
def test_a_package_with_a_flipped_byte(
    manager: Manager, packages: Packages, tmp_path: Path, as_before: None, entry_name: str
) -> None:
    forged = tmp_path / "forged.csar"
    with zipfile.ZipFile(packages.csar("fw")) as source, zipfile.ZipFile(forged, "w") as target:
        for entry in source.infolist():
            content = bytearray(source.read(entry))
            if entry.filename == entry_name:
                content[len(content) // 2] ^= 1
            target.writestr(entry, bytes(content))
    word, detail = manager.refused("package", "onboard", str(forged))
    assert word == "package-refused"
    assert "SHA-256" in detail
    assert entry_name in detail


@pytest.mark.parametrize("kept", [0, 100, 20_000])
def test_a_truncated_package(manager: Manager, packages: Packages, tmp_path: Path, as_before: None, kept: int) -> None:
    torn = tmp_path / "torn.csar"
    torn.write_bytes(packages.csar("fw").read_bytes()[:kept])
    word, detail = manager.refused("package", "onboard", str(torn))
    assert word == "package-refused"
    assert "zip" in detail or "empty" in detail


Chain = Callable[[Path], Path]
BAD_CHAINS: dict[str, tuple[Chain, str, str]] = {
    "an unknown VNFD": (lambda d: chain_file(d, "bad", {"a": UNKNOWN_VNFD}), "unknown-vnfd", UNKNOWN_VNFD),
    "a VNF twice on the path": (
        lambda d: chain_file(d, "bad", {"a": FW}, path=["client", "a", "a", "server"]),
        "duplicate-vnf",
        "'a'",
    ),
    "a VNF twice in the list": (lambda d: _twice(chain_file(d, "bad", {"a": FW, "b": FW})), "duplicate-vnf", "'a'"),
    "a hop that is no VNF": (
        lambda d: chain_file(d, "bad", {"a": FW}, path=["client", "a", "nobody", "server"]),
        "unknown-hop",
        "nobody",
    ),
}


def _twice(file: Path) -> Path:
    file.write_text(file.read_text().replace("  b:", "  a:").replace("- b\n", ""))
    return file


@pytest.mark.parametrize("kind", BAD_CHAINS)
def test_a_chain_that_names(manager: Manager, tmp_path: Path, as_before: None, kind: str) -> None:
    make, expected, named = BAD_CHAINS[kind]
    file = str(make(tmp_path))
    for command in ("plan", "create"):
        word, detail = manager.refused("chain", command, file)
        assert word == expected
        assert named in detail


def test_two_chains_of_one_name(manager: Manager, tmp_path: Path, as_before: None) -> None:
    file = str(chain_file(tmp_path, "one", {"a": FW}))
    assert manager.ask("chain", "create", file)["state"] == "COMPLETED"
    word, detail = manager.refused("chain", "create", file)
    assert word == "already-exists"
    assert "'one'" in detail
    (chain,) = manager.ask("chain", "list")
    assert manager.witness.computes_stamped() == {c["id"] for v in chain["vnfs"] for c in v["vnfcs"]}
    manager.take_down("one")


@pytest.mark.parametrize("kind", ["chain", "vnf"])
def test_what_does_not_exist(manager: Manager, as_before: None, kind: str) -> None:
    for command in ("terminate", "delete", "show"):
        word, detail = manager.refused(kind, command, "nothing-of-that-name")
        assert word == "not-found"
        assert "nothing-of-that-name" in detail


@pytest.mark.parametrize("program", ["/nonexistent", "/bin/false"])
def test_a_plugin_that_does_not_start(
    managers: list[Manager], packages: Packages, tmp_path: Path, program: str
) -> None:
    lame = Manager(private_folder(), [f"x=exec:{program}"])
    managers.append(lame)
    lame.start()
    lame.onboard(packages.csar("fw"))

    def why() -> str:
        shown = lame.ask("vim", "show", "x")
        return str(shown["detail"]) if shown["state"] != "CONNECTED" else ""

    assert wait_until(lambda: program in why(), 30), lame.ask("vim", "show", "x")
    assert "did not start" in why()
    for command in ("plan", "create"):
        done = lame.run("chain", command, str(chain_file(tmp_path, "lame", {"a": FW})), "-o", "json")
        assert done.code == 1, done
        assert done.problem
        assert "x" in done.json["problem"]["instance"] or "VIM x" in done.json["problem"]["detail"], done.json
        assert "did not start" in done.stdout, done.json
    assert lame.ask("chain", "list") == []
    assert lame.open_operations() == []
    lame.nothing_stands()


def test_an_unknown_kind_of_vim_is_wrong_use(able_host: None, tmp_path: Path) -> None:
    argv = [*VNFM, "serve", "--state", str(tmp_path / "state"), "--vim", "x=nosuch"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "'nosuch'" in done.stderr
    assert "local" in done.stderr
    assert "mock" in done.stderr
    assert not (tmp_path / "state").exists()
