"""The test against reference convergence points as checks, with its numbers and what to change.

The way of computing that decides makes the check; what the other way says is written beside it.
"""

from __future__ import annotations

import math

from gnomon.core.verdict import Check
from gnomon.timetotrain.convergence_test import Basis, ConvergenceResult, ConvergenceTest, Way
from gnomon.timetotrain.reference_points import Unit

_NO_SPREAD = (
    "all runs of the reference took the same, so nothing is known of their spread and anything faster "
    "fails: evaluate more often"
)


def convergence_checks(test: ConvergenceTest, measurement: str = "") -> list[Check]:
    """The outcome as checks: not faster than the reference could, and reference points with enough runs.

    A passed check has a remark where the other way of computing would fail the runs, where the score is to
    be scaled, and where the reference points have no spread. Too short a reference point fails only where
    the rules as written decide: the field's own files have such points, and the package takes them.
    """
    result, other = test.deciding, test.other
    required = (
        f"{_asked(result, test.unit)} ({test.decides.in_words} "
        f"{'decide' if test.decides is Way.WRITTEN else 'decides'}); "
        f"{other.way.in_words}: {_asked(other, test.unit)}"
    )
    if result.submission_mean is None:
        found = f"no olympic mean of {test.run_count} runs"
    else:
        found = f"olympic mean {result.submission_mean:.6g} {test.unit} of {test.run_count} runs"
    found += f" at batch size {test.global_batch_size}"
    why = _remark(test) if result.passed else _mend(test)
    checks = [Check("reference_convergence", result.passed, found, required, why, measurement)]
    if result.points:
        listed = ", ".join(f"{name} has {count}" for name, count in test.short_points)
        mend = "run the reference more often and merge the runs into its reference point"
        tolerated = bool(listed) and test.decides is Way.PACKAGE
        checks.append(
            Check(
                "reference_runs",
                not listed or tolerated,
                listed or "enough",
                f"at least {2 * test.runs} runs in every reference point used",
                f"the official package does not ask for them; {mend}"
                if tolerated
                else listed and mend,
                measurement,
            )
        )
    return checks


def _asked(result: ConvergenceResult, unit: Unit) -> str:
    if result.minimum is None or result.mean is None or result.max_speed_up is None:
        return "a reference point to compare with"
    return (
        f"at least {result.minimum:.6g} {unit}, the reference's {result.mean:.6g} less "
        f"{(result.max_speed_up - 1) * 100:.2f} % of speed-up"
    )


def _remark(test: ConvergenceTest) -> str:
    result, parts = test.deciding, []
    if result.own_point_pruned:
        parts.append("its own point is pruned, being slower than those around it")
    if result.basis is not Basis.POINT:
        parts.append(f"compared with {result.basis}")
    if result.scale_factor > 1 + 1e-9:
        parts.append(
            f"faster than the reference within chance: the score is multiplied by {result.scale_factor:.6g}"
        )
    if not test.other.passed:
        parts.append(f"{test.other.way.in_words} would fail it")
    if result.degenerate:
        parts.append(_NO_SPREAD)
    return "; ".join(parts)


def _mend(test: ConvergenceTest) -> str:
    result = test.deciding
    point = f"a reference point of {2 * test.runs} runs at batch size {test.global_batch_size}"
    if result.submission_mean is None:
        return (
            "too many runs did not converge: train longer, or mend what keeps them from the target"
        )
    if result.mean is None:
        return f"{result.basis}: add {point}"
    gain = (result.mean / result.submission_mean - 1) * 100 if result.submission_mean else math.inf
    known = result.basis is Basis.POINT or result.own_point_pruned
    mend = "or justify it with evidence" if known else f"or add {point}"
    text = (
        f"converges suspiciously fast, {gain:.2f} % faster than {result.basis}: look for held-out data in "
        f"training, a lower target or hyperparameters that may not vary, {mend}"
    )
    if test.other.passed:
        text += f"; {test.other.way.in_words} would pass it"
    return f"{text}; {_NO_SPREAD}" if result.degenerate else text
