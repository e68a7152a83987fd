from __future__ import annotations

import itertools
import sys
import threading
import time
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.energy import energy_between, measure_windows, windows_between
from gnomon.core.errors import MissingExtraError, SystemFault
from gnomon.device.joulescope import Joulescope, Slices, find_joulescope
from gnomon.device.monitors import make_monitor

RATE = 1_000_000


class Buffer:
    """The part of the package's StreamBuffer that is used: a moving range of numbered samples."""

    def __init__(self, power_w, level, first):
        self.power_w, self.level, self.first = power_w, level, first
        self.start, self.end = first, first

    @property
    def sample_id_range(self):
        return (self.start, self.end) if self.end > self.first else (None, None)

    def samples_get(self, start, stop, fields):
        signals = {"power": self.power_w, "current_lsb": self.level}
        part = slice(start - self.first, stop - self.first)
        return {"signals": {name: {"value": signals[name][part]} for name in fields}}


class Device:
    """A driver of the package's interface that plays a recording, some thousand samples at a time."""

    def __init__(
        self, power_w, level, *, keeps=10**9, first=12_345, fails_at=None, name="JS220-000123"
    ):
        self.stream_buffer = Buffer(power_w, level, first)
        self.keeps, self.fails_at, self.name = keeps, fails_at, name
        self.parameters, self.calls = {}, []
        self.played = threading.Event()

    def __str__(self):
        return self.name

    def open(self):
        self.calls.append("open")

    def info(self):
        return {"model": "JS220", "serial_number": "000123"}

    def parameter_set(self, name, value):
        self.parameters[name] = value

    def start(self):
        self.calls.append("start")
        threading.Thread(target=self.play, daemon=True).start()

    def play(self):
        buffer = self.stream_buffer
        for end in range(0, len(buffer.power_w) + 1, 7919):
            buffer.end = buffer.first + min(end + 7919, len(buffer.power_w))
            buffer.start = max(buffer.first, buffer.end - self.keeps)
            if self.fails_at is not None and end >= self.fails_at:
                buffer.samples_get = None
                break
            time.sleep(0.001)
        self.played.set()

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


def pulses(count, falls):
    level = np.ones(count, np.uint8)
    for place in falls:
        level[place : place + 40] = 0
    return level


def recorded(device):
    monitor = Joulescope(device)
    monitor.start()
    assert device.played.wait(5)
    monitor.stop()
    return monitor


def test_windows_between_falling_edges_have_the_exact_energy_of_the_stream():
    power_w = np.random.default_rng(1).uniform(0, 0.1, 200_000).astype(np.float32)
    falls = [1500, 30_017, 90_003, 100_000, 170_999]
    device = Device(power_w, pulses(200_000, falls))
    monitor = recorded(device)
    assert monitor.timestamps() == tuple(place / RATE for place in falls)
    figures = measure_windows(monitor.samples(), windows_between(monitor.timestamps(), [1, 1]))
    expected_j = [
        power_w[30_017:90_003].sum(dtype=float) / RATE,
        power_w[100_000:170_999].sum(dtype=float) / RATE,
    ]
    assert figures.energy_j == pytest.approx(expected_j, rel=1e-9)
    assert monitor.samples().gaps == ()
    assert (device.parameters["current_lsb"], device.parameters["i_range"]) == ("gpi0", "auto")
    assert device.calls == ["open", "start", "stop", "close"]
    assert monitor.describe()["instrument"] == "Joulescope JS220"


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_slices_are_the_same_in_whatever_pieces_the_stream_comes(data):
    count = data.draw(st.integers(1, 300))
    cuts = data.draw(st.lists(st.integers(0, count), max_size=6).map(sorted))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    power_w, level = (
        generator.uniform(0, 1, count),
        generator.integers(0, 2, count).astype(np.uint8),
    )
    slices = Slices(raw_rate_hz=10_000, kept_rate_hz=1000)
    for start, end in zip([0, *cuts], [*cuts, count], strict=True):
        slices.feed(500 + start, power_w[start:end], level[start:end])
    falls = np.flatnonzero(np.diff(level.astype(int)) < 0) + 1
    assert slices.timestamps() == tuple(falls / 10_000)
    samples = slices.samples()
    kept = round(samples.end_s * 10_000)
    assert kept >= count // 10 * 10
    assert samples.energy_j.sum() == pytest.approx(power_w[:kept].sum() / 10_000)
    for first, last in itertools.pairwise(falls):
        between_j = energy_between(samples, first / 10_000, last / 10_000)
        assert between_j == pytest.approx(power_w[first:last].sum() / 10_000)


def test_samples_that_the_buffer_dropped_are_a_gap_and_count_as_their_millisecond():
    slices = Slices()
    slices.feed(0, np.full(1200, 0.5), np.ones(1200, np.uint8))
    slices.feed(1500, np.full(1500, 0.5), np.ones(1500, np.uint8))
    (gap,) = slices.samples().gaps
    assert (gap.lost, gap.since_s, gap.time_s) == (300, 0.0012, 0.0015)
    assert slices.samples().energy_j == pytest.approx([0.5e-3] * 3)


