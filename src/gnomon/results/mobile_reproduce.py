"""Whether a result can be had again: the field's audit of a claim, and repeats held against each other.

Source: MLPerf Mobile submission rules (github.com/mlcommons/mobile_open at 86a8737, `rules/`): an
auditor has at most five tries with five minutes between them, and one of them has to reach 95 % of the
claimed score.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from gnomon.core.errors import UsageError
from gnomon.core.run import Run
from gnomon.core.units import format_rate, format_seconds
from gnomon.core.verdict import Check, Verdict
from gnomon.loadgen.judge import ACCURACY
from gnomon.loadgen.settings import Scenario
from gnomon.results.check import check
from gnomon.results.mobile_device import session_of
from gnomon.results.mobile_file import moment_of
from gnomon.results.mobile_rows import MEASURED, ResultRow, rows_of_run

MOST_TRIES = 5
LEAST_WAIT_S = 300.0
LEAST_SHARE = 0.95
PROFILE = "reproduction"
SETUP = ("device", "framework", "accelerator", "precision", "threads", "rules")
"""What has to be the same for a result to be the same result."""


def audit(claim: Sequence[ResultRow], tries: Sequence[Run]) -> Verdict:
    """Hold tries against a claim.

        audit(list(rows_of_run(claimed, MEASURED, "")), [first, second])

    Args:
        claim: Of one benchmark: of a run (`rows_of_run`) or of a result file (`rows_of_claim`).
        tries: Runs of the same benchmark, in any order.

    Raises:
        UsageError: No try, none of the benchmark that was claimed, one that is the claim itself, or a claim
            without a score.
    """
    scores = [row for row in claim if row.throughput is not None]
    if not scores:
        raise UsageError("the claim has no score: name one that measured single-stream or offline")
    ordered = _of_one_benchmark(tries, scores[0].benchmark)
    for run in ordered:
        if session_of(run) == scores[0].session:
            raise UsageError(f"{run.id} is of the session that is claimed: measure it again")
    rows = [list(rows_of_run(run, MEASURED, "")) for run in ordered]
    checks = [
        _tries(ordered),
        _waits(ordered),
        *_common_checks(scores[0], ordered, rows),
        *(_reproduced(row, rows) for row in scores),
    ]
    return Verdict(PROFILE, tuple(checks))


def reproducible(runs: Sequence[Run]) -> Verdict:
    """Whether repeats of one measurement agree within 5 %, the slowest against the fastest.

    Raises:
        UsageError: Fewer than two runs, or runs of several benchmarks.
    """
    if len(runs) < 2:
        raise UsageError(f"repeats need at least two runs, got {len(runs)}: measure it again")
    ordered = _of_one_benchmark(runs, runs[0].record["benchmark"]["name"])
    rows = [list(rows_of_run(run, MEASURED, "")) for run in ordered]
    scenarios = [row.scenario for row in rows[0] if row.scenario != ACCURACY]
    if not scenarios:
        raise UsageError(
            f"{ordered[0].id} has no score: repeats are held against each other in speed"
        )
    checks = [
        *_common_checks(rows[0][0], ordered, rows),
        *(_within(scenario, rows) for scenario in scenarios),
    ]
    return Verdict(PROFILE, tuple(checks))


def _of_one_benchmark(runs: Sequence[Run], benchmark: str) -> list[Run]:
    """The runs in the order of starting.

    Raises:
        UsageError: None, one given twice, or one of another benchmark.
    """
    if not runs:
        raise UsageError("an audit needs at least one try: gnomon mobile audit CLAIM TRY")
    for run in runs:
        name = run.record["benchmark"]["name"]
        if name != benchmark:
            raise UsageError(
                f"{run.id} measured {name!r}, not {benchmark!r}: name runs of the same"
            )
    if len({run.id for run in runs}) < len(runs):
        raise UsageError("a run is given twice: name each run once")
    return sorted(runs, key=_started)


def _tries(runs: Sequence[Run]) -> Check:
    few = len(runs) <= MOST_TRIES
    return Check(
        "tries",
        few,
        f"{len(runs)}",
        f"at most {MOST_TRIES}",
        "" if few else f"more tries would find a lucky one: name the first {MOST_TRIES}",
    )


def _waits(runs: Sequence[Run]) -> Check:
    """Between the end of a try and the start of the next."""
    waits_s = [
        (_started(after) - _ended(before)).total_seconds() for before, after in pairwise(runs)
    ]
    long = all(wait_s >= LEAST_WAIT_S for wait_s in waits_s)
    return Check(
        "waits",
        long,
        f"shortest {format_seconds(max(0.0, min(waits_s)))}" if waits_s else "one try",
        f"at least {format_seconds(LEAST_WAIT_S)} between tries",
        "" if long else "a warm device is slower: let it rest for five minutes, and try again",
    )


def _common_checks(
    first: ResultRow, runs: Sequence[Run], rows: Sequence[Sequence[ResultRow]]
) -> list[Check]:
    """On every run: that it measured the same thing, counts under its rules, and can be believed."""
    differing = sorted(
        f"{name}: {found} instead of {wanted}"
        for name in SETUP
        if (wanted := getattr(first, name)) not in ("", None, "unknown", "the app's")
        for found in {getattr(each[0], name) for each in rows}
        if found != wanted
    )
    invalid = [run.id for run, each in zip(runs, rows, strict=True) if not _counts(each[0])]
    doubtful = [run.id for run in runs if check(run.path).disagreements]
    return [
        Check(
            "same_setup",
            not differing,
            "; ".join(differing) or "the same",
            f"the same {', '.join(SETUP)}",
            "measure it again with what it was claimed with" if differing else "",
        ),
        Check(
            "valid_runs",
            not invalid,
            f"{len(runs) - len(invalid)} of {len(runs)} valid",
            "every run valid or semi-valid",
            f"leave out or repeat {', '.join(invalid)}: gnomon show says what to change"
            if invalid
            else "",
        ),
        Check(
            "raw_samples",
            not doubtful,
            f"{len(runs) - len(doubtful)} of {len(runs)} agree with their record",
            "every record agrees with its raw samples",
            f"gnomon check says where {', '.join(doubtful)} differ" if doubtful else "",
        ),
    ]


def _reproduced(claim: ResultRow, rows: Sequence[Sequence[ResultRow]]) -> Check:
    scores = [
        row.throughput
        for each in rows
        for row in each
        if row.scenario == claim.scenario and row.throughput is not None and _counts(row)
    ]
    assert claim.throughput is not None
    share = max(scores) / claim.throughput if scores else 0.0
    best = f"{format_rate(max(scores), _unit(claim.scenario))}, " if scores else "no try counts, "
    return Check(
        "reproduced",
        share >= LEAST_SHARE,
        f"{best}{100 * share:.1f} % of the claim",
        f"some try of at least {100 * LEAST_SHARE:.0f} % of "
        f"{format_rate(claim.throughput, _unit(claim.scenario))}",
        ""
        if share >= LEAST_SHARE
        else "close other programs, let the device cool and try again; if it stays so, claim what is reached",
        claim.scenario,
    )


def _within(scenario: str, rows: Sequence[Sequence[ResultRow]]) -> Check:
    scores = [
        row.throughput
        for each in rows
        for row in each
        if row.scenario == scenario and row.throughput is not None
    ]
    whole = len(scores) == len(rows)
    share = min(scores) / max(scores) if whole else 0.0
    close = share >= LEAST_SHARE
    return Check(
        "within_5_percent",
        close,
        f"the slowest is {100 * (1 - share):.1f} % below the fastest"
        if whole
        else "not in every run",
        f"at most {100 * (1 - LEAST_SHARE):.0f} %",
        ""
        if close
        else "longer tests, a longer cooldown and a quieter device make runs alike: gnomon doctor says "
        "what disturbs"
        if whole
        else f"measure {scenario} in each",
        scenario,
    )


def _counts(row: ResultRow) -> bool:
    return row.grade in ("valid", "semi-valid")


def _unit(scenario: str) -> str:
    return "samples/s" if scenario == Scenario.OFFLINE.value else "queries/s"


def _started(run: Run) -> datetime:
    return moment_of(run.record["started_at"])


def _ended(run: Run) -> datetime:
    return moment_of(run.record.get("finished_at") or run.record["started_at"])
