"""Probe packets along a path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plugins.local.net.errors import HostRefusedError
from plugins.local.net.plan import LinkPlan
from plugins.local.net.specs import PathSpec, ProbeResult


def run(
    spec: PathSpec,
    plans: Sequence[LinkPlan],
    packets: int,
    patience_seconds: float,
    random_bytes: Callable[[int], bytes],
) -> ProbeResult:
    """The probe is not built yet."""
    raise HostRefusedError(f"path {spec.id}: probes are not built yet")
