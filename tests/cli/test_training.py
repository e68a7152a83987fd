"""`gnomon training` on real campaigns: logs judged by the official checkers and by ours, points, pictures."""

import json
import shutil
import subprocess
import sys

import pytest

import gnomon
from gnomon.cli.main import main
from gnomon.core.registry import BENCHMARKS
from gnomon.results.report import render
from gnomon.systems.pytorch import PyTorchTrainer

pytest.importorskip("torch")
MEASUREMENT = "time-to-train"
ALIAS = "retinanet"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two campaigns of `train-digits`, ten and five runs, of the same declaration."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        gnomon.run(
            "train-digits", system=PyTorchTrainer(threads=1), runs=count, seed=seed, out=folder
        )
        for count, seed in ((10, 1), (5, 2))
    ]


@pytest.fixture
def say(capsys):
    """Run the command line here; returns exit code, output and errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


@pytest.mark.slow
def test_ten_seeds_reach_the_target_and_hold_to_the_rules(runs):
    for run in runs:
        assert run.verdict.valid, run.verdict.failures
        assert run.result[MEASUREMENT]["converged"] == run.result[MEASUREMENT]["runs"]


def test_a_result_says_interval_and_runs_needed_and_both_ways_of_the_reference_test(runs):
    result = runs[0].result[MEASUREMENT]
    assert result["interval"]["low"] < result["metric"]["value"] < result["interval"]["high"]
    assert result["runs_needed"]["10"] <= result["runs_needed"]["5"]
    assert {result["reference"][way]["passed"] for way in ("package", "written")} <= {True, False}
    assert result["score_min"] == pytest.approx(
        result["metric"]["value"] * result["scale_factor"] / 60
    )


def test_our_checker_accepts_the_logs_and_scores_what_the_run_says(runs, say):
    folder = runs[1].path / MEASUREMENT
    code, out, _ = say("training", "check", folder)
    assert code == 0, out
    assert out.count("VALID under gnomon rules") == 5
    code, out, _ = say("training", "score", folder, "--json")
    assert code == 0, out
    scored = json.loads(out)
    assert scored["minutes"] * 60 == pytest.approx(
        runs[1].result[MEASUREMENT]["metric"]["value"], abs=2e-3
    )
    code, out, _ = say("training", "convergence", folder, "--json")
    assert json.loads(out)["package"]["submission_mean"] == pytest.approx(
        runs[1].result[MEASUREMENT]["epochs_to_target"]["olympic_mean"], abs=1e-3
    )


def test_a_log_that_is_cut_short_is_told_with_file_and_mend(runs, say, tmp_path):
    log = tmp_path / "result_0.txt"
    lines = (runs[1].path / MEASUREMENT / "result_0.txt").read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]) + ':::MLLOG {"key": "run_st')
    code, out, _ = say("training", "check", log)
    assert code == 1
    assert "run_stop" in out
    assert "result_0.txt" in out


@pytest.fixture(scope="module")
def submission(runs, tmp_path_factory):
    """The five runs as a submission under an official name."""
    folder = tmp_path_factory.mktemp("submission")
    with pytest.raises(SystemExit) as ended:
        main(["training", "export", str(runs[1].path), "--output", str(folder), "--as", ALIAS])
    assert not ended.value.code
    return folder


def test_an_export_does_not_mix_with_results_that_are_there(runs, submission, say):
    where = ("--output", submission, "--as", ALIAS)
    code, _, err = say("training", "export", runs[0].path, *where)
    assert code == 2
    assert "has results already: choose another --output or --platform" in err


def official(module, *arguments, cwd):
    """A module of the field's own package as a process."""
    return subprocess.run(
        [sys.executable, "-m", f"mlperf_logging.{module}", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_official_compliance_checker_accepts_our_logs(submission, tmp_path):
    pytest.importorskip("mlperf_logging")
    logs = sorted(submission.glob(f"results/*/{ALIAS}/result_*.txt"))
    assert len(logs) == 5
    done = official(
        "compliance_checker", "--usage", "training", "--ruleset", "5.1.0", logs[0], cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_the_official_convergence_checker_agrees_with_ours(submission, runs, tmp_path):
    pytest.importorskip("mlperf_logging")
    folder = shutil.copytree(submission, tmp_path / "copy")
    (benchmark,) = folder.glob(f"results/*/{ALIAS}")
    done = official(
        "rcp_checker", "--rcp_usage", "training", "--rcp_version", "5.1.0",
        "--custom_rcps", folder / f"rcps_{ALIAS}.json", benchmark, cwd=tmp_path,
    )  # fmt: skip
    said = done.stdout + done.stderr
    result = runs[1].result[MEASUREMENT]["reference"]["package"]
    assert ("PASSED" in said or "SUCCESS" in said) == result["passed"], said


def test_the_official_summariser_scores_what_we_score(submission, runs, tmp_path):
    pytest.importorskip("mlperf_logging")
    folder = shutil.copytree(submission, tmp_path / "gnomon")
    done = official(
        "result_summarizer",
        folder,
        "training",
        "5.1.0",
        "--csv",
        tmp_path / "out.csv",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "out.csv").read_text()
    ours = runs[1].result[MEASUREMENT]["metric"]["value"] / 60
    numbers = [float(cell) for cell in table.replace("\n", ",").split(",") if _is_number(cell)]
    assert any(abs(number - ours) < 1e-4 for number in numbers), table


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_runs_make_a_reference_point(runs, say, tmp_path):
    points = tmp_path / "points.json"
    code, out, err = say("training", "reference", runs[0].path, "--points", points)
    assert code == 0, err
    assert "10 runs, olympic mean" in out
    (point,) = json.loads(points.read_text()).values()
    assert (
        point["BS"]
        == BENCHMARKS.load("train-digits").settings["hyperparameters"]["global_batch_size"]
    )
    code, _, err = say("training", "reference", runs[0].path, "--points", points)
    assert code == 2
    assert "has a point for batch size" in err
    code, _, err = say("training", "reference", runs[1].path, "--points", tmp_path / "few.json")
    assert code == 2
    folder = runs[1].path / MEASUREMENT
    code, out, _ = say("training", "convergence", folder, "--points", points)
    assert "reference convergence: olympic mean" in out


def test_two_campaigns_are_compared_by_their_runs(runs):
    comparison = gnomon.compare([run.path for run in runs])
    assert [row.metric for row in comparison.rows] == [
        "time to train",
        "throughput",
        "samples to target",
    ]
    assert all(row.conclusion for row in comparison.rows)
    assert any("in throughput times" in note for note in comparison.notes)


def test_hyperparameters_of_two_runs_are_held_against_each_other(runs, say):
    code, out, _ = say("training", "hyperparameters", runs[0].path, runs[1].path, "--json")
    assert code == 0
    assert all(check["passed"] for check in json.loads(out))


def test_the_report_shows_every_seed_and_the_distribution(runs):
    page = render(runs[:1])
    for words in ("Quality over time", "Time to target", "Epochs to target", "olympic mean"):
        assert words in page
    assert "run 10" in page


def test_scaling_needs_runs_that_have_a_score(runs, say):
    code, out, _ = say("training", "scaling", *(run.path for run in runs), "--json")
    assert code == 0
    (point,) = json.loads(out)
    assert point["efficiency"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("training", "check", "nothing.txt"), "nothing.txt"),
        (("training", "score", "."), "result"),
        (("run", "train-digits", "--set", "opt_base_learning_rate"), "--set takes KEY=VALUE"),
        (("run", "train-digits", "--set", "opt_base_rate=1"), "did you mean"),
        (("run", "train-digits", "--nodes", "2"), "--rendezvous HOST:PORT"),
        (("run", "train-digits", "--gamma", "1"), "means nothing"),
        (("run", "digits", "--runs", "3"), "--runs means nothing"),
    ],
)
def test_a_mistake_is_one_line(say, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = say(*arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
