from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.energy import energy_between, measure_windows, windows_between
from gnomon.core.errors import SettingsError, SystemFault
from gnomon.device.lpm01a import BAUD, Lpm01a, Recording
from gnomon.device.monitors import make_monitor
from tests.device.simulated_lpm01a import energy_j

pytest.importorskip("serial", reason="pyserial, of the extra tiny, is not installed")
from gnomon.device.line import open_line

INSTRUMENT = Path(__file__).with_name("simulated_lpm01a.py")


@pytest.fixture
def instrument():
    """Starts simulated instruments, gives their ports, and ends them."""
    started = []

    def start(**wanted):
        process = subprocess.Popen(
            [sys.executable, str(INSTRUMENT), json.dumps(wanted)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process.stdout.readline().strip()

    start.processes = started
    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def recorded(port, count, **settings):
    """A monitor that was started, has `count` samples, and was stopped."""
    monitor = Lpm01a(open_line(port, BAUD), **settings)
    monitor.start()
    deadline_s = time.monotonic() + 10
    while len(monitor.samples()) < count and time.monotonic() < deadline_s:
        time.sleep(0.005)
    monitor.stop()
    return monitor


def all_energy_j(count):
    return np.array([energy_j(index) for index in range(count)])


def test_samples_and_events_become_energy_between_timestamps(instrument, tmp_path):
    log = tmp_path / "commands.json"
    port = instrument(samples=4000, events=[17, 500, 1500, 2001, 3333], log=str(log))
    monitor = recorded(port, 4000, voltage_v=1.8)
    samples = monitor.samples()
    np.testing.assert_allclose(samples.energy_j, all_energy_j(4000))
    assert samples.gaps == ()
    assert monitor.timestamps() == (0.017, 0.5, 1.5, 2.001, 3.333)
    figures = measure_windows(samples, windows_between(monitor.timestamps(), [10, 20]))
    assert figures.energy_j == pytest.approx(
        (all_energy_j(4000)[500:1500].sum(), all_energy_j(4000)[2001:3333].sum())
    )
    told = monitor.describe()
    assert (told["firmware"], told["voltage_v"], told["fullest_buffer_percent"]) == (
        "1.0.6",
        1.8,
        5,
    )
    monitor.close()
    monitor.close()
    commands = json.loads(log.read_text())
    order = ["htc", "pwr off", "output energy", "freq 1k", "volt 1800m", "pwr on nostatus", "start"]
    assert [command for command in commands if command in order] == [*order, "pwr off"]
    assert commands[-2:] == ["pwr off", "hrc"]
    assert {"acqtime inf", "trigsrc sw", "eventsrc d7 fal", "format ascii_dec"} <= set(commands)


def test_samples_that_never_came_are_a_gap_since_the_last_time_stamp(instrument):
    port = instrument(samples=3001, loses_samples=[1200, 1201, 1900])
    samples = recorded(port, 3001).samples()
    (gap,) = samples.gaps
    assert (gap.lost, gap.since_s, gap.time_s) == (3, 1.0, 2.0)
    np.testing.assert_allclose(samples.energy_j[2000:3000], all_energy_j(3000)[2000:])


def test_a_sample_cut_short_is_a_gap_where_it_was_and_is_held_as_the_one_before(instrument):
    port = instrument(samples=2500, truncates=[700])
    samples = recorded(port, 2500).samples()
    assert [(gap.lost, gap.time_s) for gap in samples.gaps] == [(1, 0.701)]
    expected_j = all_energy_j(2500)
    expected_j[700] = expected_j[699]
    np.testing.assert_allclose(samples.energy_j, expected_j)


def test_samples_that_lost_the_line_end_between_them_both_count(instrument):
    port = instrument(samples=1500, runs_together=[300, 301])
    samples = recorded(port, 1500).samples()
    np.testing.assert_allclose(samples.energy_j, all_energy_j(1500))
    assert samples.gaps == ()


def test_an_overrun_is_reported_when_the_monitor_is_stopped(instrument):
    port = instrument(samples=3000, overruns_at=1500, buffer_percent=98)
    monitor = Lpm01a(open_line(port, BAUD))
    monitor.start()
    with pytest.raises(SystemFault, match="error: buffer overflow; its buffer was up to 98 % full"):
        monitor.stop()
    monitor.close()


def test_a_lost_event_is_never_taken_for_another(instrument):
    port = instrument(samples=2000, events=[100, 300, 500, 700], loses_event=2)
    monitor = recorded(port, 2000)
    with pytest.raises(SystemFault, match="lost a timestamp: event 03 came after event 01"):
        monitor.timestamps()


def test_an_acquisition_that_was_left_running_is_ended_first(instrument):
    port = instrument(samples=1000, already_running=True)
    np.testing.assert_allclose(recorded(port, 1000).samples().energy_j, all_energy_j(1000))


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ({"wrong_ack": "freq 1k"}, "did not acknowledge 'freq 1k' .* it sent ack something else"),
        (
            {"silent": True},
            "did not acknowledge 'htc' within 0.3 s, it sent nothing: is this its port",
        ),
        (
            {"refuses": "volt 3000m"},
            "refused 'volt 3000m': error volt 3000m; Error detail: out of range",
        ),
        ({"already_running": True, "never_stops": True}, "goes on sending after 'stop'"),
    ],
)
def test_an_instrument_that_does_not_do_as_told_is_one_clear_line(instrument, wanted, part):
    timeout_s = 0.3 if "silent" in wanted else 2
    monitor = Lpm01a(open_line(instrument(**wanted), BAUD), timeout_s=timeout_s)
    with pytest.raises(SystemFault, match=part):
        monitor.start()
    monitor.close()


