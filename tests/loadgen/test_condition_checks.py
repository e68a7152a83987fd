"""Rules on conditions: each passes and fails, says what to do, and grades as the field's app colours."""

import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from gnomon.core.verdict import Check, Verdict
from gnomon.loadgen.condition_checks import condition_checks, grade
from gnomon.loadgen.conditions import (
    Conditions,
    Witness,
    Work,
    between,
    others_share,
    read_host,
    read_work,
)
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import NS_PER_MS, RunMode, Scenario, Settings

QUICK = RunMode(name="quick", min_query_count=1, min_duration_s=1, cooldown_s=5)
SUBMISSION = RunMode(name="submission", min_query_count=1, min_duration_s=1, official=True)
SETTINGS = Settings(
    scenario=Scenario.SINGLE_STREAM,
    total_sample_count=10,
    performance_sample_count=10,
    target_latency_percentile=0.9,
)


def outcome(queries=1000, latency_ns=NS_PER_MS):
    issued_ns = np.arange(queries, dtype=np.int64) * 10 * NS_PER_MS
    return compute_outcome(
        Samples(
            np.arange(queries),
            np.zeros(queries, dtype=np.int32),
            issued_ns,
            issued_ns,
            issued_ns + latency_ns,
        ),
        SETTINGS,
    )


def failed(mode=QUICK, **conditions):
    """The names of the rules that these conditions break."""
    checks = condition_checks(Conditions(**conditions), outcome(), mode, "single-stream")
    for check in checks:
        assert check.passed or check.why
    return [check.name for check in checks if not check.passed]


def test_conditions_that_nobody_could_tell_break_no_rule():
    assert failed() == []
    assert failed(SUBMISSION) == ["external_power"]  # which a submission has to show


def test_a_test_without_conditions_on_record_is_not_taken_for_one_under_good_ones():
    (check,) = condition_checks(None, outcome(), QUICK, "offline")
    assert (check.passed, check.name) == (False, "conditions")
    assert condition_checks(None, outcome(), None, "offline") == []


ON_BATTERY = {"charging_start": False, "charging_end": False, "battery_level_start": 0.9}


def test_what_was_measured_elsewhere_fits_into_the_time_that_its_server_saw_pass():
    lasted_s = 9.991  # of outcome()

    def seen(claimed_s, passed_s):
        return failed(online=True, witness=Witness(claimed_s=claimed_s, passed_s=passed_s))

    assert seen(lasted_s, 11.0) == []
    assert seen(30.0, 28.5) == []  # clocks differ a little
    assert seen(30.0, 27.5) == ["witnessed"]
    assert seen(1.0, 5.0) == ["witnessed"]  # the samples themselves take longer than is said
    assert failed(online=True) == ["witnessed"]
    assert grade(verdict("witnessed")) == "invalid"


def test_only_a_submission_has_to_be_measured_in_the_servers_sight():
    assert failed(online=False) == []
    assert failed(SUBMISSION, online=False, **ON_BATTERY) == ["in_sight"]
    seen = Witness(claimed_s=10.0, passed_s=20.0)
    assert failed(SUBMISSION, online=True, witness=seen, **ON_BATTERY) == []


def test_a_benchmark_without_run_modes_is_not_judged_by_its_conditions():
    assert condition_checks(Conditions(hidden_ms=1e3), outcome(), None, "single-stream") == []


@pytest.mark.parametrize(
    ("conditions", "broken"),
    [
        ({"cooldown_s": 4.9}, "cooldown"),
        (
            {"charging_start": False, "charging_end": True, "battery_level_start": 0.5},
            "external_power",
        ),
        ({"battery_level_end": 0.1, "charging_end": False}, "battery"),
        ({"temperature_c_start": 60.0, "temperature_c_end": 97.0}, "temperature"),
        ({"hidden_ms": 20.0}, "uninterrupted"),
        ({"clock_resolution_ns": 2e5}, "clock_resolution"),
        ({"clock_drift_ppm": 5e3}, "clock_drift"),
    ],
)
def test_each_rule_is_broken_by_its_own_condition(conditions, broken):
    assert failed(**conditions) == [broken]


@pytest.mark.parametrize(
    "conditions",
    [
        {"cooldown_s": 5.0},
        {"charging_start": True, "charging_end": True, "battery_level_start": 1.0},
        {"battery_level_end": 0.1, "charging_end": True},
        {"temperature_c_start": 60.0, "temperature_c_end": 80.0},
        {"clock_resolution_ns": 5e3},
        {"clock_drift_ppm": -300.0},
    ],
)
def test_good_conditions_break_none(conditions):
    assert failed(**conditions) == []


