"""Descriptors that cannot be used: every problem at once, each where it stands, and nothing fetched."""

from __future__ import annotations

import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from csar_writer import HEAD, TYPES, VDU, block, vnfd, write_csar

from vnfm.model.package import Finding
from vnfm.tosca import Limits, PackageReading, read_package


def read(tmp_path: Path, text: str, limits: Limits | None = None) -> PackageReading:
    return read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": text}), limits=limits)


def errors(reading: PackageReading) -> list[Finding]:
    return [f for f in reading.findings if f.severity == "error"]


CP = """
cp:
  type: tosca.nodes.nfv.VduCp
  properties: { layer_protocols: [ ipv4 ] }
  requirements:
    - virtual_binding: vdu1
"""
STORE = """
store:
  type: tosca.nodes.nfv.Vdu.VirtualBlockStorage
  properties: { virtual_block_storage_data: { size_of_storage: 1 GB } }
"""


@pytest.mark.parametrize(
    ("nodes", "code", "at"),
    [
        (VDU + block(CP.replace("vdu1", "store") + STORE, 4), "cp-binding", "virtual_binding"),
        (VDU + block(CP.replace("vdu1", "nobody"), 4), "target-unknown", "virtual_binding"),
        (VDU + block(CP.replace("    - virtual_binding: vdu1\n", "    - virtual_link: net\n"), 4), "cp-unbound", "cp:"),
        (VDU.replace("512 MiB", "much"), "value-unit", "virtual_mem_size"),
        (VDU.replace("num_virtual_cpu: 2", "num_virtual_cpu: 0"), "value-range", "num_virtual_cpu"),
        (VDU.replace("num_virtual_cpu: 2", "num_virtual_cpu: -1"), "value-unit", "num_virtual_cpu"),
        (VDU.replace("max_number_of_instances: 4", "max_number_of_instances: 0"), "vdu-profile", "min_number"),
        (VDU.replace("max_number_of_instances: 4", "max_number_of_instances: many"), "value-type", "max_number"),
        (VDU + VDU, "template-duplicate", "vdu1"),
    ],
)
def test_a_problem_is_named_with_its_line(tmp_path: Path, nodes: str, code: str, at: str) -> None:
    text = vnfd(nodes)
    found = [f for f in errors(read(tmp_path, text)) if f.code == code]
    assert found, errors(read(tmp_path, text))
    lines = text.splitlines()
    near = "\n".join(lines[max(0, found[0].line - 3) : found[0].line + 1])
    assert at in near
    assert found[0].file == "vnfd.yaml"
    assert found[0].column > 0


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    nodes = VDU.replace("512 MiB", "much") + block(CP.replace("vdu1", "nobody") + STORE.replace("1 GB", "big"), 4)
    assert {f.code for f in errors(read(tmp_path, vnfd(nodes)))} == {"value-unit", "target-unknown"}
    assert len(errors(read(tmp_path, vnfd(nodes)))) == 3


@pytest.mark.parametrize(
    "name", ["descriptor_id", "provider", "product_name", "descriptor_version", "software_version"]
)
def test_a_vnf_that_does_not_say_who_it_is(tmp_path: Path, name: str) -> None:
    types = "\n".join(line for line in TYPES.splitlines() if f"      {name}:" not in line) + "\n"
    reading = read(tmp_path, vnfd(types=types))
    found = [f for f in reading.findings if f.code == "property-missing"]
    assert [(f.severity, name in f.message) for f in found] == [("warning", True)]
    assert reading.vnfd is not None
    assert reading.vnfd.id  # made up where it is the id that is missing


