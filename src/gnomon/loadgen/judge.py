"""From what a test left on disk to its result and checks, and from all checks to the verdict.

Used when a test has just ended, when a run is resumed, and by `gnomon check`: there is one judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gnomon.core.errors import DataError, GnomonError, RunFolderError
from gnomon.core.registry import is_registered
from gnomon.core.spec import Benchmark, first_of
from gnomon.core.task import Task
from gnomon.core.verdict import Check, Verdict, verdict_under
from gnomon.loadgen.accuracy_log import read_accuracy_log
from gnomon.loadgen.agreement import Agreement, agreement_checks, agreement_on_record
from gnomon.loadgen.condition_checks import condition_checks
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.find_peak import is_probe, no_valid_rate
from gnomon.loadgen.measure import recorded_samples
from gnomon.loadgen.options import declaration_of
from gnomon.loadgen.outcome import Outcome, compute_outcome
from gnomon.loadgen.rules import (
    RuleProfile,
    accuracy_checks,
    declaration_checks,
    easier_than_declared,
    performance_checks,
)
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import Mode, Scenario, Settings

ACCURACY = "accuracy"
ACCURACY_LOG = "mlperf_log_accuracy.json"
CURED_BY_A_LOWER_RATE = {"hopeless", "overloaded"}
"""Faults of a probe after which a search goes on; any other would only come again."""
OWN_PRECISION = "own"
"""Of a model that a person brings: whatever is in the file."""
FATAL = {"raised", "stalled", "wrong_output_count"}
"""Kinds of fault after which nothing further is worth measuring."""


@dataclass(frozen=True)
class JudgedTest:
    """A recorded test, judged again: its settings and raw samples, the result and checks they give."""

    settings: Settings
    samples: Samples
    result: dict[str, Any] | None
    checks: list[Check]
    outcome: Outcome | None = None


def judge_test(
    folder: Path,
    name: str,
    stored: Mapping[str, Any],
    benchmark: Benchmark,
    task: Task,
    profile: RuleProfile,
) -> JudgedTest:
    """Judge a test from its folder and its entry in `run.json`, of which the result is not believed.

    Raises:
        GnomonError: The raw samples, or the answers, cannot be read.
    """
    settings = Settings.model_validate(stored["settings"])
    samples = recorded_samples(folder, settings)
    if settings.mode is Mode.PERFORMANCE:
        outcome = compute_outcome(samples, settings)
        conditions = conditions_of(stored)
        checks = judge_performance(
            outcome, settings, benchmark, profile, stored["faults"], name, conditions
        )
        result = outcome.to_json() if outcome else None
        return JudgedTest(settings, samples, result, checks, outcome)
    path = folder / ACCURACY_LOG
    result = accuracy_result(benchmark, task, path) if path.exists() else None
    agreement = agreement_on_record(stored)
    checks = judge_accuracy(result, benchmark, settings, stored["faults"], agreement)
    return JudgedTest(settings, samples, result, checks)


def judge_performance(
    outcome: Outcome | None,
    settings: Settings,
    benchmark: Benchmark,
    profile: RuleProfile,
    faults: Sequence[Fault | Mapping[str, str]],
    name: str,
    conditions: Conditions | None = None,
) -> list[Check]:
    """The checks on a performance test with these figures, made under these conditions."""
    return [
        *performance_checks(outcome, settings, profile, faults, name),
        *declaration_checks(settings, declaration_of(benchmark), profile, name),
        *condition_checks(conditions, outcome, profile.mode, name),
    ]


def conditions_of(stored: Mapping[str, Any]) -> Conditions | None:
    """The conditions of a test on record; None where none are, as in a benchmark without run modes."""
    found = stored.get("conditions")
    try:
        return None if found is None else Conditions.model_validate(found)
    except ValidationError as error:
        raise RunFolderError(f"the conditions on record are damaged: {first_of(error)}") from None


def judge_search(measurements: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """The check on a search for the peak that ended without a valid rate, from its probes on record."""
    probes = [stored for name, stored in measurements.items() if is_probe(name)]
    faults = [Fault(**fault) for stored in probes for fault in stored["faults"]]
    incurable = [fault.message for fault in faults if fault.kind not in CURED_BY_A_LOWER_RATE]
    rates = [
        stored["settings"]["target_qps"]
        for stored in probes
        if stored["settings"]["scenario"] == Scenario.SERVER.value
    ]
    if incurable:
        why = incurable[0]
    elif rates:
        why = no_valid_rate(min(rates))
    else:
        why = "the system answered nothing in a short trial"
    name = Scenario.SERVER.value
    return [Check("peak", False, "no valid rate", "a valid Server rate", why, name)]


def judge_accuracy(
    result: Mapping[str, Any] | None,
    benchmark: Benchmark,
    settings: Settings,
    faults: Sequence[Fault | Mapping[str, str]],
    agreement: Agreement | None = None,
) -> list[Check]:
    """The checks on an accuracy test with this result, and on answers that were made elsewhere."""
    quality = result["quality"] if result else None
    checks = accuracy_checks(
        quality,
        benchmark.quality,
        result["sample_count"] if result else 0,
        settings.total_sample_count,
        faults,
        ACCURACY,
    )
    if agreement is not None:
        better = benchmark.quality.higher_is_better
        checks += agreement_checks(agreement, quality, ACCURACY, higher_is_better=better)
    return checks


def accuracy_result(benchmark: Benchmark, task: Task, path: Any) -> dict[str, Any] | None:
    """Score an accuracy log: the quality, from the file alone. None if it holds no answer."""
    entries = read_accuracy_log(path)
    if len({entry.id for entry in entries}) < len(entries):
        raise DataError(f"{path} holds more than one answer for a sample")
    samples = np.asarray([entry.sample_index for entry in entries], dtype=np.int64)
    if not len(samples):
        return None
    if samples.min() < 0 or samples.max() >= len(task):
        raise DataError(f"{path} names samples that the data set of {task.name!r} does not have")
    try:
        outputs = [task.decode(entry.data) for entry in entries]
        quality = float(task.score(samples, outputs))
    except GnomonError:
        raise
    except Exception as error:
        raise DataError(
            f"task {task.name!r} cannot score the outputs in {path}: {type(error).__name__}: {error}"
        ) from error
    return {
        "metric": {"name": task.metric, "value": quality, "unit": task.unit},
        "quality": quality,
        "target": benchmark.quality.threshold,
        "sample_count": len(np.unique(samples)),
    }


def verdict_on(
    checks: list[Check],
    profile: RuleProfile,
    measured: Iterable[str],
    *,
    official_data: bool,
    registered: bool = True,
    own_model: bool = False,
    eased: Iterable[str] = (),
) -> Verdict:
    """The verdict on these checks of the tests `measured`.

    Comparable only for official rules on official data, under a registered benchmark as it is declared,
    with the quality measured beside the speed. `eased` says where tests asked for less than is declared.
    """
    lacking = [
        words
        for words, lacks in (
            (f"{profile.name} rules", not profile.official),
            ("not the official data", not official_data),
            ("not a registered benchmark", not registered),
            ("a model of your own", own_model),
            ("no accuracy test", ACCURACY not in measured),
        )
        if lacks
    ]
    if easier := list(dict.fromkeys(eased)):
        lacking.append(f"easier than declared ({'; '.join(easier)})")
    return verdict_under(profile.name, checks, lacking)


def verdict_on_run(
    checks: list[Check],
    profile: RuleProfile,
    benchmark: Benchmark,
    settings: Mapping[str, Settings],
    *,
    official_data: bool,
    own_model: bool = False,
) -> Verdict:
    """The verdict on a run whose tests, by name, had these settings."""
    declared = declaration_of(benchmark)
    eased = [
        words
        for name, asked in settings.items()
        if name != ACCURACY
        for words in easier_than_declared(asked, declared, profile)
    ]
    return verdict_on(
        checks,
        profile,
        settings,
        official_data=official_data,
        registered=is_registered(benchmark),
        own_model=own_model,
        eased=eased,
    )


def is_own_model(description: Any) -> bool:
    """Whether a system, by what it says of itself (whatever that is), ran a model that a person brought."""
    return isinstance(description, Mapping) and description.get("precision") == OWN_PRECISION


def fatal_fault(faults: Iterable[Fault]) -> str | None:
    """Why a run must end after a test with these faults, or None."""
    return next((fault.message for fault in faults if fault.kind in FATAL), None)
