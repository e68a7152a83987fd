"""Numbers as people read them: units that suit, digits that round the right way, any size and sign."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core import units
from gnomon.core.units import (
    format_bytes,
    format_count,
    format_dollars,
    format_duration_ns,
    format_energy,
    format_rate,
    format_seconds,
)

NS = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def number_and_unit(text):
    number, _, unit = text.partition(" ")
    return float(number.replace(",", "")), unit


def examples(function):
    """The values that a docstring shows in backticks."""
    return re.findall(r"`([^`]+)`", function.__doc__)


# --- durations


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (1, "1.00 ns"),
        (0.5, "0.500 ns"),
        (42, "42.0 ns"),
        (850, "850 ns"),
        (999.4, "999 ns"),
        (999.5, "1.00 µs"),
        (999.96, "1.00 µs"),
        (1000, "1.00 µs"),
        (9994, "9.99 µs"),
        (9996, "10.0 µs"),
        (999_400, "999 µs"),
        (999_960, "1.00 ms"),
        (4_210_000, "4.21 ms"),
        (999_499_999, "999 ms"),
        (999_500_000, "1.00 s"),
        (12.3e9, "12.3 s"),
        (600e9, "600 s"),
        (3600e9, "3,600 s"),
        (12_345.6e9, "12,346 s"),
        (1e30, "1,000,000,000,000,000,000,000 s"),
        (-5, "-5.00 ns"),
        (-999.96, "-1.00 µs"),
        (-1500, "-1.50 µs"),
        (np.int64(4_210_000), "4.21 ms"),
        (np.float64(850), "850 ns"),
    ],
)
def test_a_duration_has_three_digits_in_the_unit_that_suits(duration_ns, text):
    assert format_duration_ns(duration_ns) == text


def test_no_time_at_all_is_zero_nanoseconds():
    assert number_and_unit(format_duration_ns(0)) == (0, "ns")


@given(st.floats(1, 1e18))
def test_a_duration_is_never_scientific_and_within_half_a_unit_of_its_third_digit(duration_ns):
    text = format_duration_ns(duration_ns)
    number, unit = number_and_unit(text)
    assert "e" not in text
    assert number * NS[unit] == pytest.approx(duration_ns, rel=0.0051)
    assert number >= 1
    assert number < 1000 or unit == "s"


@given(st.floats(0.01, 1e18))
def test_a_negative_duration_reads_like_the_positive_one_with_a_minus(duration_ns):
    assert format_duration_ns(-duration_ns) == f"-{format_duration_ns(duration_ns)}"


@given(st.floats(0, 1e15), st.floats(0, 1e15))
def test_a_longer_duration_never_reads_shorter(one, other):
    shown = [
        number * NS[unit]
        for number, unit in (number_and_unit(format_duration_ns(ns)) for ns in sorted((one, other)))
    ]
    assert shown[0] <= shown[1] * (1 + 1e-12)


# --- rates and counts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (412_300, "412,300 samples/s"),
        (412_345.6, "412,346 samples/s"),
        (99_999.5, "100,000 samples/s"),
        (9999.6, "10,000 samples/s"),
        (2000, "2,000 samples/s"),
        (999.96, "1,000 samples/s"),
        (3.8142, "3.814 samples/s"),
        (0.012346, "0.01235 samples/s"),
        (1e15, "1,000,000,000,000,000 samples/s"),
    ],
)
def test_a_rate_has_four_digits_and_its_whole_part_is_never_rounded_away(value, text):
    assert format_rate(value, "samples/s") == text


def test_a_rate_of_nothing_is_zero():
    assert number_and_unit(format_rate(0, "queries/s")) == (0, "queries/s")


@pytest.mark.parametrize("count", [0, 7, 999, 1000, 1_234_567, -1_234_567, 2**63])
def test_a_count_has_its_thousands_set_apart_and_loses_no_digit(count):
    text = format_count(count)
    assert int(text.replace(",", "")) == count
    assert all(len(part) == 3 for part in text.split(",")[1:])


# --- bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1 << 20, "1.00 MiB"),
        (25_125_558_681, "23.4 GiB"),
        (1 << 50, "1,024 TiB"),
        (-2048, "-2.00 KiB"),
    ],
)
def test_bytes_have_binary_units(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(("above", "unit"), [(1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB")])
def test_a_byte_short_of_the_next_unit_is_shown_in_the_next_unit(above, unit):
    assert format_bytes(above - 1) == f"1.00 {unit}"


@given(st.integers(0, 1 << 60))
def test_bytes_are_within_half_a_unit_of_their_third_digit(count):
    number, unit = number_and_unit(format_bytes(count))
    assert number * BYTES[unit] == pytest.approx(count, rel=0.0051)


# --- what the docstrings show


@pytest.mark.parametrize("text", examples(units.format_duration_ns))
def test_a_duration_shown_in_the_docstring_is_what_comes_out(text):
    number, unit = number_and_unit(text)
    assert format_duration_ns(number * NS[unit]) == text


@pytest.mark.parametrize("text", examples(units.format_rate))
def test_a_rate_shown_in_the_docstring_is_what_comes_out(text):
    assert format_rate(*number_and_unit(text)) == text


@pytest.mark.parametrize("text", examples(units.format_count))
def test_a_count_shown_in_the_docstring_is_what_comes_out(text):
    assert format_count(int(text.replace(",", ""))) == text


@pytest.mark.parametrize("text", examples(units.format_bytes))
def test_bytes_shown_in_the_docstring_are_what_comes_out(text):
    number, unit = number_and_unit(text)
    assert format_bytes(number * BYTES[unit]) == text


# --- federations: long times on a virtual clock, joules, dollars


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0042, "4.20 ms"),
        (99.4, "99.4 s"),
        (100, "1 min 40 s"),
        (302.4, "5 min 02 s"),
        (3599.6, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (86399, "1 d 00 h"),
        (273_900, "3 d 04 h"),
        (float("inf"), "inf s"),
    ],
)
def test_a_long_time_is_in_words(duration_s, text):
    assert format_seconds(duration_s) == text


@given(st.floats(100, 1e9))
def test_a_long_time_in_words_is_right_to_half_of_its_last_unit(duration_s):
    sizes = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    parts = re.findall(r"([\d,]+) (d|h|min|s)", format_seconds(duration_s))
    said_s = sum(int(number.replace(",", "")) * sizes[unit] for number, unit in parts)
    assert abs(said_s - duration_s) <= sizes[parts[-1][1]] / 2 + 1e-6


@pytest.mark.parametrize(
    ("energy_j", "text"),
    [
        (0, "0.00 mJ"),
        (0.00421, "4.21 mJ"),
        (12.34, "12.3 J"),
        (1500, "1.50 kJ"),
        (2.5e6, "2.50 MJ"),
    ],
)
def test_energy_has_three_digits_and_the_unit_that_suits(energy_j, text):
    assert format_energy(energy_j) == text


@pytest.mark.parametrize(
    ("dollars", "text"), [(12.344, "$12.34"), (0.0012342, "$0.001234"), (98765, "$98,765")]
)
def test_dollars_have_four_digits_and_a_whole_part_that_is_whole(dollars, text):
    assert format_dollars(dollars) == text
