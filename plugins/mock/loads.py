"""What the mock's computes take of their hosts, summed up as they come and go."""

from __future__ import annotations

from collections.abc import Mapping

from vnfm.pb.vim.v1 import vim_pb2 as pb

AMOUNTS = ("cpu_milli", "memory_bytes", "hugepage_bytes", "vfs", "gpus")
Amounts = tuple[int, int, int, int, int]
Overheads = Mapping[pb.Runtime.ValueType, int]
"""Bytes that each realization takes itself."""
_NOTHING: Amounts = (0, 0, 0, 0, 0)


class Loads:
    """By host and NUMA cell; by runtime, too, since what each takes itself is the configuration's to say."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int | None], dict[pb.Runtime.ValueType, tuple[int, Amounts]]] = {}

    def add(self, spec: pb.AllocateComputeRequest, times: int = 1) -> None:
        """It is there from now on; `times` -1: no more."""
        places: list[tuple[str, int | None]] = [(spec.host_id, None)]
        if spec.HasField("numa_cell"):
            places.append((spec.host_id, spec.numa_cell))
        for place in places:
            sums = self._sums.setdefault(place, {})
            count, amounts = sums.get(spec.runtime, (0, _NOTHING))
            added = [amount + times * more for amount, more in zip(amounts, _asked(spec), strict=True)]
            sums[spec.runtime] = count + times, (added[0], added[1], added[2], added[3], added[4])

    def taken(self, host_id: str, cell: int | None, overheads: Overheads) -> Amounts:
        """Of a host, or by what is bound to one of its cells."""
        found = list(_NOTHING)
        for runtime, (count, amounts) in self._sums.get((host_id, cell), {}).items():
            found = [amount + more for amount, more in zip(found, amounts, strict=True)]
            found[1] += count * overheads.get(runtime, 0)
        return found[0], found[1], found[2], found[3], found[4]


def taken(spec: pb.AllocateComputeRequest, overheads: Overheads) -> Amounts:
    """What one compute takes of its host."""
    cpu_milli, memory_bytes, *others = _asked(spec)
    return cpu_milli, memory_bytes + overheads.get(spec.runtime, 0), others[0], others[1], others[2]


def _asked(spec: pb.AllocateComputeRequest) -> Amounts:
    """Without what the realization takes itself. What huge pages back is no ordinary memory."""
    vfs = sum(port.vnic == pb.Port.DIRECT for port in spec.ports)
    return spec.cpu_milli, max(0, spec.memory_bytes - spec.hugepage_bytes), spec.hugepage_bytes, vfs, spec.gpus
