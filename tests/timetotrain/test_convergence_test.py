"""The test against reference points, held against the official checker and the examples of the rules."""

import io
import itertools
import json
import math
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gnomon.core.errors import UsageError
from gnomon.timetotrain.convergence_test import Basis, Way, judge_convergence
from gnomon.timetotrain.reference_point_files import read_reference_points, write_reference_points
from gnomon.timetotrain.reference_points import (
    ReferencePoint,
    make_reference_point,
    pruned_by_neighbours,
    under_official_name,
)

official = pytest.importorskip("mlperf_logging.rcp_checker.rcp_checker")
FILES = sorted(Path(official.__file__).parent.glob("*/rcps_*.json"))
BISECTION = 1e-4
"""The official checker finds the minimum this far."""

POINTS = (
    make_reference_point("a", 128, [16, 14, 16, 17, 16, 16, 15, 16, 15, 16], runs=5),
    make_reference_point("a", 256, [20, 21, 21, 20, 22, 22, 21, 21, 20, 20], runs=5),
)
"""Those of the rules' appendix."""


def rules_of(usage, benchmark):
    """How many runs a result of this benchmark is made of, and how many are dropped at each end."""
    runs = official.submission_runs[usage].get(benchmark, 5)  # dlrm is no longer listed
    return runs, 4 if benchmark == "unet3d" else 1


def official_verdict(checker, size, epochs, benchmark, which="pruned_rcps"):
    """Pass or fail, message and score factor, as the official checker decides on these runs."""
    runs = [1e9 if math.isinf(value) else value for value in epochs]
    dropped = 4 if benchmark == "unet3d" else 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(official, "RCP_Checker", lambda *_: checker)
        failed = sum(math.isinf(value) for value in epochs)
        read = (size, None if failed > dropped else runs, benchmark)
        patch.setattr(official, "get_submission_epochs", lambda *_: read)
        return official.check_directory("", "", "", False, False, rcp_pass=which)


def test_every_shipped_point_has_the_official_minimum_and_the_same_points_are_pruned(monkeypatch):
    count = 0
    for path in FILES:
        usage, ruleset = path.parent.name.split("_")
        points = read_reference_points(path)
        benchmark = path.stem.removeprefix("rcps_")
        runs, dropped = rules_of(usage, benchmark)
        monkeypatch.setitem(official.submission_runs[usage], benchmark, runs)
        checker = official.RCP_Checker(usage, ruleset, benchmark, False)
        left = pruned_by_neighbours(points, dropped)
        assert [point.name for point in left] == list(checker.pruned_rcp_data)
        for point in points:
            test = judge_convergence(
                points,
                point.global_batch_size,
                [1.0] * runs,
                runs=runs,
                dropped=dropped,
                pruned=False,
            )
            record = checker.rcp_data[point.name]
            assert test.package.minimum == pytest.approx(record["Min Epochs"], abs=BISECTION)
            assert test.package.mean == record["RCP Mean"]
            assert test.package.deviation == pytest.approx(record["RCP Stdev"])
            assert test.package.points == (point.name,)
            count += 1
    assert count > 550


