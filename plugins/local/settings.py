"""The plugin's configuration (Configure's `config`), as JSON Schema and as values."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plugins.local import outward
from plugins.local.net import Outside
from plugins.local.stamps import key_of
from vnfm.pluginkit.problems import invalid

CGROUP_BASE = "vnfm"

CONFIG_SCHEMA: Mapping[str, object] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["state_dir"],
    "properties": {
        "state_dir": {"type": "string", "minLength": 1, "description": "absolute path: the image cache"},
        "run_dir": {"type": "string", "minLength": 1, "description": "absolute path: what runs (state_dir/run)"},
        "host_id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"},
        "site": {"type": "string"},
        "zone": {"type": "string"},
        "rack": {"type": "string"},
        "trust": {"type": "integer", "minimum": 0, "maximum": 3},
        "cpu_allocation_ratio": {
            "type": "number",
            "minimum": 1,
            "description": "how much CPU is promised for each that is there (16): none is given exclusively",
        },
        "price_per_vcpu": {"type": "number", "minimum": 0},
        "reserve": {
            "type": "object",
            "additionalProperties": False,
            "description": "what is kept back for the host itself",
            "properties": {
                "cpu_milli": {"type": "integer", "minimum": 0},
                "memory_bytes": {"type": "integer", "minimum": 0},
                "disk_bytes": {"type": "integer", "minimum": 0},
            },
        },
        "pids_limit": {"type": "integer", "minimum": 16, "description": "processes a compute (1024)"},
        "parallel": {"type": "integer", "minimum": 1, "description": "computes built at once (2 a core)"},
        "acceleration": {"enum": ["auto", "tcg", "kvm"], "description": "auto: KVM where a guest boots with it"},
        "guest_seconds": {"type": "integer", "minimum": 1, "description": "how long a VM's agent is waited for (90)"},
        "agent_silence_s": {
            "type": "integer",
            "minimum": 3,
            "description": "a guest that has been silent for so long counts as hung (30)",
        },
        "networks": {
            "type": "object",
            "description": "networks outside by which links can go on in other VIMs, by the name that all VIMs' "
            "configurations give them",
            "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["interface", "encaps"],
                "properties": {
                    "interface": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$"},
                    "namespace": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
                    "encaps": {"type": "array", "minItems": 1, "items": {"enum": ["VXLAN", "VLAN", "FLAT"]}},
                    "address": {"type": "string", "description": "VXLAN: where others send to (the interface's own)"},
                    "udp_port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "VXLAN (4789)"},
                    "group": {"type": "string", "description": "VXLAN: the multicast group that floods (none)"},
                    "vlan_ids": {
                        "type": "array",
                        "description": "VLAN: the first and the last id that may be taken",
                        "items": {"type": "integer", "minimum": 1, "maximum": 4094},
                        "minItems": 2,
                        "maxItems": 2,
                    },
                    "one_way_us": {"type": "integer", "minimum": 0, "description": "from here into the network"},
                    "bandwidth_bps": {"type": "integer", "minimum": 0},
                },
            },
        },
        "microvm_command": {
            "type": "array",
            "items": {"type": "string"},
            "description": "the OCI runtime for KATA, with runc's command line (our own microVM runtime)",
        },
    },
}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked values. `run_dir` must be on this machine and short enough for sockets below it."""

    state_dir: Path
    run_dir: Path
    host_id: str
    site: str = ""
    zone: str = ""
    rack: str = ""
    trust: int = 0
    price_per_vcpu: float = 0.0
    cpu_allocation_ratio: float = 16.0
    reserve_cpu_milli: int = 0
    reserve_memory_bytes: int = 256 * _MIB
    reserve_disk_bytes: int = 512 * _MIB
    pids_limit: int = 1024
    parallel: int = 0
    acceleration: str = "auto"
    guest_seconds: int = 90
    agent_silence_s: int = 30
    microvm_command: tuple[str, ...] = ()
    networks: tuple[Outside, ...] = ()

    @property
    def scope(self) -> str:
        """What tells this plugin's objects on the host from those of another one, on another run folder."""
        return hashlib.sha256(str(self.run_dir).encode()).hexdigest()[:8]

    def cgroup_of(self, resource_id: str) -> str:
        """A compute's control group. Another plugin's of the same id, on another run folder, is another one."""
        return f"{CGROUP_BASE}/{self.scope}/{key_of(resource_id)}"


def host_name() -> str:
    """The default host id: the machine's name, cut to what an id may hold."""
    name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in socket.gethostname())
    return name.lstrip("._-")[:128] or "host"


def parse(config: Mapping[str, object]) -> Settings:
    """From what CONFIG_SCHEMA has let through; INVALID_ARGUMENT names the field."""
    state_dir = _folder(config, "state_dir", "")
    reserve = config.get("reserve")
    kept = reserve if isinstance(reserve, Mapping) else {}
    command = config.get("microvm_command")
    return Settings(
        state_dir=state_dir,
        run_dir=_folder(config, "run_dir", str(state_dir / "run")),
        host_id=str(config.get("host_id") or host_name()),
        site=str(config.get("site", "")),
        zone=str(config.get("zone", "")),
        rack=str(config.get("rack", "")),
        trust=_whole(config, "trust", 0),
        price_per_vcpu=float(str(config.get("price_per_vcpu", 0))),
        cpu_allocation_ratio=float(str(config.get("cpu_allocation_ratio", 16))),
        reserve_cpu_milli=_whole(kept, "cpu_milli", 0),
        reserve_memory_bytes=_whole(kept, "memory_bytes", 256 * _MIB),
        reserve_disk_bytes=_whole(kept, "disk_bytes", 512 * _MIB),
        pids_limit=_whole(config, "pids_limit", 1024),
        parallel=_whole(config, "parallel", 0),
        acceleration=str(config.get("acceleration", "auto")),
        guest_seconds=_whole(config, "guest_seconds", 90),
        agent_silence_s=_whole(config, "agent_silence_s", 30),
        microvm_command=tuple(str(part) for part in command) if isinstance(command, list) else (),
        networks=outward.networks(config.get("networks")),
    )


def _folder(config: Mapping[str, object], key: str, default: str) -> Path:
    path = Path(str(config.get(key) or default))
    if not path.is_absolute() or ".." in path.parts:
        raise invalid(f"config.{key}", f"{str(path)!r} is not an absolute path without '..'")
    return path


def _whole(config: Mapping[str, object], key: str, default: int) -> int:
    value = config.get(key, default)
    return int(value) if isinstance(value, int | float) else default