def test_vdus_without_a_vnf_get_an_id_that_stays(tmp_path: Path) -> None:
    text = HEAD + "topology_template:\n  node_templates:\n" + block(VDU, 4)
    first, second = read(tmp_path, text), read(tmp_path, text.replace("512 MiB", "1 GiB"))
    assert "vnf-missing" in {f.code for f in first.findings}
    assert first.vnfd is not None
    assert second.vnfd is not None
    assert [v.id for v in first.vnfd.flavours[0].vdus] == ["vdu1"]
    assert first.vnfd.id == getattr(read(tmp_path, text).vnfd, "id", "")
    assert first.vnfd.id != second.vnfd.id


def test_nothing_of_a_vnf_at_all(tmp_path: Path) -> None:
    text = HEAD + "topology_template:\n  node_templates:\n    host: { type: tosca.nodes.Compute }\n"
    assert {f.code for f in errors(read(tmp_path, text))} == {"vnf-missing"}


def test_what_tosca_parser_alone_refuses_is_a_warning(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(VDU.replace("        name: one\n", "        name: one\n        colour: red\n")))
    assert reading.ok
    (finding,) = reading.findings
    assert (finding.code, finding.severity) == ("tosca-parser-unknown-field", "warning")
    assert finding.line > 0


@pytest.mark.parametrize(
    "raw", ["a: [", "a: b: c", "\ttabs: 1", "- only\n- a list", "", "a: &x [ *x ]", "? [a, b] : c", "\x00"]
)
def test_yaml_that_is_none(tmp_path: Path, raw: str) -> None:
    (finding,) = errors(read(tmp_path, raw))
    assert finding.code.startswith("yaml-")
    assert finding.file == "vnfd.yaml"


def bounded(tmp_path: Path, text: str, seconds: float = 10) -> set[str]:
    began = time.monotonic()
    reading = read(tmp_path, text)
    assert time.monotonic() - began < seconds
    return {f.code for f in errors(reading)}


def test_an_alias_bomb_costs_nothing(tmp_path: Path) -> None:
    bomb = "a0: &a0 [ x, x, x, x, x, x, x, x, x, x ]\n"
    bomb += "".join(f"a{n}: &a{n} [ {', '.join([f'*a{n - 1}'] * 10)} ]\n" for n in range(1, 12))
    assert bounded(tmp_path, HEAD + "dsl_definitions:\n" + block(bomb, 2)) == {"yaml-too-large"}


def test_a_pit_of_brackets(tmp_path: Path) -> None:
    assert bounded(tmp_path, "a: " + "[" * 500 + "]" * 500) == {"yaml-too-deep"}
    for text in ("a: " + "[" * 200_000, "a: " + "{b: " * 100_000, "- " * 100_000, "? " * 60_000):
        assert bounded(tmp_path, text) == {"yaml-too-deep"}


def test_a_huge_yaml_is_not_even_opened(tmp_path: Path) -> None:
    assert bounded(tmp_path, vnfd() + "# " + "x" * (5 * 2**20)) == {"yaml-too-large"}


def test_a_million_small_things_are_too_many(tmp_path: Path) -> None:
    assert bounded(tmp_path, "a: [" + "1," * 600_000 + "]", 20) == {"yaml-too-large"}


def test_a_reading_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    limits = Limits(child_wall_seconds=0.0005)
    (finding,) = errors(read(tmp_path, vnfd(), limits))
    assert finding.code == "reader-stopped"
    assert "longer" in finding.message


def test_a_reading_that_eats_memory_is_stopped(tmp_path: Path) -> None:
    many = "metadata: { list: [" + "a," * 150_000 + "] }\n"
    (finding,) = errors(read(tmp_path, vnfd() + many, Limits(child_memory_bytes=60 * 2**20)))
    assert finding.code == "reader-stopped"