def test_runs_pass_and_fail_as_the_official_checker_says_at_every_shipped_batch_size(monkeypatch):
    seen = set()
    passed = {True: 0, False: 0}
    for path in reversed(FILES):  # the same files ship with many rounds
        usage, ruleset = path.parent.name.split("_")
        benchmark = path.stem.removeprefix("rcps_")
        content = (benchmark, path.read_text())
        if content in seen:
            continue
        seen.add(content)
        runs, dropped = rules_of(usage, benchmark)
        monkeypatch.setitem(official.submission_runs[usage], benchmark, runs)
        points = read_reference_points(path)
        checker = official.RCP_Checker(usage, ruleset, benchmark, False)
        allowance = 46080 if benchmark == "llama31_405b" else 0
        sizes = [point.global_batch_size for point in points]
        between = {(one + other) // 2 for one, other in itertools.pairwise(sizes)}
        for size in sorted({*sizes, *between, max(1, sizes[0] // 2), sizes[-1] * 2}):
            judged = {"runs": runs, "dropped": dropped, "allowance": allowance}
            minimum = judge_convergence(points, size, [1.0] * runs, **judged).package.minimum
            for value in (minimum * 0.999, minimum * 1.001) if minimum else (1.0,):
                epochs = [value] * runs
                ours = judge_convergence(points, size, epochs, **judged).package
                theirs, message, factor = official_verdict(checker, size, epochs, benchmark)
                assert ours.passed == theirs, (path, size, message)
                assert (ours.basis is Basis.MISSING) == (
                    "please submit" in message and ours.mean is None
                )
                if theirs:
                    assert ours.scale_factor == pytest.approx(factor)
                passed[theirs] += 1
    assert min(passed.values()) > 300


def official_json(points):
    """The points in the field's format, made apart from the code under test."""
    keys = {"epochs": "Epochs to converge", "samples": "samples to converge"}
    return json.dumps(
        {
            point.name: {
                "Benchmark": point.benchmark,
                "BS": point.global_batch_size,
                "Hyperparams": {},
                keys[point.unit]: list(point.to_converge),
            }
            for point in points
        }
    )


@st.composite
def cases(draw):
    """Reference points, a batch size and the runs of a result, of a benchmark that the package knows."""
    benchmark = draw(
        st.sampled_from(["retinanet", "flux1", "llama31_8b", "qwen35_397b_grpo", "unet3d"])
    )
    runs, dropped = rules_of("training", benchmark)
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.0, 0.02, 0.2, 1.0]))
    level = draw(st.sampled_from([0.5, 10.0, 5000.0]))
    unit = draw(st.sampled_from([0.05, 1.0]))
    points = []
    for size in sizes:
        of_this = level * (1 + size / 20) * draw(st.floats(0.5, 1.5))
        drawn = of_this * np.exp(
            spread * generator.standard_normal(2 * runs + draw(st.integers(0, 3)))
        )
        values = (np.ceil(drawn / unit) * unit).tolist()
        points.append(make_reference_point("digits", size, values, runs=runs))
    centre = draw(st.sampled_from([point.mean(dropped) for point in points]))
    share = draw(st.floats(0.5, 1.3))
    epochs = (centre * share * np.exp(0.02 * generator.standard_normal(runs))).tolist()
    failed = draw(st.integers(0, dropped + 1))
    epochs[:failed] = [math.inf] * failed
    return benchmark, points, draw(st.integers(1, 45)), epochs


@hypothesis.settings(deadline=None, derandomize=True, max_examples=150)
@given(cases(), st.booleans())
def test_generated_points_are_judged_as_the_official_checker_judges_them(case, pruned):
    benchmark, points, size, epochs = case
    runs, dropped = rules_of("training", benchmark)
    ours = judge_convergence(
        points, size, epochs, runs=runs, dropped=dropped, pruned=pruned
    ).package
    file = io.StringIO(official_json(under_official_name(points, benchmark)))
    checker = official.RCP_Checker("training", "6.1.0", benchmark, False, file)
    left = [point.global_batch_size for point in pruned_by_neighbours(points, dropped)]
    assert left == [record["BS"] for record in checker.pruned_rcp_data.values()]
    if ours.minimum is not None and ours.submission_mean is not None:
        # So close to the minimum the bisection decides by its own tolerance.
        assume(abs(ours.submission_mean - ours.minimum) > 2 * BISECTION)
    which = "pruned_rcps" if pruned else "full_rcps"
    theirs, message, factor = official_verdict(checker, size, epochs, benchmark, which)
    assert ours.passed == theirs
    assert (ours.submission_mean is None) == (message == "Insufficient convergence")
    if ours.submission_mean is not None:
        words = {
            Basis.POINT: "RCP found",
            Basis.INTERPOLATED: "RCP Interpolation",
            Basis.MISSING: "Missing RCP",
            Basis.SMALLEST: "RCP not found but slower" if theirs else "Missing RCP",
        }
        assert message.startswith(words[ours.basis])
        assert ours.scale_factor == pytest.approx(factor)


def test_the_official_checker_reads_our_file_and_logs_to_the_same_end(tmp_path):
    points = under_official_name(POINTS, "retinanet")
    path = tmp_path / "rcps.json"
    write_reference_points(path, points)
    for size, epochs in ((128, [15, 15, 15, 16, 16]), (256, [19, 19, 19, 20, 21]), (192, [18] * 5)):
        folder = tmp_path / str(size)
        folder.mkdir()
        for index, value in enumerate(epochs):
            entries = [
                ("submission_benchmark", "retinanet", {}),
                ("global_batch_size", size, {}),
                ("eval_accuracy", 0.35, {"epoch_num": value}),
                ("run_stop", None, {"status": "success"}),
            ]
            lines = [
                ":::MLLOG " + json.dumps({"key": key, "value": found, "metadata": metadata})
                for key, found, metadata in entries
            ]
            (folder / f"result_{index}.txt").write_text("\n".join(lines))
        with path.open() as file:
            theirs, _, factor = official.check_directory(
                str(folder), "training", "5.1.0", False, False, file, "pruned_rcps"
            )
        ours = judge_convergence(points, size, epochs, runs=5).package
        assert ours.passed == theirs
        assert ours.scale_factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("size", "epochs", "mean", "percent", "minimum", "passes", "basis"),
    [
        (128, [15, 15, 15, 16, 16], 15.75, 3.53, 15.21, True, Basis.POINT),
        (256, [19, 19, 19, 20, 21], 20.75, 4.12, 19.93, False, Basis.POINT),
        (192, [17, 18, 18, 18, 20], 18.25, 3.68, 17.60, True, Basis.INTERPOLATED),
        (512, [30, 30, 30, 30, 30], None, None, None, False, Basis.MISSING),
        (64, [16, 16, 15, 15, 15], 15.75, 3.53, 15.21, True, Basis.SMALLEST),
        (64, [11, 11, 11, 12, 12], 15.75, 3.53, 15.21, False, Basis.SMALLEST),
    ],
)
def test_the_written_way_gives_the_numbers_of_the_rules_examples(
    size, epochs, mean, percent, minimum, passes, basis
):
    test = judge_convergence(POINTS, size, epochs, runs=5, decides=Way.WRITTEN)
    assert test.deciding is test.written
    assert test.other is test.package
    assert (test.written.passed, test.written.basis) == (passes, basis)
    if mean is not None:
        assert test.written.mean == mean
        assert (test.written.max_speed_up - 1) * 100 == pytest.approx(percent, abs=0.006)
        assert test.written.minimum == pytest.approx(minimum, abs=0.005)