def test_samples_marked_as_lost_are_a_gap_and_no_falling_edge():
    power_w, level = np.full(2000, 0.5), np.ones(2000, np.uint8)
    power_w[700:720], level[700:720] = np.nan, 0  # as the package fills what it skips
    slices = Slices()
    slices.feed(0, power_w, level)
    assert [(gap.lost, gap.since_s) for gap in slices.samples().gaps] == [(20, 0.0007)]
    assert slices.timestamps() == ()
    assert slices.samples().energy_j == pytest.approx([0.5e-3, 0.5e-3])


def test_a_reader_that_cannot_keep_up_with_the_buffer_says_what_it_lost():
    device = Device(np.full(3_000_000, 0.1), np.ones(3_000_000, np.uint8), keeps=2000)
    samples = recorded(device).samples()
    assert sum(gap.lost for gap in samples.gaps) > 0
    assert samples.energy_j.sum() == pytest.approx(0.1 * samples.end_s, rel=1e-3)


def test_an_instrument_that_breaks_off_or_sends_nothing_is_reported(monkeypatch):
    device = Device(np.ones(90_000), np.ones(90_000, np.uint8), fails_at=30_000)
    monitor = Joulescope(device)
    monitor.start()
    assert device.played.wait(5)
    with pytest.raises(SystemFault, match="JS220-000123 broke off: TypeError"):
        monitor.stop()
    monkeypatch.setattr("gnomon.device.joulescope._FIRST_SAMPLE_S", 0.1)
    silent = Device(np.empty(0), np.empty(0))
    with pytest.raises(SystemFault, match=r"sent no sample within 0.1 s"):
        Joulescope(silent).start()
    assert silent.calls[-2:] == ["stop", "close"]


def test_an_instrument_that_does_not_open_is_reported(monkeypatch):
    device = Device(np.empty(0), np.empty(0))

    def refuse():
        raise RuntimeError("in use")

    monkeypatch.setattr(device, "open", refuse)
    with pytest.raises(
        SystemFault, match="does not start: RuntimeError: in use; close the Joulescope UI"
    ):
        Joulescope(device).start()


def test_the_one_that_is_connected_is_found_or_the_one_of_a_number(monkeypatch):
    devices = []
    package = types.ModuleType("joulescope")
    package.scan = lambda config: devices
    monkeypatch.setitem(sys.modules, "joulescope", package)
    with pytest.raises(SystemFault, match="connected: none; plug it in"):
        find_joulescope()
    devices.append(Device(np.empty(0), np.empty(0)))
    assert find_joulescope() is devices[0]
    devices.append(Device(np.empty(0), np.empty(0), name="JS110-004000"))
    assert find_joulescope("004000") is devices[1]
    assert make_monitor("joulescope", "000123").describe()["address"] == "JS220-000123"
    with pytest.raises(SystemFault, match="JS220-000123, JS110-004000; give its serial number"):
        find_joulescope()
    monkeypatch.setitem(sys.modules, "joulescope", None)
    with pytest.raises(MissingExtraError, match=r"gnomon\[energy\]"):
        find_joulescope()


def test_the_packages_own_buffer_is_understood():
    stream_buffer = pytest.importorskip(
        "joulescope.v1.stream_buffer", reason="joulescope, of the extra energy, is not installed"
    )
    power_w = np.random.default_rng(2).uniform(0, 0.1, 64_000).astype(np.float32)
    level = pulses(64_000, [8_000, 40_000])
    device = Device(power_w, level)
    buffer = stream_buffer.StreamBuffer(1, RATE, device)
    chunks = {(1, 0): power_w, (2, 0): np.ones_like(power_w), (3, 0): power_w}
    chunks |= {(4, 0): np.zeros_like(level), (5, 0): level, (5, 1): np.zeros_like(level)}
    device.stream_buffer = buffer

    def play():
        for start in range(0, 64_000, 8000):
            for (field, index), values in chunks.items():
                part = values[start : start + 8000]
                if field == 5:
                    part = np.packbits(part, bitorder="little")
                buffer.insert(
                    "",
                    {
                        "field_id": field,
                        "index": index,
                        "sample_id": 1000 + start,
                        "data": part,
                        "sample_rate": RATE,
                        "decimate_factor": 1,
                    },
                )
            time.sleep(0.005)
        device.played.set()

    device.play = play
    monitor = recorded(device)
    assert monitor.timestamps() == (0.008, 0.04)
    assert energy_between(monitor.samples(), 0.008, 0.04) == pytest.approx(
        power_w[8_000:40_000].sum(dtype=float) / RATE, rel=1e-6
    )
