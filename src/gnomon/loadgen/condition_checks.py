"""Rules on the conditions of a test, and the grade of a verdict in the colours that the field's app shows.

Source: MLPerf Mobile submission rules (github.com/mlcommons/mobile_open: battery, cooldown, ventilation)
and the app's own colours: valid, semi-valid where only counts were missed, invalid.
"""

from __future__ import annotations

from gnomon.core.units import format_duration_ns
from gnomon.core.verdict import Check, Verdict
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.outcome import Outcome
from gnomon.loadgen.settings import NS_PER_S, RunMode

HOTTEST_C = 90.0
"""From about here processors of phones and laptops lower their clocks."""
LEAST_BATTERY = 0.2
"""Below it most phones save power."""
COARSEST_CLOCK = 0.1
"""Most that one step of the clock may be of a median latency."""
LARGEST_DRIFT_PPM = 1000.0
SLACK_S = 2.0
"""A page's clock, and the way from it, may be so much off before its times are called impossible."""
WALL_CLOCK_STEP_MS = 5.0
"""A wall clock tells milliseconds, and is set now and then: over a short test this much is no drift."""
GRADES = ("valid", "semi-valid", "invalid")
LENIENT = frozenset(
    {
        "min_queries",
        "cooldown",
        "external_power",
        "battery",
        "temperature",
        "idle_machine",
        "clock_resolution",
        "in_sight",
    }
)
"""Rules whose breach leaves a measurement that says something: semi-valid, and never a submission."""


def grade(verdict: Verdict) -> str:
    """`valid`, `semi-valid` or `invalid`, as the field's app colours results."""
    if verdict.valid:
        return "valid"
    failed = {check.name for check in verdict.failures}
    return "semi-valid" if failed and failed <= LENIENT else "invalid"


def condition_checks(
    conditions: Conditions | None, outcome: Outcome | None, mode: RunMode | None, measurement: str
) -> list[Check]:
    """Every rule on the conditions of a performance test; none for a benchmark without run modes."""
    if mode is None:
        return []
    if conditions is None:
        return [
            Check(
                "conditions",
                False,
                "none on record",
                "rest, power, heat and clock of the test",
                "run it again",
                measurement,
            )
        ]
    checks = [
        _cooldown(conditions, mode, measurement),
        _external_power(conditions, mode, measurement),
        _battery(conditions, measurement),
        _temperature(conditions, measurement),
        _uninterrupted(conditions, measurement),
    ]
    if mode.most_others_share is not None and conditions.others_share is not None:
        checks.append(_idle_machine(conditions.others_share, mode.most_others_share, measurement))
    if conditions.online is not None:
        checks.append(_in_sight(conditions, mode, measurement))
    if conditions.online:
        checks.append(_witnessed(conditions, outcome, measurement))
    if outcome is not None:
        checks += [
            _clock_resolution(conditions, outcome, measurement),
            _clock_drift(conditions, outcome, measurement),
        ]
    return checks


def _cooldown(conditions: Conditions, mode: RunMode, measurement: str) -> Check:
    rest_s = conditions.cooldown_s
    enough = rest_s is None or rest_s >= mode.cooldown_s
    return Check(
        "cooldown",
        enough,
        "the first test" if rest_s is None else f"{rest_s:.1f} s of rest",
        f"at least {mode.cooldown_s:g} s before each test but the first",
        ""
        if enough
        else "a warm device is slower: leave out --cooldown, and let the countdown end",
        measurement,
    )


def _external_power(conditions: Conditions, mode: RunMode, measurement: str) -> Check:
    told = (conditions.charging_start, conditions.charging_end)
    no_battery = conditions.battery_level_start is None and not any(told)
    plugged = any(told) and not no_battery
    changed = None not in told and told[0] != told[1]
    words = (
        "plugged in or out during the test"
        if changed
        else "on external power"
        if plugged
        else "on battery"
        if False in told
        else "not known here"
    )
    known = None not in told
    passed = not changed and not (mode.official and (plugged or not known))
    remark = "a submission has to run on battery" if passed and plugged else ""
    mend = "unplug the charger before the test, and leave it so"
    if not (changed or plugged):
        mend = "a submission has to show that it runs on battery: measure where the battery can be read"
    return Check(
        "external_power",
        passed,
        words,
        "on battery" if mode.official else "the same throughout",
        remark if passed else mend,
        measurement,
    )