def test_an_instrument_that_does_not_stop_is_not_waited_for_forever(instrument):
    monitor = Lpm01a(open_line(instrument(samples=100, never_stops=True), BAUD), timeout_s=0.3)
    monitor.start()
    with pytest.raises(SystemFault, match=r"did not stop within 0.3 s"):
        monitor.stop()


def test_an_instrument_unplugged_while_it_records_is_reported(instrument):
    monitor = Lpm01a(open_line(instrument(samples=500), BAUD), timeout_s=2)
    monitor.start()
    instrument.processes[0].kill()
    with pytest.raises(SystemFault):
        monitor.stop()


def test_it_is_made_by_name_and_says_what_it_cannot_supply(instrument):
    port = instrument(samples=50)
    monitor = make_monitor("lpm01a", port, voltage_v=2.5, open_line=open_line)
    assert monitor.describe()["voltage_v"] == 2.5
    monitor.close()
    line = open_line(port, BAUD)
    with pytest.raises(SettingsError, match=r"1.8 V to 3.3 V, not 5.0 V"):
        Lpm01a(line, voltage_v=5.0)
    with pytest.raises(SettingsError, match="no sample rate of 3000 Hz"):
        Lpm01a(line, rate_hz=3000)
    line.close()


STREAM = b"".join(
    b"TimeStamp: %03ds 000ms, buff 05%%\r\n\0" % (index // 1000) * (index % 1000 == 0)
    + b"event %02d ris\r\n" % (index // 400) * (index % 400 == 0)
    + b"%d-09\r\n" % (1000 + index)
    for index in range(2100)
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
def test_a_stream_means_the_same_in_whatever_pieces_it_comes(cuts):
    recording = Recording(1000)
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        recording.feed(STREAM[start:end])
    assert len(recording.samples()) == 2100
    assert recording.timestamps() == (0, 0.4, 0.8, 1.2, 1.6, 2.0)
    assert energy_between(recording.samples(), 0, 2.1) == pytest.approx(
        sum(range(1000, 3100)) * 1e-9
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_bytes_lost_anywhere_in_the_stream_never_pass_as_a_clean_recording(data):
    start = data.draw(st.integers(0, STREAM.index(b"TimeStamp: 002s") - 60))
    count = data.draw(st.integers(10, 50))
    recording = Recording(1000)
    recording.feed(STREAM[:start] + STREAM[start + count :])
    samples = recording.samples()
    lost_event = len(recording.timestamps()) < 6
    assert samples.gaps or recording.missing_event or lost_event or len(samples) == 2100


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_a_recording_fail(data):
    recording = Recording(1000)
    recording.feed(data + b"\r\n1234-06\r\n")
    assert recording.samples().energy_j[-1] == pytest.approx(1234e-6)
