"""How much a package may ask of us. Archives and YAML are hostile until read."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one reading. Sizes in bytes, times in seconds."""

    entries: int = 10_000
    name_chars: int = 512
    name_parts: int = 40  # folders and the file
    directory_bytes: int = 16 * MIB  # of the zip's central directory
    file_bytes: int = 16 * GIB
    total_bytes: int = 32 * GIB
    ratio: int = 200  # unpacked to packed, of a file and of all together, looked at from ratio_from_bytes on
    ratio_from_bytes: int = 16 * MIB
    manifest_bytes: int = 4 * MIB
    yaml_bytes: int = 4 * MIB
    yaml_total_bytes: int = 16 * MIB
    yaml_nodes: int = 400_000  # with aliases written out
    yaml_depth: int = 60
    imports: int = 200
    staged_bytes: int = 64 * MIB  # handed to the child: YAML files and small texts
    text_bytes: int = 64 * KIB
    child_cpu_seconds: int = 20
    child_wall_seconds: float = 40.0
    child_memory_bytes: int = 1 * GIB
    child_output_bytes: int = 64 * MIB