def _battery(conditions: Conditions, measurement: str) -> Check:
    level, charging = conditions.battery_level_end, conditions.charging_end
    enough = level is None or bool(charging) or level >= LEAST_BATTERY
    return Check(
        "battery",
        enough,
        "not known here" if level is None else f"{100 * level:.0f} %",
        f"at least {100 * LEAST_BATTERY:.0f} %",
        "" if enough else "a phone that saves power is slower: charge it, unplug it, run again",
        measurement,
    )


def _temperature(conditions: Conditions, measurement: str) -> Check:
    start_c, end_c = conditions.temperature_c_start, conditions.temperature_c_end
    known = [value for value in (start_c, end_c) if value is not None]
    cool = all(value <= HOTTEST_C for value in known)
    found = "not known here"
    if known:
        found = f"{known[0]:.0f} to {known[-1]:.0f} °C"
    return Check(
        "temperature",
        cool,
        found,
        f"at most {HOTTEST_C:.0f} °C",
        "" if cool else "let it cool in a ventilated room of 20 to 25 °C, and run again",
        measurement,
    )


def _idle_machine(others_share: float, most: float, measurement: str) -> Check:
    """Of a native test; a page is not told what else its device does."""
    idle = others_share <= most
    return Check(
        "idle_machine",
        idle,
        f"other programs took {100 * others_share:.0f} % of the processor",
        f"at most {100 * most:.0f} %",
        "" if idle else "close what else runs on this machine, and run again",
        measurement,
    )


def _uninterrupted(conditions: Conditions, measurement: str) -> Check:
    seen = conditions.hidden_ms == 0
    return Check(
        "uninterrupted",
        seen,
        "in front throughout" if seen else f"hidden for {conditions.hidden_ms / 1e3:.1f} s",
        "the page stays in front, the screen on",
        "" if seen else "keep the page open and the screen on until the test has ended",
        measurement,
    )


def _in_sight(conditions: Conditions, mode: RunMode, measurement: str) -> Check:
    """Of a test measured elsewhere: whether the server knew of it while it went on."""
    seen = bool(conditions.online)
    passed = seen or not mode.official
    return Check(
        "in_sight",
        passed,
        "begun in the server's sight" if seen else "measured out of the server's sight",
        "begun in the server's sight" if mode.official else "told by the page",
        "" if passed else "keep the server in reach until the session has ended, and run again",
        measurement,
    )


def _witnessed(conditions: Conditions, outcome: Outcome | None, measurement: str) -> Check:
    """Of such a test: whether what it claims fits into the time that the server saw pass."""
    witness = conditions.witness
    if witness is None:
        passed, found = False, "no word of the server's on record"
    else:
        lasted_s = 0.0 if outcome is None else outcome.final_query_completed_ns / NS_PER_S
        claimed_s = max(witness.claimed_s, lasted_s)
        passed = claimed_s <= witness.passed_s + SLACK_S
        found = f"{claimed_s:.1f} s of tests and rest within {witness.passed_s:.1f} s"
    return Check(
        "witnessed",
        passed,
        found,
        "possible by the server's clock",
        "" if passed else "that cannot be: measure again in a new session",
        measurement,
    )


def _clock_resolution(conditions: Conditions, outcome: Outcome, measurement: str) -> Check:
    step_ns = conditions.clock_resolution_ns
    median_ns = outcome.query_latency.percentiles_ns[0]
    fine = step_ns is None or step_ns <= COARSEST_CLOCK * median_ns
    return Check(
        "clock_resolution",
        fine,
        "not known here" if step_ns is None else f"steps of {format_duration_ns(round(step_ns))}",
        f"at most {100 * COARSEST_CLOCK:.0f} % of the median latency, "
        f"{format_duration_ns(median_ns)}",
        "" if fine else "serve the page over https (without --http): its clock is then finer",
        measurement,
    )


def _clock_drift(conditions: Conditions, outcome: Outcome, measurement: str) -> Check:
    drift_ppm = conditions.clock_drift_ppm
    duration_ms = max(1.0, outcome.sample_latency.max_ns / 1e6, outcome.duration_ns / 1e6)
    allowed_ppm = LARGEST_DRIFT_PPM + 1e6 * WALL_CLOCK_STEP_MS / duration_ms
    steady = drift_ppm is None or abs(drift_ppm) <= allowed_ppm
    return Check(
        "clock_drift",
        steady,
        "not known here" if drift_ppm is None else f"{drift_ppm:+.0f} ppm against the wall clock",
        f"at most {allowed_ppm:.0f} ppm",
        ""
        if steady
        else "the two clocks disagree: the device slept, or its time was set; run again",
        measurement,
    )