class _Counter(http.server.BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to say."""


def test_nothing_is_fetched_from_a_url(tmp_path: Path) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Counter)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        home = f"http://127.0.0.1:{server.server_port}"
        head = f"""
tosca_definitions_version: tosca_simple_yaml_1_3
repositories:
  theirs: {{ url: {home} }}
imports:
  - {home}/some/path/etsi_nfv_sol001_vnfd_types.yaml
  - {home}/evil.yaml
  - evil: {{ file: more.yaml, repository: theirs }}
"""
        nodes = VDU + block(
            f"artifacts:\n  sw_image: {{ type: tosca.artifacts.nfv.SwImage, file: '{home}/disk.qcow2' }}", 6
        )
        reading = read(tmp_path, vnfd(nodes, head=head))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert _Counter.requests == 0
    assert reading.ok, reading.findings  # the types are known by the file's name, wherever it is said to be
    assert [f.code for f in reading.findings].count("import-not-fetched") == 2


@pytest.mark.parametrize("wanted", ["file:///etc/passwd", "ftp://host/x.yaml", "../../etc/passwd", "/etc/passwd", "''"])
def test_an_import_that_leads_out_of_the_package_is_refused_by_name(tmp_path: Path, wanted: str) -> None:
    (finding,) = errors(read(tmp_path, vnfd(head=HEAD + f"  - {wanted}\n")))
    assert finding.code in ("import-outside", "import-form")
    assert (finding.file, finding.line, finding.column) == ("vnfd.yaml", 5, 5)
    assert finding.message


def test_the_child_can_neither_call_out_nor_start_anything(tmp_path: Path) -> None:
    """The guard itself, in a process of its own: it cannot be taken off again."""
    import subprocess
    import sys

    code = (
        "from vnfm.tosca.child import confine; from vnfm.tosca.limits import Limits; import socket, subprocess, os\n"
        "confine(Limits())\n"
        "for call in (lambda: socket.socket(), lambda: subprocess.run(['true']), lambda: os.system('true'),\n"
        "             lambda: socket.getaddrinfo('localhost', 80), lambda: os.fork()):\n"
        "    try:\n        call()\n    except PermissionError:\n        continue\n    raise SystemExit('not refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("../../etc/passwd", "import-outside"), ("/etc/passwd", "import-outside")],
)
def test_imports_stay_in_the_package(tmp_path: Path, wanted: str, code: str) -> None:
    text = vnfd(head=HEAD + f"  - {wanted}\n")
    found = errors(read(tmp_path, text))
    assert [f.code for f in found] == [code]
    assert wanted in text.splitlines()[found[0].line - 1]


def test_imports_in_a_circle_are_refused_by_name(tmp_path: Path) -> None:
    files = {"vnfd.yaml": vnfd(head=HEAD + "  - Definitions/a.yaml\n")}
    files["Definitions/a.yaml"] = "imports: [ b.yaml ]\n"
    files["Definitions/b.yaml"] = "imports: [ a.yaml, ../vnfd.yaml ]\n"
    reading = read_package(write_csar(tmp_path / "p.csar", files))
    assert {f.code for f in errors(reading)} == {"import-cycle"}
    cycle = next(f for f in reading.findings if f.code == "import-cycle")
    assert "Definitions/a.yaml → Definitions/b.yaml → Definitions/a.yaml" in cycle.message


def test_types_that_nobody_imports_are_known_all_the_same(tmp_path: Path) -> None:
    reading = read(tmp_path, vnfd(head="tosca_definitions_version: tosca_simple_yaml_1_2\n"))
    assert reading.ok
    assert reading.findings == ()


def test_many_readings_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    packages = []
    for n in range(6):
        nodes = VDU.replace("512 MiB", f"{n + 1} MiB" if n % 2 else "much")
        packages.append(write_csar(tmp_path / f"p{n}.csar", {"vnfd.yaml": vnfd(nodes)}))
    with ThreadPoolExecutor(6) as pool:
        readings = list(pool.map(read_package, packages))
    assert [r.ok for r in readings] == [False, True] * 3
    assert [r.vnfd.flavours[0].vdus[0].memory_bytes for r in readings if r.vnfd] == [2 * 2**20, 4 * 2**20, 6 * 2**20]
