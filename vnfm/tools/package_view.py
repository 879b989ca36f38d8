"""What a reading found, as JSON and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vnfm.model.package import Severity
from vnfm.model.vnfd_document import finding_document, full, vnfd_document

if TYPE_CHECKING:
    from rich.console import Console

    from vnfm.model.vnfd import Flavour
    from vnfm.tosca import PackageReading


def reading_json(reading: PackageReading) -> dict[str, Any]:
    """The JSON of `validate` and `show`: ok, problems, vnfd and the package around it.

    vnfd is what could be read, also of a package that is refused; null where that is nothing.
    """
    return {
        "ok": reading.ok,
        "problems": [finding_document(f) for f in reading.findings],
        "vnfd": vnfd_document(reading.known) if reading.known is not None else None,
        "package": {
            "entry": reading.entry,
            "metadata": dict(reading.metadata),
            "parts": {word: list(names) for word, names in reading.parts.items()},
            "artifact_sets": {name: list(names) for name, names in reading.artifact_sets.items()},
            "signature": full(reading.signature),
            "files": [
                {"name": name, "size_bytes": f.size_bytes, "sha256": f.sha256, "kind": f.kind}
                for name, f in reading.files.items()
            ],
        },
    }


def print_reading(reading: PackageReading, console: Console, *, whole: bool) -> None:
    """For a terminal: the findings, who the VNF is, with `whole` each flavour, and the verdict as the last line."""
    from rich.markup import escape

    for finding in reading.findings:
        where = f"{finding.file}:{finding.line}:{finding.column}" if finding.line else finding.file
        colour = "red" if finding.severity is Severity.ERROR else "yellow"
        place = f" {escape(where)}" if where else ""
        console.print(
            f"[{colour}]{finding.severity.value}[/]{place} {escape(finding.message)} [dim]({finding.code})[/]",
            soft_wrap=True,
        )
        if finding.hint:
            console.print(f"    {escape(finding.hint)}", soft_wrap=True)
    if reading.signature.option:
        console.print(f"signature: {reading.signature.state.lower()}, {escape('; '.join(reading.signature.subjects))}")
    if reading.known is not None:
        vnfd = reading.known
        console.print(f"{escape(vnfd.provider)} {escape(vnfd.product)} {escape(vnfd.version)}  {escape(vnfd.id)}")
        for flavour in vnfd.flavours:
            _print_flavour(flavour, console, whole=whole)
    errors = sum(f.severity is Severity.ERROR for f in reading.findings)
    told = " and ".join(_count(n, w) for n, w in ((errors, "error"), (len(reading.findings) - errors, "warning")) if n)
    verdict = "[green]can be used[/]" if reading.ok else "[red]refused[/]"
    console.print(f"{verdict}{': ' + told if told else ''}")


def _print_flavour(flavour: Flavour, console: Console, *, whole: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    counts = (
        (flavour.vdus, "VDU"),
        (flavour.cps, "CP"),
        (flavour.virtual_links, "virtual link"),
        (flavour.storages, "storage"),
        (flavour.scaling_aspects, "scaling aspect"),
    )
    listed = ", ".join(_count(len(things), word) for things, word in counts if things)
    console.print(f"flavour {escape(flavour.id)}: {listed or 'nothing'}")
    if not whole:
        return
    if flavour.vdus:
        table = Table()
        for column in ("VDU", "CPU", "memory", "image", "isolation", "instances", "CPs"):
            table.add_column(column)
        for vdu in flavour.vdus:
            images = [vdu.disk_image, *(c.image for c in vdu.containers)]
            table.add_row(
                escape(vdu.id),
                f"{vdu.cpu_milli / 1000:g}",
                f"{vdu.memory_bytes / 2**20:.0f} MiB",
                escape(", ".join(f"{i.name} ({i.format.value})" for i in images if i is not None)),
                vdu.needs.isolation.name.lower(),
                f"{vdu.initial_instances} ({vdu.min_instances}-{vdu.max_instances})",
                escape(", ".join(c.id for c in flavour.cps if c.vdu_id == vdu.id)),
            )
        console.print(table)
    for word, names in (
        ("external CPs", [e.id for e in flavour.external_cps]),
        ("virtual links", [v.id for v in flavour.virtual_links]),
        ("storages", [s.id for s in flavour.storages]),
        ("scaling aspects", [a.id for a in flavour.scaling_aspects]),
        ("instantiation levels", [level.id for level in flavour.instantiation_levels]),
        ("affinity", [rule.id for rule in flavour.affinity]),
        ("artifacts", [a.path or a.file for a in flavour.artifacts]),
    ):
        if names:
            console.print(f"  {word}: {escape(', '.join(names))}", soft_wrap=True)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
