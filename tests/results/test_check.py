"""Recomputation: a run agrees with itself, and nothing that was changed afterwards passes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import DataError, GnomonError, RunFolderError
from gnomon.core.registry import BENCHMARKS
from gnomon.core.run import Run
from gnomon.core.spec import QualityTarget
from gnomon.loadgen.samples import SAMPLES_FILE, Samples, read_samples, write_samples
from gnomon.results.check import check


@pytest.fixture
def copy(digits_run: Run, tmp_path: Path) -> Path:
    """A copy of the run, to be tampered with."""
    folder = tmp_path / digits_run.path.name
    shutil.copytree(digits_run.path, folder)
    return folder


def _change(folder: Path, change) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


def test_results_and_verdict_are_made_again_and_equal_what_the_run_said(digits_run: Run):
    report = check(digits_run.path)
    assert report.disagreements == ()
    assert report.results == digits_run.result
    assert report.verdict == digits_run.verdict
    assert report.fine == digits_run.verdict.valid


def test_a_prettier_figure_in_the_record_is_found(copy: Path):
    _change(
        copy, lambda r: r["measurements"]["single-stream"]["result"]["latency"].update(p99_ns=1)
    )
    report = check(copy)
    assert not report.fine
    assert any("single-stream" in words and "p99_ns" in words for words in report.disagreements)


def test_a_verdict_turned_to_valid_is_found(copy: Path):
    def worse(record: dict) -> None:
        record["measurements"]["server"]["settings"]["target_latency_ns"] = 1
        record["verdict"]["valid"] = True

    _change(copy, worse)
    report = check(copy)
    assert not report.verdict.valid
    assert not report.fine


def test_other_samples_than_the_seeds_give_are_found(copy: Path):
    path = copy / "single-stream" / SAMPLES_FILE
    samples = read_samples(path)
    easiest = np.full_like(samples.sample_index, samples.sample_index[0])
    write_samples(
        Samples(
            samples.query, easiest, samples.scheduled_ns, samples.issued_ns, samples.completed_ns
        ),
        path,
    )
    assert any("not those that its seeds give" in words for words in check(copy).disagreements)


def test_later_arrivals_than_the_seeds_give_are_found(copy: Path):
    path = copy / "server" / SAMPLES_FILE
    samples = read_samples(path)
    kinder = samples.scheduled_ns + 1000
    write_samples(
        Samples(
            samples.query, samples.sample_index, kinder, samples.issued_ns, samples.completed_ns
        ),
        path,
    )
    assert any("arrivals" in words for words in check(copy).disagreements)


def test_latencies_taken_out_of_the_samples_are_found(copy: Path):
    path = copy / "server" / SAMPLES_FILE
    samples = read_samples(path)
    slowest = samples.latency_ns == samples.latency_ns.max()
    completed_ns = np.where(slowest, samples.scheduled_ns + 1, samples.completed_ns)
    write_samples(
        Samples(
            samples.query,
            samples.sample_index,
            samples.scheduled_ns,
            samples.issued_ns,
            completed_ns,
        ),
        path,
    )
    assert not check(copy).fine


def test_answers_changed_in_the_accuracy_log_are_found(copy: Path):
    path = copy / "accuracy" / "mlperf_log_accuracy.json"
    entries = json.loads(path.read_text())
    for entry in entries[:100]:
        entry["data"] = "00" * 40
    path.write_text(json.dumps(entries))
    report = check(copy)
    assert not report.fine
    assert any("quality" in words for words in report.disagreements)


def test_stand_in_data_cannot_be_declared_official(copy: Path):
    _change(copy, lambda r: r["data"].update(official=True))
    report = check(copy)
    assert not report.fine
    assert not report.verdict.comparable


def test_other_data_than_was_measured_is_refused(copy: Path):
    _change(copy, lambda r: r["data"].update(sha256="0" * 64))
    with pytest.raises(GnomonError, match="measured on other data"):
        check(copy)


def test_errors_taken_out_of_the_logs_are_found(copy: Path):
    _change(
        copy,
        lambda r: r["measurements"]["offline"]["faults"].append(
            {"kind": "raised", "message": "boom"}
        ),
    )
    report = check(copy)
    assert not report.fine
    assert any("detail log has 0 error" in words for words in report.disagreements)


def test_an_aborted_run_is_never_fine(copy: Path):
    _change(copy, lambda r: r.update(status="running"))
    report = check(copy)
    assert not report.fine
    assert report.verdict.failures[0].name == "completed"


def test_a_run_without_its_samples_cannot_be_checked(copy: Path):
    (copy / "server" / SAMPLES_FILE).unlink()
    with pytest.raises(RunFolderError, match=r"samples\.parquet is missing"):
        check(copy)


def test_samples_cut_short_cannot_be_checked(copy: Path):
    path = copy / "server" / SAMPLES_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunFolderError, match="cannot be read as samples"):
        check(copy)


def test_a_log_folder_is_judged_by_what_it_claims_and_says_so(digits_run: Run):
    report = check(digits_run.path / "server")
    assert report.verdict.profile == "claimed"
    assert "not recomputed" in report.verdict.remark
    assert report.fine == digits_run.verdict.of("server").valid


def test_logs_that_say_invalid_are_never_fine(copy: Path):
    detail = copy / "server" / "mlperf_log_detail.txt"
    detail.write_text(
        detail.read_text().replace(
            '"result_validity", "value": "VALID"', '"result_validity", "value": "INVALID"'
        )
    )
    assert not check(copy / "server").fine


def test_a_damaged_log_is_refused_with_its_line(copy: Path):
    detail = copy / "server" / "mlperf_log_detail.txt"
    lines = detail.read_text().splitlines()
    lines[4] = lines[4][:30]
    detail.write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 5"):
        check(copy / "server")


def test_a_folder_of_something_else_is_one_clear_line(tmp_path: Path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        check(tmp_path)


# --- what a sceptic would try next ------------------------------------------------------------------


def _claim_more(record):
    record["verdict"].update(profile="official", comparable=True, remark="")


def _ask_for_less(record):
    record["measurements"]["offline"]["settings"]["performance_sample_count"] = 1


def _lower_the_target(record):
    record["benchmark"]["quality"]["factor"] = 0.5


def _hide_a_test(record):
    record["measurements"]["server-probe-07"] = record["measurements"].pop("offline")


def _drop_checks(record):
    del record["verdict"]["checks"][1:]


@pytest.mark.parametrize(
    "change", [_claim_more, _ask_for_less, _lower_the_target, _hide_a_test, _drop_checks]
)
def test_a_record_that_claims_more_than_its_folder_holds_is_found(copy: Path, change):
    if change is _hide_a_test:
        (copy / "offline").rename(copy / "server-probe-07")
    _change(copy, change)
    report = check(copy)
    assert not report.fine
    assert report.disagreements


def test_a_record_without_its_options_is_one_clear_line(copy: Path):
    _change(copy, lambda record: record.pop("options"))
    with pytest.raises(RunFolderError, match="does not say with which options it was run"):
        check(copy)


def test_an_answer_given_twenty_times_counts_once(copy: Path):
    path = copy / "accuracy" / "mlperf_log_accuracy.json"
    answers = json.loads(path.read_text())
    right = [{**answers[0], "seq_id": 797 + number} for number in range(20)]
    lines = [json.dumps(answer) for answer in (*answers, *right)]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    report = check(copy)
    assert "accuracy: the accuracy log answers other samples than were issued" in (
        report.disagreements
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("single-stream", "did not wait for the one before"),
        ("server", "issued before they were due"),
        ("offline", "from before they were asked for"),
    ],
)
def test_times_that_cannot_have_happened_are_found(copy: Path, name: str, words: str):
    path = copy / name / SAMPLES_FILE
    samples = read_samples(path)
    columns = {
        "issued_ns": samples.issued_ns.copy(),
        "completed_ns": samples.completed_ns.copy(),
        "scheduled_ns": samples.scheduled_ns.copy(),
    }
    if name == "single-stream":
        columns["completed_ns"][:-1] = samples.issued_ns[1:] + 1
    elif name == "server":
        columns["issued_ns"] = np.maximum(1, samples.scheduled_ns - 1)
    else:
        columns["completed_ns"][5] = 1
    write_samples(replace(samples, **columns), path)
    assert any(words in found for found in check(copy).disagreements)


def test_a_benchmark_of_ones_own_under_a_registered_name_is_called_so(tmp_path: Path):
    easier = BENCHMARKS.load("digits").model_copy(
        update={"quality": QualityTarget(metric="top-1 accuracy", reference=0.1)}
    )
    run = gnomon.run(easier, performance=False, out=tmp_path)
    assert run.verdict.valid
    assert "not a registered benchmark" in run.verdict.remark
    assert check(run.path).fine
