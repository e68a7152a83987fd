"""One log judged: good ones pass, every defect fails in words that name file, line, key and mend."""

import math
from pathlib import Path

import pytest

from gnomon.core.errors import UnknownNameError
from gnomon.core.spec import QualityTarget
from gnomon.timetotrain.logs import check_log, training_entry
from tests.timetotrain.logs.example import START_MS, run_entries, save

PUBLISHED = Path(__file__).parent / "published"


@pytest.fixture
def judged(tmp_path):
    """Judge the log of these entries."""

    def judge(entries, *arguments, **options):
        save(tmp_path / "result_0.txt", entries)
        return check_log(tmp_path / "result_0.txt", *arguments, **options)

    return judge


def failed(report):
    return [check.name for check in report.failures]


def moved(entries, key, before):
    """The entries with the first of one key put before the first of another."""
    entry = next(entry for entry in entries if entry.key == key)
    rest = [one for one in entries if one is not entry]
    place = next(i for i, one in enumerate(rest) if one.key == before)
    return [*rest[:place], entry, *rest[place:]]


@pytest.mark.parametrize(
    ("name", "ruleset", "seconds"),
    [
        ("v0.5_ncf", "0.5.0", 960.22),
        ("v0.5_ssd", "0.5.0", 300.03),
        ("v0.6_resnet", "0.6.0", 78.25),
        ("v5.1_rgat", "5.1.0", 297.03),
    ],
)
def test_a_log_as_published_is_judged_by_the_rules_of_its_round(name, ruleset, seconds):
    report = check_log(PUBLISHED / f"{name}.txt")
    assert report.ruleset == ruleset
    assert report.failures == ()
    assert report.converged
    assert report.time_to_train_s == pytest.approx(seconds, abs=1e-3)


def test_a_good_log_passes_and_says_what_it_took(judged):
    report = judged(run_entries())
    assert report.valid
    assert report.converged
    assert report.verdict.valid
    assert (report.benchmark, report.division, report.global_batch_size) == (
        "retinanet",
        "closed",
        32,
    )
    assert (report.quality, report.trained) == (0.345, {"epoch_num": 3})
    assert report.time_to_train_s == pytest.approx(600, abs=0.1)
    assert report.why_ruleset == (
        "5.1.0: retinanet is in round 5.0.0, 5.1.0; it was written on 2025-10-09, before the results of "
        "that round"
    )


def test_a_failure_names_file_line_key_found_required_and_mend(judged):
    (failure,) = judged(run_entries(opt_name="sgd")).failures
    assert (failure.name, failure.found, failure.required) == (
        "opt_name_value",
        "line 9: 'sgd'",
        "'adam'",
    )
    assert failure.why == (
        "result_0.txt, line 9, opt_name: found 'sgd', must be 'adam': the closed division fixes it: train "
        "with that or submit to the open division"
    )


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"without": ("opt_weight_decay",)}, ["opt_weight_decay_count"]),
        ({"without": ("seed",)}, ["seed_count"]),
        (
            {"without": ("cache_clear", "init_start")},
            ["cache_clear_count", "init_start_count", "init_stop_order"],
        ),
        ({"without": ("eval_stop",)}, ["eval_stop_count"]),
        ({"without": ("run_stop",)}, ["run_stop_count"]),
        ({"opt_weight_decay": 0.1}, ["opt_weight_decay_value"]),
        ({"opt_base_learning_rate": -1}, ["opt_base_learning_rate_value"]),
        ({"gradient_accumulation_steps": 0}, ["gradient_accumulation_steps_value"]),
        ({"submission_org": ""}, ["submission_org_value"]),
        ({"seed": "none"}, ["seed_value", "seed_count"]),
        ({"qualities": (0.1, 0.33)}, ["quality_target"]),
        ({"qualities": (math.nan,)}, ["quality_target"]),
        ({"qualities": (34.5,)}, ["quality_target"]),
        ({"init_s": 1801}, ["initialisation_time"]),
        ({"status": "aborted"}, ["run_status"]),
        ({"status": "tired"}, ["run_stop_metadata", "run_status"]),
    ],
)
def test_a_defect_fails_the_check_of_its_name_alone(judged, changes, names):
    report = judged(run_entries(**changes))
    assert failed(report) == names
    for check in report.failures:
        assert check.why.startswith("result_0.txt")
        assert check.measurement == "result_0.txt"


def test_an_aborted_run_did_not_converge_however_good_it_was(judged):
    report = judged(run_entries(status="aborted"))
    assert not report.converged
    assert report.quality == 0.345