def test_the_two_ways_have_different_numbers_and_may_disagree():
    test = judge_convergence(POINTS, 128, [15, 15, 15, 15, 15], runs=5)
    assert (test.package.passed, test.written.passed) == (True, False)
    assert test.package.deviation == pytest.approx(0.781, abs=5e-4)
    assert test.written.deviation == pytest.approx(0.433, abs=5e-4)
    assert test.package.minimum == pytest.approx(14.78, abs=0.005)
    assert test.package.max_speed_up == pytest.approx(1.0656, abs=5e-5)
    for result in (test.package, test.written):
        assert (result.reference_count, result.submission_count) == (8, 3)
        assert result.t == pytest.approx(1.8331, abs=5e-5)
        assert result.scale_factor == pytest.approx(1.05)


def test_the_ways_count_other_runs_where_more_than_one_is_dropped():
    point = make_reference_point("unet3d", 32, np.linspace(40, 60, 80).tolist(), runs=40)
    test = judge_convergence([point], 32, [45.0] * 40, runs=40, dropped=4)
    assert test.package.reference_count == test.written.reference_count == 72
    assert (test.package.submission_count, test.written.submission_count) == (38, 32)


def test_a_reference_without_spread_is_said_to_be_degenerate_and_lets_only_equals_pass():
    point = ReferencePoint("a_ref_8", "a", 8, (0.7,) * 10)
    same = judge_convergence([point], 8, [0.7] * 5, runs=5)
    assert same.package.degenerate
    assert same.written.degenerate
    assert same.package.passed
    assert same.package.minimum == pytest.approx(0.7)
    assert not judge_convergence([point], 8, [0.699] * 5, runs=5).package.passed
    varied = ReferencePoint("a_ref_8", "a", 8, (*[0.7] * 9, 0.8))
    mixed = judge_convergence([varied], 8, [0.7] * 5, runs=5)
    assert (mixed.package.degenerate, mixed.written.degenerate) == (False, True)


def test_a_spread_as_wide_as_the_mean_lets_any_speed_up_pass():
    wild = ReferencePoint("a_ref_8", "a", 8, (1.0, 1.0, 1.0, 1.0, 100.0, 1000.0))
    result = judge_convergence([wild], 8, [0.1] * 3, runs=3).package
    assert (result.minimum, result.max_speed_up, result.passed) == (0.0, math.inf, True)


def test_an_allowance_lowers_the_minimum():
    tight = judge_convergence(POINTS, 128, [14, 14, 14, 14, 14], runs=5)
    wide = judge_convergence(POINTS, 128, [14, 14, 14, 14, 14], runs=5, allowance=1.0)
    assert wide.package.minimum == pytest.approx(tight.package.minimum - 1)
    assert (tight.package.passed, wide.package.passed) == (False, True)


def test_a_pruned_point_of_the_runs_own_batch_size_is_said():
    points = [*POINTS, make_reference_point("a", 192, [30.0, 31.0] * 5, runs=5)]
    result = judge_convergence(points, 192, [18] * 5, runs=5).package
    assert (result.basis, result.own_point_pruned) == (Basis.INTERPOLATED, True)
    whole = judge_convergence(points, 192, [18] * 5, runs=5, pruned=False).package
    assert (whole.basis, whole.own_point_pruned, whole.passed) == (Basis.POINT, False, False)


def test_no_point_and_too_many_failures_do_not_pass():
    none = judge_convergence([], 128, [15] * 5, runs=5)
    assert (none.package.basis, none.package.passed) == (Basis.NO_POINTS, False)
    failed = judge_convergence(POINTS, 128, [15, 15, 15, math.inf, math.inf], runs=5)
    assert failed.package.submission_mean is None
    assert not failed.package.passed


def test_so_few_runs_that_none_is_left_are_refused():
    with pytest.raises(UsageError, match="2 runs leave none to test"):
        judge_convergence(POINTS, 128, [15, 15], runs=2)
