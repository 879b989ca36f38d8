"""`vnfm package validate | show | graph` on a file, as they are typed: options, exit codes and what is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from csar_writer import HEAD, TYPES, VDU, VNF, manifest, vnfd, write_csar

ROOT = Path(__file__).resolve().parents[3]


def vnfm(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vnfm.main", "package", *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tampered(tmp_path: Path) -> Path:
    """A package in which one digest does not hold."""
    text = manifest({"vnfd.yaml": vnfd().encode(), "Files/a": b"other"})
    return write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "Files/a": "a", "vnfd.mf": text})


def test_graph_says_which_flavour_it_drew_and_writes_svg_only(tmp_path: Path) -> None:
    meta = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: us\nEntry-Definitions: top.yaml\n"
    files = {"TOSCA-Metadata/TOSCA.meta": meta, "types.yaml": HEAD + TYPES}
    head = "tosca_definitions_version: tosca_simple_yaml_1_3\nimports: [ types.yaml"
    files["top.yaml"] = f"{head}, big.yaml, small.yaml ]\ntopology_template:\n  node_templates:\n{VNF}"
    for name in ("big", "small"):
        mappings = f"{{ node_type: acme.VNF, properties: {{ flavour_id: {name} }} }}"
        text = f"{head} ]\ntopology_template:\n  substitution_mappings: {mappings}\n  node_templates:\n{VDU}"
        files[f"{name}.yaml"] = text
    package, out = write_csar(tmp_path / "two.csar", files), tmp_path / "out.svg"
    drawn = vnfm("graph", package, "-o", out)
    assert drawn.returncode == 0
    assert "drawn is the flavour big; there are also (--flavour): small" in drawn.stderr
    assert "there are also" not in vnfm("graph", package, "-o", out, "--flavour", "small").stderr
    other = vnfm("graph", package, "-o", tmp_path / "out.png")
    assert (other.returncode, "out.svg" in other.stderr, (tmp_path / "out.png").exists()) == (2, True, False)


@pytest.mark.parametrize("command", ["validate", "show"])
def test_policies_are_the_same_for_validate_and_show(tampered: Path, command: str) -> None:
    assert vnfm(command, tampered, "-o", "json").returncode == 0
    strict = vnfm(command, tampered, "--digests", "strict", "-o", "json")
    assert strict.returncode == 1
    answer = json.loads(strict.stdout)
    assert (answer["ok"], answer["problems"][0]["code"]) == (False, "digest-mismatch")
    assert [f["id"] for f in answer["vnfd"]["flavours"]] == ["simple"]  # what is known of it
    unsigned = vnfm(command, tampered, "--signature", "require", "-o", "json")
    assert (unsigned.returncode, json.loads(unsigned.stdout)["problems"][0]["code"]) == (1, "signature-missing")
    assert vnfm(command, tampered, "--flavour", "none", "-o", "json").returncode == 1
    assert vnfm(command, tampered, "--trust-store", tampered.parent / "gone", "-o", "json").returncode == 2
    assert vnfm(command, tampered, "--digests", "perhaps").returncode == 2


def test_graph_takes_the_same_policies(tampered: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.svg"
    refused = vnfm("graph", tampered, "-o", out, "--digests", "strict")
    assert (refused.returncode, out.exists()) == (1, False)
    assert "Files/a" in refused.stderr
    assert vnfm("graph", tampered, "-o", out, "--signature", "require").returncode == 1
    assert vnfm("graph", tampered, "-o", out).returncode == 0
    assert "<svg" in out.read_text()


def test_yaml_says_the_same_as_json(tampered: Path) -> None:
    for command in ("validate", "show"):
        written = [vnfm(command, tampered, "-o", form).stdout for form in ("json", "yaml")]
        assert json.loads(written[0]) == yaml.safe_load(written[1])


def test_a_table_ends_with_the_verdict(tampered: Path, tmp_path: Path) -> None:
    good = vnfm("show", tampered, "-o", "table").stdout.splitlines()
    assert good[-1] == "can be used: 1 warning"
    assert "flavour simple: 1 VDU" in good
    bad = write_csar(tmp_path / "bad.csar", {"vnfd.yaml": vnfd(VDU.replace("512 MiB", "much"))})
    shown = vnfm("validate", bad, "-o", "table")
    assert shown.returncode == 1
    assert "(value-unit)" in shown.stdout
    assert "Acme Fire 1.10  11111111-2222-3333-4444-555555555555" in shown.stdout.splitlines()
    assert shown.stdout.splitlines()[-1].startswith("refused: 1 error")


def test_what_nothing_is_known_of_is_null(tmp_path: Path) -> None:
    (tmp_path / "p.csar").write_bytes(b"no zip")
    done = vnfm("validate", tmp_path / "p.csar", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["vnfd"]) == (1, None)


def test_a_path_command_loads_nothing_of_the_client_or_the_manager() -> None:
    code = (
        "import sys; sys.argv = ['vnfm', 'package', 'validate', '--help']\n"
        "from vnfm.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('grpc', 'google.protobuf', 'vnfm.cli', 'yaml', 'rich.table', 'sqlalchemy', 'cryptography')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert set(json.loads(loaded.replace("'", '"'))) <= {"rich.table"}  # help is drawn with it
