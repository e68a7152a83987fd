"""Audits and repeats: by times, scores and set-ups on record."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import gnomon
from gnomon.core.errors import UsageError
from gnomon.core.run import Run
from gnomon.results.mobile_reproduce import audit, reproducible
from gnomon.results.mobile_rows import MEASURED, rows_of_run
from tests.loadgen.small_mobile import SMALL
from tests.results.mobile_sessions import browser_run

OTHER_SESSION = "0f0e9d63-6f0b-4f0e-9d63-0d4a3c1e2b5a"
START = datetime.fromisoformat("2026-12-01T10:00:00+00:00")


@pytest.fixture(scope="module")
def claimed(tmp_path_factory) -> Run:
    return browser_run(tmp_path_factory.mktemp("claim"))


@pytest.fixture(scope="module")
def slower(tmp_path_factory) -> Run:
    return browser_run(tmp_path_factory.mktemp("slower"), latency_ns=1_100_000)


def at(run: Run, minutes: float, folder: Path, name: str) -> Run:
    """A copy of the run that started so many minutes later and took one."""
    target = folder / name
    shutil.copytree(run.path, target)
    record = json.loads((target / "run.json").read_text())
    started = START + timedelta(minutes=minutes)
    record |= {
        "id": name,
        **({"session": name} if "session" in record else {}),
        "started_at": started.isoformat(),
        "finished_at": (started + timedelta(minutes=1)).isoformat(),
    }
    (target / "run.json").write_text(json.dumps(record))
    return Run.open(target)


def failed(verdict) -> list[str]:
    return [check.name for check in verdict.failures]


def claim_of(run: Run):
    return list(rows_of_run(run, MEASURED, ""))


def test_a_try_that_reaches_95_percent_reproduces_the_claim(claimed, tmp_path):
    verdict = audit(claim_of(claimed), [at(claimed, 0, tmp_path, "one")])
    assert verdict.valid, verdict.failures
    assert str(verdict) == "VALID under reproduction rules"
    reproduced = [check for check in verdict.checks if check.name == "reproduced"]
    assert [check.measurement for check in reproduced] == ["single-stream", "offline"]
    assert "100.0 % of the claim" in reproduced[0].found


def test_a_claim_is_no_try_of_itself(claimed):
    with pytest.raises(UsageError, match="session that is claimed"):
        audit(claim_of(claimed), [claimed])


def test_tries_that_stay_below_it_do_not(claimed, slower, tmp_path):
    tries = [at(slower, 10 * number, tmp_path, f"try-{number}") for number in range(3)]
    verdict = audit(claim_of(claimed), tries)
    assert failed(verdict) == ["reproduced", "reproduced"]
    assert all(check.why for check in verdict.failures)


def test_one_good_try_among_them_is_enough(claimed, slower, tmp_path):
    tries = [at(slower, 0, tmp_path, "slow"), at(claimed, 10, tmp_path, "good")]
    assert audit(claim_of(claimed), tries).valid


def test_tries_without_rest_or_more_than_five_do_not_count(claimed, tmp_path):
    # One minute of measuring, then 4.9 minutes of rest.
    hurried = [at(claimed, 5.9 * number, tmp_path, f"try-{number}") for number in range(6)]
    assert failed(audit(claim_of(claimed), hurried)) == ["tries", "waits"]
    rested = [at(claimed, 6 * number, tmp_path, f"rested-{number}") for number in range(5)]
    assert audit(claim_of(claimed), rested[::-1]).valid


def test_another_setup_is_another_result(claimed, tmp_path):
    fewer = browser_run(tmp_path, OTHER_SESSION, threads=1)
    verdict = audit(claim_of(claimed), [fewer])
    assert failed(verdict) == ["same_setup"]
    assert "threads: 1 instead of 4" in verdict.failures[0].found


def test_a_try_that_is_invalid_or_edited_counts_for_nothing(claimed, tmp_path):
    unfinished = browser_run(tmp_path, OTHER_SESSION, answers=False)
    assert failed(audit(claim_of(claimed), [unfinished])) == [
        "valid_runs",
        "reproduced",
        "reproduced",
    ]
    forged = at(claimed, 0, tmp_path, "forged")
    record = json.loads((forged.path / "run.json").read_text())
    record["measurements"]["single-stream"]["result"]["latency"]["p90_ns"] //= 2
    (forged.path / "run.json").write_text(json.dumps(record))
    assert failed(audit(claim_of(claimed), [Run.open(forged.path)])) == ["raw_samples"]


def test_repeats_within_5_percent_are_reproducible(claimed, slower, tmp_path):
    alike = [at(claimed, 10 * number, tmp_path, f"run-{number}") for number in range(2)]
    assert reproducible(alike).valid
    verdict = reproducible([*alike, at(slower, 30, tmp_path, "slower")])
    assert failed(verdict) == ["within_5_percent", "within_5_percent"]
    assert "9." in verdict.failures[0].found


def test_what_cannot_be_judged_is_said(claimed, tmp_path):
    with pytest.raises(UsageError, match="at least two"):
        reproducible([claimed])
    with pytest.raises(UsageError, match="twice"):
        reproducible([claimed, claimed])
    with pytest.raises(UsageError, match="at least one try"):
        audit(claim_of(claimed), [])
    with pytest.raises(UsageError, match="no score"):
        audit([], [claimed])


def test_runs_of_another_benchmark_are_refused(claimed, digits_run):
    with pytest.raises(UsageError, match="measured 'digits'"):
        audit(claim_of(claimed), [digits_run])


def test_native_runs_are_held_against_each_other_too(tmp_path):
    run = gnomon.run(SMALL, rules="quick", out=tmp_path)
    verdict = audit(claim_of(run), [at(run, 0, tmp_path, "again")])
    assert verdict.valid, verdict.failures
