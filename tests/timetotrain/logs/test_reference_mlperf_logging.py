"""Held against the field's own checkers: the same verdicts and scores, and where not, the test says why.

`reference_*` call mlperf-logging in this process, on copies.
"""

import functools
import json
import logging
import math
import warnings
from pathlib import Path

import pytest

from gnomon.timetotrain.logs import check_log, score_folder, training_entry
from gnomon.timetotrain.logs.rulesets import RULESETS
from tests.timetotrain.logs.as_asked import as_asked
from tests.timetotrain.logs.example import START_MS, run_entries, save, write_folder
from tests.timetotrain.logs.test_check import PUBLISHED, moved

compliance = pytest.importorskip("mlperf_logging.compliance_checker.mlp_compliance")
yaml = compliance.yaml
INFINITE = math.inf


class ReadOnce:
    """The YAML package for the reference, which parses each of its files anew for every log."""

    BaseLoader = compliance.yaml.BaseLoader

    @staticmethod
    def load(file, Loader):  # noqa: N803 - the package's name
        return parsed(file.name, Loader)


@functools.cache
def parsed(path, loader):
    return yaml.load(Path(path).read_text(), Loader=loader)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(compliance, "yaml", ReadOnce)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def reference_passes(path, ruleset="5.1.0"):
    checker = compliance.make_checker("training", ruleset, True, False)
    try:
        return compliance.main(str(path), f"training_{ruleset}/common.yaml", checker)[0]
    except (OSError, TypeError):
        return False  # it ends with an error over names that it has no file for, and over complex numbers
    finally:
        compliance.enqueued_configs.clear()


@pytest.fixture(scope="module")
def summarizer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages it imports
        return pytest.importorskip("mlperf_logging.result_summarizer.result_summarizer")


def reference_score(summarizer, folder, benchmark="retinanet"):
    return summarizer._compute_strong_score_standalone(
        benchmark, "system", False, str(folder), "training", "5.1.0"
    )[0]


def reference_seeds_pass(folder):
    seeds = pytest.importorskip("mlperf_logging.package_checker.seed_checker")
    return seeds.SeedChecker("5.1.0").check_seeds(sorted(folder.glob("result_*.txt")))


@pytest.mark.parametrize(("name", "ruleset"), [("v0.6_resnet", "0.6.0"), ("v5.1_rgat", "5.1.0")])
def test_both_pass_logs_as_published(name, ruleset):
    path = PUBLISHED / f"{name}.txt"
    assert reference_passes(path, ruleset)
    assert check_log(path, ruleset).valid


def cases():
    """Every benchmark of every round and division, but for those that a round took over as they were."""
    seen = []
    for name in ("5.1.0", "6.0.0", "6.1.0"):
        for benchmark in RULESETS[name].closed:
            for division in ("closed", "open"):
                tables = RULESETS[name].closed if division == "closed" else RULESETS[name].opened
                table = (benchmark, division, tables[benchmark])
                if table not in seen:
                    seen.append(table)
                    yield name, benchmark, division


CASES = list(cases())


@pytest.mark.parametrize(("ruleset", "benchmark", "division"), CASES)
def test_both_pass_what_our_rules_ask_of_a_benchmark_and_fail_it_without_any_one_key(
    tmp_path, ruleset, benchmark, division
):
    entries = as_asked(benchmark, ruleset, division)
    path = tmp_path / "result_0.txt"
    save(path, entries)
    report = check_log(path, ruleset)
    assert report.failures == ()
    assert reference_passes(path, ruleset)
    for key in dict.fromkeys(entry.key for entry in entries):
        if key.startswith("block_"):
            continue
        save(path, [entry for entry in entries if entry.key != key])
        ours = check_log(path, ruleset).valid
        # The reference leaves seeds to another checker.
        expected = division == "open" if key == "seed" else reference_passes(path, ruleset)
        assert ours == expected, key


def other_values(value):
    return ("something else",) if isinstance(value, str) else (-1, 2 * value + 1)


