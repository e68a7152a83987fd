"""Rule profiles of boards, and the checks that turn a board's figures into a verdict.

`official` holds a run to the field's minimums (five windows of at least 10 s and 10 iterations), `quick` to
windows of a second. Source: MLPerf Tiny rules, and what its submission checker requires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.core.spec import QualityTarget
from gnomon.core.verdict import Check, Verdict, verdict_under

if TYPE_CHECKING:
    from gnomon.core.energy import EnergyFigures
    from gnomon.device.options import TinyBenchmark
    from gnomon.device.record import Window


@dataclass(frozen=True)
class RuleProfile:
    """What a run is held to.

    Attributes:
        name: Shown with every verdict.
        least_window_s: Of a timed window, by the board's clock.
        required: Measurements that a result must have.
    """

    name: str
    least_window_s: float
    required: tuple[str, ...]


PROFILES: dict[str, RuleProfile] = {
    "quick": RuleProfile("quick", 1.0, ()),
    "official": RuleProfile("official", 10.0, ("performance", "accuracy")),
}


@dataclass(frozen=True)
class Model:
    """Which model a measurement was made with.

    Attributes:
        wanted: The benchmark's model id.
        named: What the board says its model is.
    """

    wanted: str
    named: str


Add = Callable[[str, bool, str, str, str], None]


def measurement_checks(
    measurement: str, model: Model, faults: Sequence[Mapping[str, str]]
) -> list[Check]:
    """What holds for every measurement: no fault, and the right model."""
    checks, check = _collector(measurement)
    if not faults:
        check("faults", True, "none", "none", "")
    for fault in faults:
        kind, message = fault["kind"], fault["message"]
        check(kind, False, kind.replace("_", " "), "no fault of the board", message)
    check(
        "model",
        model.named == model.wanted,
        f"the board names {model.named or 'no model'}",
        model.wanted,
        f"the board was flashed with another model: flash {model.wanted}, or run the benchmark of "
        f"{model.named or 'the model that it has'}",
    )
    return checks


def window_checks(
    measurement: str,
    windows: Sequence[Window],
    settings: TinyBenchmark,
    profile: RuleProfile,
) -> list[Check]:
    """How many windows, how long, of how many iterations."""
    checks, check = _collector(measurement)
    check(
        "windows",
        len(windows) == settings.windows,
        str(len(windows)),
        str(settings.windows),
        "the measurement was broken off: resume it, or run it again",
    )
    if windows:
        shortest_s = min(window.duration_s for window in windows)
        check(
            "window_duration",
            shortest_s >= profile.least_window_s,
            f"the shortest is {shortest_s:.3f} s by the board's clock",
            f"at least {profile.least_window_s:g} s",
            "raise --duration",
        )
        fewest = min(window.iterations for window in windows)
        check(
            "iterations",
            fewest >= settings.min_iterations,
            f"{fewest} in a window",
            f"at least {settings.min_iterations}",
            "raise --iterations, or leave it out",
        )
    return checks


def quality_check(measurement: str, quality: float, target: QualityTarget) -> Check:
    """Whether the model on the board is good enough."""
    bound = "at least" if target.higher_is_better else "at most"
    passed = target.met_by(quality)
    return Check(
        "quality",
        passed,
        f"{target.metric} {quality:.4f}",
        f"{bound} {target.threshold:.4f}",
        ""
        if passed
        else "the model on the board is not good enough: compare it with the host board's",
        measurement,
    )


def energy_checks(measurement: str, energy: EnergyFigures) -> list[Check]:
    """Whether the monitor lost nothing inside a window."""
    checks, check = _collector(measurement)
    lost = sum(energy.lost_samples)
    check(
        "lost_energy_samples",
        lost == 0,
        f"{lost} lost inside the windows" if lost else "none lost",
        "none",
        "the monitor could not keep up: lower its sample rate, or use another USB port",
    )
    return checks


def completeness_check(measurement: str, done: int, wanted: int) -> Check:
    """Whether every payload of the data set was inferred."""
    return Check(
        "samples",
        done == wanted,
        f"{done} of {wanted} inputs inferred",
        "all",
        "" if done == wanted else "the measurement was broken off: resume it",
        measurement,
    )


def verdict_of(
    checks: Sequence[Check],
    profile: RuleProfile,
    *,
    measured: Sequence[str],
    remarks: Sequence[str],
) -> Verdict:
    """The verdict on these checks.

    Args:
        checks: On the measurements.
        profile: Whose rules they are.
        measured: The measurements that there are.
        remarks: Why the result may not stand beside published ones; comparable if there is no reason.
    """
    whole = list(checks)
    for name in profile.required:
        if name not in measured:
            why = f"measure it as well: leave out --no-{name}"
            whole.append(Check("required", False, f"no {name}", f"{name} on record", why))
    lacking = [] if profile.name == "official" else [f"{profile.name} rules"]
    lacking += remarks
    return verdict_under(profile.name, whole, lacking)


def _collector(measurement: str) -> tuple[list[Check], Add]:
    checks: list[Check] = []

    def check(name: str, passed: bool, found: str, required: str, mend: str) -> None:
        checks.append(Check(name, passed, found, required, "" if passed else mend, measurement))

    return checks, check