@pytest.mark.parametrize(
    ("key", "before", "name"),
    [
        ("run_start", "init_stop", "run_start_order"),
        ("run_stop", "run_start", "run_stop_order"),
        ("init_stop", "init_start", "init_stop_order"),
    ],
)
def test_steps_in_the_wrong_order_fail(judged, key, before, name):
    assert name in failed(judged(moved(run_entries(), key, before)))


def test_an_evaluation_on_target_before_the_run_is_no_convergence(judged):
    entries = run_entries(qualities=(0.345, 0.1))
    report = judged(moved(entries, "eval_accuracy", "run_start"))
    assert failed(report) == ["quality_target"]
    assert not report.converged


def test_a_key_that_is_logged_twice_with_two_values_fails_and_with_one_is_remarked(judged):
    entries = run_entries()
    again = next(entry for entry in entries if entry.key == "opt_name")
    twice = judged([*entries, again])
    assert twice.valid
    (check,) = (check for check in twice.checks if check.name == "opt_name_count")
    assert "logged 2 times with the same value" in check.why
    other = training_entry("opt_name", "sgd", time_ms=START_MS, file="train.py")
    (count, value) = judged([*entries, other]).failures
    assert (count.name, value.name) == ("opt_name_count", "opt_name_value")
    assert "logged 2 times with 'adam' and 'sgd'" in count.why


def test_a_second_start_of_the_run_fails_though_both_say_the_same(judged):
    entries = run_entries()
    again = next(entry for entry in entries if entry.key == "run_start")
    assert failed(judged([*entries, again])) == ["run_start_count"]


def test_several_seeds_are_remarked(judged):
    report = judged([*run_entries(), training_entry("seed", 5, time_ms=START_MS)])
    assert report.valid
    assert [seed.value for seed in report.seeds] == [1, 5]
    (check,) = (check for check in report.checks if check.name == "seed_count")
    assert "2 seeds are logged" in check.why


def test_the_open_division_asks_for_no_hyperparameter_or_seed_and_leaves_more_time(judged):
    entries = run_entries(division="open", opt_name="sgd", init_s=14_000, without=("seed",))
    assert judged(entries).valid
    assert not judged(entries, division="closed").valid


def test_a_clock_that_was_set_back_fails(judged):
    entries = run_entries()
    stop = training_entry("run_stop", time_ms=START_MS, metadata={"status": "success"})
    report = judged([*entries[:-1], stop])
    assert failed(report) == ["clock_forward"]
    assert not report.converged


def test_broken_entries_fail_with_the_first_quoted(tmp_path):
    path = tmp_path / "result_0.txt"
    save(path, run_entries())
    path.write_text(path.read_text() + ":::MLLOG {broken\n" * 2)
    report = check_log(path)
    assert failed(report) == ["well_formed"]
    assert "line 35: :::MLLOG {broken" in report.failures[0].why
    assert report.failures[0].found == "2 malformed entries"