@pytest.mark.parametrize(("ruleset", "benchmark", "division"), CASES)
def test_both_judge_every_hyperparameter_alike(tmp_path, ruleset, benchmark, division):
    entries = as_asked(benchmark, ruleset, division)
    path = tmp_path / "result_0.txt"
    steps = {"submission_benchmark", "submission_division", "seed", "cache_clear"}
    for place, entry in enumerate(entries):
        if (
            entry.value is None
            or entry.key in steps
            or entry.key.startswith(("eval_acc", "averaged"))
        ):
            continue
        for value in other_values(entry.value):
            other = training_entry(entry.key, value, time_ms=entry.time_ms, metadata=entry.metadata)
            save(path, [*entries[:place], other, *entries[place + 1 :]])
            assert check_log(path, ruleset).valid == reference_passes(path, ruleset), (
                entry.key,
                value,
            )


DEFECTS = {
    "good": ({}, True),
    "no weight decay": ({"without": ("opt_weight_decay",)}, False),
    "no evaluation": ({"qualities": ()}, False),
    "no epochs": ({"without": ("epoch_start", "epoch_stop")}, False),
    "wrong optimiser": ({"opt_name": "sgd"}, False),
    "wrong weight decay": ({"opt_weight_decay": 1e-4}, False),
    "negative learning rate": ({"opt_base_learning_rate": -0.1}, False),
    "target missed": ({"qualities": (0.1, 0.3399)}, False),
    "target met": ({"qualities": (0.1, 0.34)}, True),
    "quality in percent": ({"qualities": (34.5,)}, False),
    "just short enough to initialise": ({"init_s": 1799}, True),
    "too long to initialise": ({"init_s": 1800}, False),
    "longer in the open division": ({"init_s": 14_000, "division": "open"}, True),
    "too long in the open division": ({"init_s": 14_400, "division": "open"}, False),
    "benchmark of another round": ({"benchmark": "bert"}, False),
    "no division of the field": ({"division": "ajar"}, False),
    "no organisation": ({"submission_org": ""}, False),
    "no cache cleared": ({"without": ("cache_clear",)}, False),
    "no stop": ({"without": ("run_stop",)}, False),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_both_judge_a_defect_alike(tmp_path, defect):
    changes, passes = DEFECTS[defect]
    path = tmp_path / "result_0.txt"
    save(path, run_entries(**changes))
    assert reference_passes(path) == passes
    assert check_log(path, "5.1.0").valid == passes


@pytest.mark.parametrize(
    ("key", "before"),
    [("run_start", "init_stop"), ("init_stop", "init_start"), ("run_stop", "run_start")],
)
def test_both_fail_steps_in_the_wrong_order(tmp_path, key, before):
    path = tmp_path / "result_0.txt"
    save(path, moved(run_entries(), key, before))
    assert not reference_passes(path)
    assert not check_log(path).valid


def test_both_fail_a_key_logged_with_two_values_and_pass_it_with_one_twice(tmp_path):
    path = tmp_path / "result_0.txt"
    for value, passes in (("adam", True), ("sgd", False)):
        extra = training_entry("opt_name", value, time_ms=START_MS)
        save(path, [*run_entries(), extra])
        assert reference_passes(path) == passes
        assert check_log(path).valid == passes


def test_both_fail_broken_json(tmp_path):
    path = tmp_path / "result_0.txt"
    save(path, run_entries())
    path.write_text(path.read_text() + ":::MLLOG {broken\n")
    assert not reference_passes(path)
    assert not check_log(path).valid


def test_both_fail_v06_with_epochs_out_of_order(tmp_path):
    path = tmp_path / "result_0.txt"
    text = (PUBLISHED / "v0.6_resnet.txt").read_text()
    for before, after in (
        ('"epoch_num": 3}', '"epoch_num": 4}'),
        ('"lars"', '"sgd"'),
        ("31.2", "0"),
    ):
        path.write_text(text.replace(before, after))
        assert not reference_passes(path, "0.6.0")
        assert not check_log(path, "0.6.0").valid


# Where the two differ, on purpose.


def test_the_reference_passes_an_aborted_run_and_scores_it_and_we_do_not(tmp_path, summarizer):
    folder = write_folder(tmp_path / "retinanet", status="aborted")
    assert reference_passes(folder / "result_0.txt")
    assert not check_log(folder / "result_0.txt").valid
    assert reference_score(summarizer, folder) == pytest.approx(12, abs=0.01)
    assert score_folder(folder).minutes is None


def test_the_reference_takes_a_second_start_of_the_run_for_the_same_and_we_do_not(tmp_path):
    path = tmp_path / "result_0.txt"
    again = training_entry("run_start", time_ms=START_MS + 400_000)
    entries = run_entries()
    save(path, [*entries[:-1], again, entries[-1]])
    assert reference_passes(path)
    assert not check_log(path).valid


def test_the_reference_counts_an_evaluation_before_the_run_and_we_do_not(tmp_path):
    path = tmp_path / "result_0.txt"
    save(path, moved(run_entries(qualities=(0.345, 0.1)), "eval_accuracy", "run_start"))
    assert reference_passes(path)
    assert not check_log(path).valid


def test_the_reference_passes_a_clock_that_was_set_back_and_we_do_not(tmp_path):
    path = tmp_path / "result_0.txt"
    stop = training_entry("run_stop", time_ms=START_MS, metadata={"status": "success"})
    save(path, [*run_entries()[:-1], stop])
    assert reference_passes(path)
    assert not check_log(path).valid


def test_the_reference_scores_four_of_five_logs_and_we_give_the_reason_instead(
    tmp_path, summarizer
):
    folder = write_folder(tmp_path / "retinanet", (10, 11, 12, 13))
    assert reference_score(summarizer, folder) == pytest.approx(11.5, abs=0.01)
    assert score_folder(folder).minutes is None


def test_the_reference_scores_again_with_a_factor_it_left_behind_and_we_the_same(
    tmp_path, summarizer
):
    folder = write_folder(tmp_path / "retinanet")
    first, ours = reference_score(summarizer, folder), score_folder(folder).minutes
    # What its check of reference convergence points writes between two of its runs.
    (folder / "scaling.json").write_text(json.dumps({"scaling_factor": 1.1}))
    assert reference_score(summarizer, folder) == pytest.approx(1.1 * first)
    assert score_folder(folder).minutes == ours == pytest.approx(first)


def test_the_reference_scores_a_folder_under_another_benchmarks_name_and_we_do_not(
    tmp_path, summarizer
):
    folder = write_folder(tmp_path / "unet3d", range(10, 20))
    assert reference_score(summarizer, folder, "unet3d") == pytest.approx(14.5, abs=0.01)
    assert score_folder(folder).minutes is None


# And where they agree on a folder.


@pytest.mark.parametrize(
    "minutes",
    [(10, 11, 12, 13, 20), (20, 13, 12, 11, 10), (9.5, INFINITE, 7, 30, 8), (5, 5, 5, 5, 5)],
)
def test_both_score_a_folder_alike(tmp_path, summarizer, minutes):
    folder = write_folder(tmp_path / "retinanet", minutes)
    assert score_folder(folder).minutes == pytest.approx(
        reference_score(summarizer, folder), rel=1e-12
    )


def test_both_give_no_score_with_two_failed_runs(tmp_path, summarizer):
    folder = write_folder(tmp_path / "retinanet", (INFINITE, 11, INFINITE, 13, 20))
    assert reference_score(summarizer, folder) is None
    assert score_folder(folder).minutes is None


def test_both_fail_a_seed_that_two_runs_log_and_a_run_that_logs_none(tmp_path):
    good = write_folder(tmp_path / "good" / "retinanet")
    assert reference_seeds_pass(good)
    assert score_folder(good).minutes is not None
    same = write_folder(tmp_path / "same" / "retinanet")
    save(same / "result_4.txt", run_entries(seed=1))
    assert not reference_seeds_pass(same)
    assert score_folder(same).minutes is None
    none = write_folder(tmp_path / "none" / "retinanet", without=("seed",))
    assert not reference_seeds_pass(none)
    assert score_folder(none).minutes is None


def test_both_pass_two_runs_that_log_a_seed_from_different_places(tmp_path):
    folder = write_folder(tmp_path / "retinanet")
    entries = run_entries(seed=9)
    moved_seed = [
        training_entry("seed", 1, time_ms=entry.time_ms, file="other.py", lineno=12)
        if entry.key == "seed"
        else entry
        for entry in entries
    ]
    save(folder / "result_4.txt", moved_seed)
    assert reference_seeds_pass(folder)
    assert score_folder(folder).minutes is not None
