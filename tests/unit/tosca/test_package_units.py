"""Amounts as people write them come out in one unit, and what is no amount is refused with what is expected."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vnfm.tosca import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512Mi", 512 * 2**20),
        ("2 GiB", 2 * 2**30),
        ("4096 MB", 4_096_000_000),
        ("1.5 KiB", 1536),
        ("0.1 B", 1),
        ("10 gb", 10**10),
        ("64M", 64_000_000),
        (2048, 2048),
    ],
)
def test_sizes_that_people_write(text: object, expected: int) -> None:
    assert units.size_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "MiB", "1 parsec", "-1 MB", "1 2 MB", True, None, ["1"], "9" * 80, "9e30 GB", "nan"]
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(units.UnitError):
        units.size_bytes(text)


def test_a_number_without_a_unit_counts_what_the_field_counts_unless_that_were_absurd() -> None:
    assert units.size_bytes(512, bare=10**6) == 512 * 10**6
    assert units.size_bytes(536870912, bare=10**6) == 536870912


@pytest.mark.parametrize(
    ("value", "bare", "expected"),
    [("250m", 1000, 250), (2, 1000, 2000), ("0.5", 1000, 500), (0.5, 1, 500), (500, 1, 500), ("2 vCPU", 1, 2000)],
)
def test_cpus(value: object, bare: int, expected: int) -> None:
    assert units.cpu_milli(value, bare) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5 ms", 5000), ("20us", 20), ("1.5 s", 1_500_000), ("100 ns", 1), ("2 µs", 2), (1, 1_000_000)],
)
def test_times(text: object, expected: int) -> None:
    assert units.time_us(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(1000, 1000), ("10 Mbps", 10**7), ("1 Kibps", 1024), ("5 MBps", 4 * 10**7), ("2 Gbit/s", 2 * 10**9)],
)
def test_bit_rates(text: object, expected: int) -> None:
    assert units.rate_bps(text) == expected


_EXACT = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30, "TiB": 2**40}


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(_EXACT)), st.sampled_from(["", " ", "  "]))
def test_a_size_is_the_number_times_its_unit_rounded_up(whole: int, thousandths: int, unit: str, gap: str) -> None:
    exact = (whole + Fraction(thousandths, 1000)) * _EXACT[unit]
    read = units.size_bytes(f"{whole}.{thousandths:03d}{gap}{unit}")
    assert exact <= read < exact + 1


@given(st.text(max_size=40))
def test_no_text_makes_units_do_anything_but_answer_or_refuse(text: str) -> None:
    for read in (units.size_bytes, units.time_us, units.cpu_milli, units.rate_bps):
        amount = 0
        with suppress(units.UnitError):
            amount = read(text)
        assert amount >= 0
