from __future__ import annotations

import lzma
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gnomon.core.energy import evenly_sampled, from_power, measure_windows, windows_between
from gnomon.core.errors import DataError
from gnomon.device.trace_file import PUBLISHED_RULE, read_timestamps, read_trace, write_trace

PUBLISHED = Path(__file__).parent / "published" / "kws_energy"


@pytest.fixture
def published_trace(tmp_path):
    file = tmp_path / "trace1-energy.bin"
    file.write_bytes(lzma.decompress((PUBLISHED / "trace1-energy.bin.xz").read_bytes()))
    return file


def published_numbers(pattern):
    text = (PUBLISHED / "results.txt").read_text()
    return [float(number) for number in re.findall(pattern, text)]


def test_published_energy_is_recomputed_to_its_last_digit(published_trace):
    samples = read_trace(published_trace)
    timestamps_s = read_timestamps(PUBLISHED / "trace1-timestamps.json")
    iterations = [int(count) for count in published_numbers(r"Inferences :\s+(\d+)")]
    figures = measure_windows(samples, windows_between(timestamps_s, iterations), PUBLISHED_RULE)
    published_uj = published_numbers(r"Energy +:\s+([\d.]+) uJ\n")
    assert len(published_uj) == 5
    assert np.multiply(figures.energy_j, 1e6) == pytest.approx(published_uj, abs=5.1e-4)
    assert figures.uj_per_inference == pytest.approx(
        published_numbers(r"([\d.]+) uJ/inf\.\n")[:5], abs=5.1e-4
    )
    assert figures.median_uj_per_inference == pytest.approx(
        published_numbers(r"Median energy cost is ([\d.]+)")[0], abs=5.1e-4
    )
    # Published power is energy over the samples summed, which may be one more or fewer than the window.
    published_uw = published_numbers(r"Power +:\s+([\d.]+) uW")
    assert np.multiply(figures.power_w, 1e6) == pytest.approx(published_uw, rel=1.01 / 11_550)


def test_the_other_rules_are_off_by_a_sample_at_most(published_trace):
    samples = read_trace(published_trace)
    windows = windows_between(read_timestamps(PUBLISHED / "trace1-timestamps.json"), [1] * 5)
    published_uj = published_numbers(r"Energy +:\s+([\d.]+) uJ\n")
    for rule in ("nearest", "split"):
        off_uj = np.abs(
            np.multiply(measure_windows(samples, windows, rule).energy_j, 1e6) - published_uj
        )
        assert 0 < off_uj.max() <= 1e6 * samples.energy_j.max()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    arrays(np.float32, st.integers(0, 200), elements=st.floats(0, 1e6, width=32)),
    st.sampled_from([1.0, 1000.0, 10_000.0]),
    st.lists(st.integers(0, 10**6).map(lambda ms: ms / 1000)).map(sorted),
)
def test_a_trace_that_was_written_reads_back(tmp_path_factory, energy_uj, rate_hz, timestamps_s):
    folder = tmp_path_factory.mktemp("trace")
    write_trace(
        folder, evenly_sampled(energy_uj.astype(float) * 1e-6, rate_hz), tuple(timestamps_s), "t"
    )
    samples = read_trace(folder / "t-energy.bin")
    assert samples.rate_hz == rate_hz
    np.testing.assert_allclose(samples.energy_j * 1e6, energy_uj, rtol=1e-6)
    assert read_timestamps(folder / "t-timestamps.json") == tuple(timestamps_s)


def test_the_published_files_are_what_we_would_write(published_trace, tmp_path):
    timestamps_file = PUBLISHED / "trace1-timestamps.json"
    again = tmp_path / "again"
    again.mkdir()
    write_trace(again, read_trace(published_trace), read_timestamps(timestamps_file))
    assert (again / "trace1-energy.bin").read_bytes() == published_trace.read_bytes()
    assert (again / "trace1-timestamps.json").read_bytes() == timestamps_file.read_bytes()


GOOD = bytes([0xF1]) + np.array([1000, 1, 2], "<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no energy trace"),
        (b"\xf2" + GOOD[1:], "byte 0xF1"),
        (GOOD[:-2], "ends inside sample 1: it was cut short"),
        (bytes([0xF1]) + np.array([0, 1], "<f4").tobytes(), "sample rate as 0.0 Hz"),
        (bytes([0xF1]) + np.array([1000, 1, np.nan], "<f4").tobytes(), "sample 1 is nan"),
    ],
)
def test_a_file_that_is_no_whole_trace_is_refused_in_one_line(tmp_path, content, part):
    file = tmp_path / "trace1-energy.bin"
    file.write_bytes(content)
    with pytest.raises(DataError, match=part):
        read_trace(file)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[1, 2", "no JSON"),
        ("{}", "list of seconds"),
        ('[1, "2"]', "timestamp 1 is '2'"),
        ("[1, true]", "timestamp 1 is True"),
        ("[2, 1]", "timestamp 1 is before"),
        ("[NaN]", "timestamp 0 is nan"),
    ],
)
def test_timestamps_that_are_no_rising_seconds_are_refused(tmp_path, content, part):
    file = tmp_path / "trace1-timestamps.json"
    file.write_text(content)
    with pytest.raises(DataError, match=part):
        read_timestamps(file)


def test_missing_files_and_uneven_samples_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot read the energy trace"):
        read_trace(tmp_path / "none.bin")
    with pytest.raises(DataError, match="cannot read"):
        read_timestamps(tmp_path / "none.json")
    with pytest.raises(DataError, match="evenly spaced"):
        write_trace(tmp_path, from_power(np.arange(3.0), np.ones(3)), ())
    assert not list(tmp_path.iterdir())