def test_a_file_without_any_entry_fails_first_of_all_for_that(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text("no log\n")
    report = check_log(path)
    assert failed(report)[0] == "has_entries"
    assert not report.converged
    assert report.time_to_train_s is None


def test_metadata_without_a_count_of_training_fails(judged):
    entries = run_entries()
    bare = training_entry("eval_accuracy", 0.345, time_ms=entries[-2].time_ms, file="train.py")
    (failure,) = judged([*entries[:-1], bare, entries[-1]]).failures
    assert failure.name == "eval_accuracy_metadata"
    assert "metadata has file, lineno, must have epoch_num" in failure.why


def test_an_unknown_benchmark_of_a_named_round_fails_by_its_name(judged):
    report = judged(run_entries("train-digits"), "5.1.0")
    assert failed(report) == ["submission_benchmark_value", "quality_target"]
    assert "of which rule set 5.1.0 knows no target" in report.failures[1].why


DIGITS = {"global_batch_size": 64, "train_samples": 1437, "eval_samples": 360}


def test_a_benchmark_of_ours_is_judged_by_our_rules_against_the_given_target(judged):
    target = QualityTarget(metric="accuracy", reference=0.97, factor=1.0)
    good = run_entries("train-digits", hyperparameters=DIGITS, qualities=(0.9, 0.972))
    report = judged(good, target=target)
    assert report.ruleset == "gnomon"
    assert report.valid
    short = run_entries("train-digits", hyperparameters=DIGITS, qualities=(0.9, 0.96))
    assert failed(judged(short, target=target)) == ["quality_target"]
    assert failed(judged(good)) == ["quality_target"]


def test_a_benchmark_of_ours_may_state_its_target_in_the_log_but_not_another_one(judged):
    stated = run_entries(
        "train-digits", hyperparameters=DIGITS | {"eval_target": 0.9}, qualities=(0.8, 0.95)
    )
    assert judged(stated).valid
    target = QualityTarget(metric="accuracy", reference=0.97, factor=1.0)
    assert failed(judged(stated, target=target)) == ["quality_target", "stated_target"]


def test_a_target_of_which_less_is_better_is_met_from_above(judged):
    losses = run_entries("train-text", hyperparameters=DIGITS, qualities=(0.5, 0.14))
    target = QualityTarget(metric="loss", reference=0.15, factor=1.0, higher_is_better=False)
    report = judged(losses, target=target)
    assert report.valid
    assert report.trained == {"epoch_num": 2}


def test_the_target_of_the_field_is_not_replaced_by_a_given_one(judged):
    target = QualityTarget(metric="mAP", reference=0.1, factor=1.0)
    assert failed(judged(run_entries(qualities=(0.2,)), target=target)) == ["quality_target"]


@pytest.mark.parametrize(
    ("benchmark", "start_ms", "words"),
    [
        ("resnet", 1_620_000_000_000, "1.0.0: resnet is in round 0.7.0, 1.0.0"),
        ("unet3d", 1_700_600_000_000, "4.0.0: unet3d is in round"),
        ("retinanet", 1_790_000_000_000, "after the last of them"),
        ("retinanet", 0, "it has no date"),
        ("gpt_oss_20b", 1_778_000_000_000, "6.0.0: gpt_oss_20b"),
        ("gpt_oss_20b", 1_795_000_000_000, "6.1.0: gpt_oss_20b"),
        ("digits", 1_620_000_000_000, "gnomon: 'digits' is no benchmark of the field's rounds"),
    ],
)
def test_the_round_is_told_by_benchmark_and_date_and_said(judged, benchmark, start_ms, words):
    entries = run_entries(benchmark, start_ms=start_ms)
    if not start_ms:
        entries = [entry for entry in entries if entry.key not in ("init_start", "run_start")]
    assert words in judged(entries).why_ruleset


def test_a_round_without_rules_of_its_own_is_judged_as_far_as_they_go_and_says_so(judged):
    report = judged(run_entries("resnet", start_ms=1_620_000_000_000, qualities=(0.5, 0.76)))
    assert report.valid
    assert not report.exact
    assert "of 1.0.0 only names and targets are here, the rest is as in 5.1.0" in report.why_ruleset


def test_an_unknown_rule_set_offers_the_nearest(judged):
    with pytest.raises(UnknownNameError, match=r"did you mean '5\.1\.0'"):
        judged(run_entries(), "5.1")


def test_v06_asks_for_epochs_and_evaluations_in_order(tmp_path):
    text = (PUBLISHED / "v0.6_resnet.txt").read_text()
    path = tmp_path / "result_0.txt"
    path.write_text(text.replace('"epoch_num": 3}', '"epoch_num": 4}'))
    report = check_log(path)
    assert failed(report) == ["nesting"]
    assert "epoch_start: found epoch_num 4, must have epoch_num 3" in report.failures[0].why


def test_v06_asks_for_the_keys_of_the_optimiser_that_was_used(tmp_path):
    path = tmp_path / "result_0.txt"
    text = (PUBLISHED / "v0.6_resnet.txt").read_text()
    path.write_text(text.replace('"value": "lars"', '"value": "sgd"'))
    names = failed(check_log(path))
    assert "opt_learning_rate_decay_boundary_epochs_count" in names
    assert "lars_epsilon_count" in names


@pytest.mark.parametrize(
    "value", [None, [], {}, "", True, math.nan, math.inf, -1, 10**400, {"BBOX": "a"}]
)
@pytest.mark.parametrize("ruleset", ["0.5.0", "0.6.0", "2.0.0", "5.1.0", "6.1.0", "gnomon"])
def test_values_of_any_kind_are_judged_and_never_an_error(judged, value, ruleset):
    entries = run_entries(
        global_batch_size=value, eval_samples=value, seed=value, submission_benchmark=value
    )
    odd = {"epoch_num": value, "status": value, "timestamp": value}
    more = [
        training_entry(key, value, time_ms=START_MS, metadata=odd)
        for key in ("eval_accuracy", "eval_target", "eval_result", "epoch_start", "block_start")
    ]
    assert not judged([*entries, *more], ruleset).valid
