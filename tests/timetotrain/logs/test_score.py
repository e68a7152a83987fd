"""A folder scored: the olympic mean in minutes, or the reason why not; twice the same, nothing touched."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.spec import QualityTarget
from gnomon.timetotrain.logs import scaling_factor, score_folder
from gnomon.timetotrain.logs.rules import Runs
from gnomon.timetotrain.logs.score import result_files
from tests.timetotrain.logs.example import run_entries, save, write_folder

INFINITE = math.inf


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_score_is_the_mean_without_the_fastest_and_the_slowest(tmp_path):
    score = score_folder(write_folder(tmp_path / "retinanet"))
    assert score.minutes == pytest.approx(12, abs=0.01)
    assert (score.benchmark, score.ruleset, score.failed, score.reason) == (
        "retinanet",
        "5.1.0",
        0,
        "",
    )
    assert score.verdict.valid


def test_a_folder_scores_the_same_twice_and_is_left_as_it_was(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    (folder / "scaling.json").write_text('{"scaling_factor": 1.5}')
    before = contents(folder)
    assert score_folder(folder) == score_folder(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("place", range(5))
def test_one_run_that_does_not_converge_is_the_slowest_that_is_dropped(tmp_path, place):
    minutes = [10.0, 11.0, 12.0, 13.0]
    minutes.insert(place, INFINITE)
    score = score_folder(write_folder(tmp_path / "retinanet", minutes))
    assert score.minutes == pytest.approx(12, abs=0.01)
    assert score.failed == 1
    assert "did not converge" in score.runs[place].reason


def test_an_aborted_run_with_a_passing_evaluation_is_one_that_did_not_converge(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    save(folder / "result_0.txt", run_entries(seed=1, minutes=10, status="aborted"))
    score = score_folder(folder)
    assert score.failed == 1
    assert score.minutes == pytest.approx((12 + 13 + 20) / 3, abs=0.01)
    assert "found status 'aborted'" in score.runs[0].reason


def test_two_failed_runs_give_no_score_and_both_reasons(tmp_path):
    score = score_folder(write_folder(tmp_path / "retinanet", (10, INFINITE, 12, INFINITE, 20)))
    assert score.minutes is None
    assert score.reason.startswith("2 of 5 runs do not count, must be at most 1: result_1.txt")
    assert "result_3.txt" in score.reason


@pytest.mark.parametrize(
    ("count", "mend"), [(4, "run more seeds"), (6, "5 consecutive runs with the median score")]
)
def test_too_few_or_too_many_logs_give_no_score_and_the_reason(tmp_path, count, mend):
    score = score_folder(write_folder(tmp_path / "retinanet", range(10, 10 + count)))
    assert score.minutes is None
    assert f"{count} result logs, must be exactly 5 for retinanet in 5.1.0" in score.reason
    assert mend in score.reason


def test_a_run_that_breaks_a_rule_counts_as_failed_unless_compliance_is_not_asked_for(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    save(folder / "result_4.txt", run_entries(seed=5, minutes=20, opt_name="sgd"))
    save(folder / "result_3.txt", run_entries(seed=4, minutes=13, opt_name="sgd"))
    assert score_folder(folder).minutes is None
    assert score_folder(folder, compliance=False).minutes == pytest.approx(12, abs=0.01)


def test_the_same_seed_from_the_same_place_in_two_runs_fails(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    save(folder / "result_4.txt", run_entries(seed=2, minutes=20))
    score = score_folder(folder)
    assert score.minutes is None
    assert score.reason == (
        "result_4.txt, line 7, seed: found 2, which result_1.txt logs in line 7, both from train.py:12; "
        "must be another in every run: draw seeds anew and run again"
    )


def test_the_benchmark_is_that_of_the_logs_and_a_folder_of_another_name_fails(tmp_path):
    score = score_folder(write_folder(tmp_path / "unet3d"))
    assert score.benchmark == "retinanet"
    assert score.minutes is None
    assert "the logs name retinanet and the folder unet3d, must be the same" in score.reason
    assert score_folder(write_folder(tmp_path / "my-runs")).minutes is not None


def test_logs_of_two_benchmarks_in_one_folder_fail(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    save(folder / "result_4.txt", run_entries("rgat", seed=9))
    assert "the logs name retinanet, rgat, must name one benchmark" in score_folder(folder).reason


def test_logs_of_two_divisions_in_one_folder_fail(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    save(folder / "result_4.txt", run_entries(seed=9, division="open"))
    assert (
        "is of rule set 5.1.0, open, and result_0.txt of 5.1.0, closed"
        in score_folder(folder).reason
    )


def test_forty_runs_of_unet3d_drop_four_at_each_end(tmp_path):
    minutes = [*range(100, 136), 500.0, 600.0, INFINITE, INFINITE]
    hyperparameters = {"global_batch_size": 32, "train_samples": 168, "eval_samples": 42}
    folder = write_folder(
        tmp_path / "unet3d",
        minutes,
        "unet3d",
        hyperparameters=hyperparameters,
        qualities=(0.5, 0.91),
        start_ms=1_700_000_000_000,
    )
    score = score_folder(folder)
    assert (score.dropped, score.failed) == (4, 2)
    assert score.minutes == pytest.approx(sum(range(104, 136)) / 32, abs=0.01)


def test_of_a_hundred_runs_of_ncf_the_first_fifty_that_converge_count(tmp_path):
    folder = tmp_path / "ncf"
    folder.mkdir()
    for number in range(100):
        passes = number % 3 != 0
        lines = [
            "0.0 (ncf.py:1) run_clear_caches",
            "0.0 (ncf.py:2) run_start",
            "0.0 (ncf.py:3) eval_start: 0",
            f'0.0 (ncf.py:4) eval_accuracy: {{"epoch": 0, "value": {0.64 if passes else 0.6}}}',
            "0.0 (ncf.py:5) eval_stop",
            f'{60.0 * (number + 1)} (ncf.py:6) run_stop: {{"success": {str(passes).lower()}}}',
        ]
        text = "".join(f":::MLPv0.5.0 ncf {line}\n" for line in lines)
        (folder / f"result_{number}.txt").write_text(text)
    score = score_folder(folder)
    first_fifty = [number + 1 for number in range(100) if number % 3][:50]
    assert score.failed == 34
    assert score.minutes == pytest.approx(sum(first_fifty[1:-1]) / 48)


def test_the_scaling_factor_multiplies_the_mean(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    file = tmp_path / "scaling.json"
    file.write_text(json.dumps({"scaling_factor": 1.25}))
    assert scaling_factor(file) == 1.25
    plain = score_folder(folder).minutes
    assert score_folder(folder, scaling=1.25).minutes == pytest.approx(1.25 * plain)
    assert score_folder(folder, scaling=file).minutes == pytest.approx(1.25 * plain)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"scaling_factor": "1"}', '{"scaling_factor": 0}']
)
def test_a_scaling_file_without_a_factor_is_refused(tmp_path, text):
    file = tmp_path / "scaling.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"scaling\.json holds no factor"):
        scaling_factor(file)


@pytest.mark.parametrize("factor", [0, -1, math.nan, INFINITE])
def test_a_factor_that_is_not_positive_is_refused(tmp_path, factor):
    with pytest.raises(SettingsError, match="scaling must be positive"):
        score_folder(write_folder(tmp_path / "retinanet"), scaling=factor)


def test_a_benchmark_of_ours_needs_as_many_runs_as_it_asks_for_or_three(tmp_path):
    hyperparameters = {"global_batch_size": 64, "train_samples": 9, "eval_samples": 9}
    more = {"hyperparameters": hyperparameters, "qualities": (0.9, 0.98)}
    target = QualityTarget(metric="accuracy", reference=0.97, factor=1.0)
    folder = write_folder(tmp_path / "digits", (1, 2, 4), "train-digits", **more)
    score = score_folder(folder, target=target)
    assert (score.ruleset, score.minutes) == ("gnomon", pytest.approx(2, abs=0.01))
    assert score_folder(folder, target=target, runs=Runs(5)).minutes is None
    (folder / "result_2.txt").unlink()
    assert "2 logs, must be at least 3" in score_folder(folder, target=target).reason


def test_results_are_taken_in_order_of_their_numbers(tmp_path):
    folder = write_folder(tmp_path / "retinanet", range(1, 13))
    assert [path.name for path in result_files(folder)] == [f"result_{n}.txt" for n in range(12)]


def test_a_folder_without_logs_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"holds no result_\*\.txt"):
        score_folder(tmp_path)


def test_a_log_that_is_no_log_counts_as_failed(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    (folder / "result_4.txt").write_bytes(b"\x00\x01")
    score = score_folder(folder)
    assert score.failed == 1
    assert score.minutes is None
    assert "the logs name retinanet, none" in score.reason


@settings(deadline=None, derandomize=True, max_examples=15)
@given(st.lists(st.integers(1, 500) | st.just(INFINITE), min_size=5, max_size=5))
def test_the_score_lies_within_the_runs_that_count(tmp_path_factory, minutes):
    folder = write_folder(tmp_path_factory.mktemp("any") / "retinanet", minutes)
    score = score_folder(folder)
    converged = sorted(value for value in minutes if value < INFINITE)
    if len(converged) < 4:
        assert score.minutes is None
    else:
        assert converged[1] - 0.01 <= score.minutes <= converged[3] + 0.01