def test_a_submission_runs_on_battery_where_there_is_one():
    plugged = {"charging_start": True, "charging_end": True}
    assert failed(SUBMISSION, **plugged, battery_level_start=1.0) == ["external_power"]
    assert failed(SUBMISSION, **ON_BATTERY) == []


def test_a_wall_clock_that_tells_milliseconds_is_no_drift_in_a_short_test():
    short = outcome(queries=50)  # half a second
    (check,) = [
        check
        for check in condition_checks(Conditions(clock_drift_ppm=4000.0), short, QUICK, "offline")
        if check.name == "clock_drift"
    ]
    assert check.passed


def verdict(*failures):
    checks = [Check("answered", True, "all", "all")]
    return Verdict("quick", (*checks, *(Check(name, False, "", "", "mend") for name in failures)))


def test_grades_are_those_of_the_fields_app():
    assert grade(verdict()) == "valid"
    assert grade(verdict("min_queries", "in_sight")) == "semi-valid"
    assert grade(verdict("cooldown")) == "semi-valid"
    assert grade(verdict("min_queries", "early_stopping")) == "invalid"
    assert grade(Verdict("quick", ())) == "invalid"


def test_a_machine_that_works_for_others_is_semi_valid_where_the_mode_asks_for_an_idle_one():
    asks = RunMode(name="normal", min_query_count=1, min_duration_s=1, most_others_share=0.1)
    assert failed(asks, others_share=0.1) == failed(asks) == failed(others_share=1.0) == []
    assert failed(asks, others_share=0.11) == ["idle_machine"]
    assert grade(verdict("idle_machine")) == "semi-valid"


SPINS = "import time; t = time.time()\nwhile time.time() - t < 30: pass"
PATIENCE_S = 20.0
"""A busy machine may keep a process waiting."""


def becomes_true(condition):
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True


def test_what_another_program_takes_is_told_from_what_this_one_takes():
    own = subprocess.Popen([sys.executable, "-c", SPINS])
    # Its parent ends at once: nobody of this process's own.
    started = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "$0" >/dev/null 2>&1 & echo $!', SPINS],
        capture_output=True,
        text=True,
        check=True,
    )
    other = psutil.Process(int(started.stdout))
    try:
        before, other_s, own_s = read_work(), sum(other.cpu_times()[:2]), time.process_time()
        assert becomes_true(lambda: sum(other.cpu_times()[:2]) > other_s + 0.5)
        assert becomes_true(
            lambda: read_work().own_s > before.own_s + time.process_time() - own_s + 0.5
        )
        now = read_work()
    finally:
        other.kill()
        own.kill()
        own.wait()
    assert others_share(before, now) * (now.at_s - before.at_s) * now.cores > 0.4
    assert now.own_s - before.own_s <= now.taken_s - before.taken_s - 0.4


BEGIN = Work(taken_s=1000.0, own_s=10.0, at_s=5.0, cores=4)


@pytest.mark.parametrize(
    ("end", "share"),
    [
        (Work(1030.0, 30.0, 15.0, 4), 0.25),
        (Work(1020.0, 30.0, 15.0, 4), 0.0),
        (Work(1019.9, 30.0, 15.0, 4), 0.0),  # read one after the other
        (Work(1090.0, 30.0, 15.0, 4), 1.0),
        (Work(1000.0, 30.0, 15.0, 4), None),  # a sandbox that shows no work
        (Work(1030.0, 8.0, 15.0, 4), None),  # a child that nobody waited for
        (Work(1030.0, 30.0, 15.0, 3), None),  # a core went offline
        (None, None),
    ],
    ids=str,
)
def test_the_share_of_others_is_of_all_cores_or_not_told(end, share):
    assert others_share(BEGIN, end) == share
    assert others_share(None, end) is None


def test_a_system_that_hides_its_work_ends_no_run(monkeypatch):
    def hidden():
        raise PermissionError("/proc/stat")

    monkeypatch.setattr(psutil, "cpu_times", hidden)
    assert between(read_host(), read_host(), None).others_share is None


def test_this_machine_can_be_read():
    reading = read_host()
    found = between(reading, read_host(), cooldown_s=None)
    assert found.clock_resolution_ns == pytest.approx(1.0, rel=1e3)
    assert found.temperature_c_start is None or 0 < found.temperature_c_start < 130
    assert found.battery_level_start is None or 0 <= found.battery_level_start <= 1
