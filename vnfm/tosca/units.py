"""Amounts as people write them, in one unit each (TOSCA simple profile 3.3.6 scalar-unit, Kubernetes quantities)."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation

_LARGEST = 2**63 - 1
_AMOUNT = re.compile(r"^\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?)\s*([^\d\s.+-][^\d\s]*)?\s*$")

_SIZES = {
    "b": 1,
    **{p + s: 1000**n for n, p in enumerate("kmgtpe", 1) for s in ("", "b")},
    **{p + "i" + s: 1024**n for n, p in enumerate("kmgtpe", 1) for s in ("", "b")},
}
_SIZE_WORDS = {"byte": 1, "bytes": 1}
_TIMES = {"d": 86400 * 10**6, "h": 3600 * 10**6, "m": 60 * 10**6, "s": 10**6, "ms": 1000, "us": 1, "µs": 1, "μs": 1}
_RATE_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_RATE_PREFIXES |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class UnitError(ValueError):
    """No amount of the kind that is expected; the message says what is."""


class PlaceholderError(UnitError):
    """What a tool is to fill in: `<memory>`, `{{ memory }}`, `${MEMORY}`."""


def size_bytes(value: object, bare: int = 1) -> int:
    """Bytes of `512Mi`, `2 GiB`, `4096 MB` (MB is 10^6, MiB 2^20), rounded up.

    `bare` is what a number without a unit counts. Where it is more than a byte and the number would come out absurd,
    the number already is in bytes.
    """
    amount, unit = _split(value, "a size such as 512 MiB")
    if unit is None:
        factor = bare if amount < 2**24 else 1
    else:
        factor = _SIZES.get(unit.lower()) or _SIZE_WORDS.get(unit.lower()) or 0
        if not factor:
            raise UnitError(f"{unit!r} is no unit of size; expected B, kB, KiB, MB, MiB, GB, GiB, TB or TiB")
    return _whole(amount * factor)


def has_unit(value: object) -> bool:
    """Whether a unit is written."""
    try:
        return _split(value, "")[1] is not None
    except UnitError:
        return False


def time_us(value: object, bare_us: int = 10**6) -> int:
    """Microseconds of `5 ms`, `20 us`, `1.5 s`, rounded up; `bare_us` is what a number without a unit counts."""
    amount, unit = _split(value, "a time such as 5 ms")
    if unit is None:
        return _whole(amount * bare_us)
    if unit.lower() == "ns":
        return _whole(amount / 1000)
    if unit.lower() not in _TIMES:
        raise UnitError(f"{unit!r} is no unit of time; expected d, h, m, s, ms, us or ns")
    return _whole(amount * _TIMES[unit.lower()])


def cpu_milli(value: object, bare_milli: int = 1000) -> int:
    """Milli-CPU of `250m`, `0.5`, `2`; `bare_milli` is what a whole number counts (a fraction always is of a CPU)."""
    amount, unit = _split(value, "a number of CPUs such as 2 or 500m")
    if unit is None:
        return _whole(amount * (bare_milli if amount == int(amount) and "." not in str(value) else 1000))
    if unit.lower() in ("m", "millicpu", "mcpu"):
        return _whole(amount)
    if unit.lower() in ("cpu", "cpus", "vcpu", "vcpus"):
        return _whole(amount * 1000)
    raise UnitError(f"{unit!r} is no unit of CPU; expected m or nothing")


def rate_bps(value: object) -> int:
    """Bit/s of `1000000`, `10 Mbps`, `1 Gibps`, `5 MBps` (B is bytes), rounded up."""
    amount, unit = _split(value, "a bit rate such as 1000000 or 10 Mbps")
    if unit is None:
        return _whole(amount)
    for suffix, factor in (("bps", 1), ("Bps", 8), ("bit/s", 1), ("b/s", 1), ("B/s", 8)):
        if unit.endswith(suffix) and (prefix := unit.removesuffix(suffix).lower()) in _RATE_PREFIXES:
            return _whole(amount * _RATE_PREFIXES[prefix] * factor)
    raise UnitError(f"{unit!r} is no unit of bit rate; expected bps, kbps, Mbps, Gbps or Kibps, Mibps, Gibps")


def _split(value: object, expected: str) -> tuple[Decimal, str | None]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnitError(f"expected {expected}, found {value!r}")
    text = str(value)
    found = _AMOUNT.match(text) if len(text) <= 64 else None
    if found is None:
        kind = PlaceholderError if text.strip()[:1] in ("<", "{", "$", "%", "@", "") else UnitError
        raise kind(f"expected {expected}, found {text[:64]!r}")
    try:
        amount = Decimal(found[1])
    except InvalidOperation as error:  # pragma: no cover - the pattern admits only numbers
        raise UnitError(f"expected {expected}, found {text!r}") from error
    if amount < 0:
        raise UnitError(f"expected {expected}, found the negative {text!r}")
    return amount, found[2]


def _whole(amount: Decimal) -> int:
    if amount > _LARGEST:
        raise UnitError(f"{amount} is too large")
    return int(amount.to_integral_value(rounding=ROUND_CEILING))
