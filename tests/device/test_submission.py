from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.device.submission import SystemDescription, write_submission
from gnomon.device.submission_rules import LARGEST_FILE_BYTES, verify_submission
from tests.device.sessions import (
    SYSTEM,
    accuracy_test,
    energy_test,
    performance_test,
    wake_word_test,
)


def whole_submission(folder, runner="mlcommons"):
    """A submission of two benchmarks, one with energy, and of the wake word where the runner knows it."""
    tests = [performance_test(), accuracy_test(), energy_test()]
    tests += [performance_test("ad"), accuracy_test("ad", auc=0.87)]
    if runner == "mlcommons":
        tests.append(wake_word_test("energy"))
    code = folder.parent / "sources"
    code.mkdir(exist_ok=True)
    (code / "README.md").write_text("How it is built.\n")
    write_submission(folder, SYSTEM, "test-board", tests, runner=runner, code=code)
    return folder


@pytest.fixture(params=["mlcommons", "eembc"])
def submission(request, tmp_path):
    return whole_submission(tmp_path / "submission", request.param)


KWS = "closed/Gnomon/results/test-board/kws"


def test_a_whole_submission_has_no_problem_with_either_runners_files(submission):
    assert verify_submission(submission) == []
    for mode in ("performance", "accuracy", "energy"):
        there = {file.name for file in (submission / KWS / mode).iterdir()}
        eembc = (submission / KWS / "EEMBC_RUNNER").exists()
        assert there == {"log.txt", "results.txt", "script.async" if eembc else "results.json"}
    described = json.loads((submission / "closed/Gnomon/systems/test-board.json").read_text())
    assert described["Board Name"] == "Test board"
    assert described["Processor(s) Name"] == "Arm Cortex-M4"
    assert "SoC Memory capacity (not including processor or accelerator)" in described


def replaced(file, old, new, count=1):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, count))


def rewrite(test, **submission):
    def change(folder):
        write_submission(folder, SYSTEM, "test-board", [test], **submission)

    return change


def described(**changes):
    def change(folder):
        file = folder / "closed/Gnomon/systems/test-board.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes, indent=1))

    return change


def link(folder):
    (folder / KWS / "performance" / "link.txt").symlink_to("log.txt")


def large_file(folder):
    with (folder / "closed/Gnomon/code/weights.bin").open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)


BREAKS = {
    "low accuracy": (rewrite(accuracy_test(top_1_percent=89.9)), "quality", True),
    "low AUC": (rewrite(accuracy_test("ad", auc=0.849)), "quality", True),
    "many false alarms": (rewrite(wake_word_test("energy", false_alarms=9)), "quality", True),
    "49 wake words": (rewrite(wake_word_test("energy", found=45)), "wake words", True),
    "no accuracy": (
        lambda folder: (folder / KWS / "accuracy" / "results.txt").write_text(""),
        "quality",
        True,
    ),
    "no median": (
        lambda folder: replaced(
            folder / KWS / "performance/results.txt", "Median throughput", "Median"
        ),
        "results",
        True,
    ),
    "no energy": (
        lambda folder: replaced(folder / KWS / "energy/results.txt", "Median energy", "Median"),
        "results",
        True,
    ),
    "no performance test": (
        lambda folder: remove_folder(folder / KWS / "performance"),
        "tests",
        True,
    ),
    "four windows": (rewrite(performance_test(windows=4)), "windows", True),
    "short windows": (rewrite(performance_test(window_us=9_999_000)), "window length", False),
    "nine inferences": (rewrite(performance_test(iterations=9)), "window length", False),
    "short windows of energy": (rewrite(energy_test(window_s=9.5)), "window length", False),
    "four windows of energy": (rewrite(energy_test(windows=4)), "windows", False),
    "a median of another's": (
        lambda folder: replaced(
            folder / KWS / "performance/results.txt", "90.909 inf", "99.909 inf"
        ),
        "median",
        False,
    ),
    "a log of another's": (
        lambda folder: (
            replaced(folder / KWS / "performance/log.txt", "us-11000000", "us-10900000")
            or replaced(folder / KWS / "performance/log.txt", "us-21000000", "us-20900000")
            or replaced(folder / KWS / "performance/log.txt", "us-31000000", "us-30900000")
        ),
        "log",
        False,
    ),
    "no description": (
        lambda folder: (folder / "closed/Gnomon/systems/test-board.json").unlink(),
        "system",
        True,
    ),
    "a status of its own": (described(Status="soon"), "system", True),
    "no board": (described(**{"Board Name": ""}), "system", False),
    "a benchmark of its own": (
        lambda folder: (folder / KWS).rename(folder / KWS.replace("kws", "mnist")),
        "benchmarks",
        True,
    ),
    "ic2 alone": (
        lambda folder: (folder / KWS).rename(folder / KWS.replace("kws", "ic2")),
        "benchmarks",
        True,
    ),
    "a missing log": (
        lambda folder: (folder / KWS / "accuracy" / "log.txt").unlink(),
        "files",
        True,
    ),
    "a stray file": (
        lambda folder: (folder / KWS / "performance" / "notes.txt").write_text("-"),
        "files",
        True,
    ),
    "a link": (link, "links", True),
    "an empty folder": (lambda folder: (folder / KWS / "nothing").mkdir(), "empty folder", True),
    "a cache": (
        lambda folder: write_into(folder / "closed/Gnomon/code/__pycache__"),
        "left-overs",
        True,
    ),
    "a hidden file": (
        lambda folder: write_into(folder / "closed/Gnomon/code/.idea"),
        "names",
        True,
    ),
    "a large file": (large_file, "file size", True),
    "another division": (lambda folder: write_into(folder / "network"), "division", True),
    "no code": (lambda folder: remove_folder(folder / "closed/Gnomon/code"), "code", False),
}
"""What can be wrong: how it is brought about, the rule that names it, whether the field's checker sees it."""

ALSO = {"a median of another's": {"log"}, "no description": {"empty folder"}}
"""Other rules that the same thing breaks."""

WARNINGS = {"a log of another's", "a stray file", "a hidden file", "no code"}


def write_into(folder):
    folder.mkdir()
    (folder / "file").write_text("-")


def remove_folder(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_wrong_is_named_with_its_rule_and_nothing_else_is(tmp_path, broken):
    change, rule, _ = BREAKS[broken]
    submission = whole_submission(tmp_path / "submission")
    change(submission)
    problems = verify_submission(submission)
    assert {problem.rule for problem in problems} == {rule} | ALSO.get(broken, set())
    for problem in problems:
        assert problem.blocking == (broken not in WARNINGS and problem.rule != "log")
        assert not problem.path.is_absolute()
        assert problem.what
        assert problem.mend
        assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (
            "low accuracy",
            f"{KWS}/accuracy/results.txt, line 1: top-1 in percent is 89.9, and 90 is required in the "
            "closed division (quality); submit it to the open division, or mend the model",
        ),
        (
            "short windows",
            f"{KWS}/performance/results.txt, line 3: window 1 has 1000 inferences in 9.999 s "
            "(window length); at least 10 inferences and 10 s are required: raise the iterations",
        ),
        (
            "49 wake words",
            "closed/Gnomon/results/test-board/sww/energy/results.txt, line 11: 45 found and 4 missed are "
            "not 50 (wake words); use the long test (sww_long_test.json)",
        ),
        (
            "a status of its own",
            "closed/Gnomon/systems/test-board.json: Status: Value error, must be available, preview, rdi, "
            "got 'soon' (system); follow the round's template",
        ),
    ],
)
def test_a_problem_reads_as_file_line_rule_and_mend(tmp_path, broken, text):
    submission = whole_submission(tmp_path / "submission")
    BREAKS[broken][0](submission)
    assert str(verify_submission(submission)[0]) == text


def test_the_open_division_asks_for_the_same_tests_but_for_no_quality(tmp_path):
    system = SYSTEM.model_copy(update={"division": "open"})
    tests = [performance_test(), accuracy_test(top_1_percent=12.0), wake_word_test(false_alarms=30)]
    write_submission(tmp_path, system, "test-board", tests)
    assert [problem.rule for problem in verify_submission(tmp_path)] == ["code"]
    write_submission(tmp_path, system, "test-board", [performance_test("vww")])
    assert "there is no accuracy test" in " ".join(map(str, verify_submission(tmp_path)))


def test_files_of_another_runner_are_refused_with_a_hint_at_the_mark(tmp_path):
    submission = whole_submission(tmp_path / "submission", "eembc")
    (submission / KWS / "EEMBC_RUNNER").unlink()
    problems = verify_submission(submission)
    assert any("EEMBC_RUNNER" in problem.mend and problem.line == 1 for problem in problems)


def test_nothing_to_verify_is_said(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        verify_submission(tmp_path / "none")
    (problem,) = verify_submission(tmp_path)
    assert problem.rule == "division"


def test_tests_that_contradict_each_other_are_not_written(tmp_path):
    mixed = replace(performance_test(), results=accuracy_test().results)
    with pytest.raises(
        SettingsError, match="the log is of performance, the results are of accuracy"
    ):
        write_submission(tmp_path, SYSTEM, "board", [mixed])
    with pytest.raises(SettingsError, match="kws has two tests of performance"):
        write_submission(tmp_path, SYSTEM, "board", [performance_test(), performance_test()])
    with pytest.raises(SettingsError, match=r"the system's name '../board' becomes a folder"):
        write_submission(tmp_path, SYSTEM, "../board", [])
    assert not list(tmp_path.iterdir())


def test_a_description_keeps_keys_that_it_does_not_know():
    published = {
        "Submitter": "STMicroelectronics",
        "Division": "Closed",
        "Status": "Available",
        "Board Name": "NUCLEO-H7A3ZI-Q",
        "Processor(s) Name": "32-Bit ARM Cortex-M7",
        "Operating System ": "bare metal",
        "Software Notes": None,
    }
    read = SystemDescription.model_validate(published).model_dump(by_alias=True)
    assert read["Operating System "] == "bare metal"
    assert read["Software Notes"] == ""
    assert {key: read[key] for key in list(published)[:6]} == dict(list(published.items())[:6])


CHECKER = os.environ.get("MLPERF_TINY_CHECKER", "")


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(CHECKER).is_file(),
    reason="MLPERF_TINY_CHECKER does not name submission_checker.py of github.com/mlcommons/tiny",
)
def test_the_fields_checker_agrees(tmp_path):
    pytest.importorskip("pandas", reason="the field's checker needs pandas")

    def complaints(folder):
        done = subprocess.run(
            [
                sys.executable,
                CHECKER,
                "--input",
                str(folder),
                "--csv",
                str(tmp_path / "summary.csv"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = (done.stdout + done.stderr).splitlines()
        return [line for line in lines if line.startswith(("ERROR", "WARNING", "Traceback"))]

    for runner in ("mlcommons", "eembc"):
        assert complaints(whole_submission(tmp_path / runner, runner)) == []
    differing = []
    for number, (name, (change, _, seen)) in enumerate(BREAKS.items()):
        folder = whole_submission(tmp_path / str(number))
        change(folder)
        if bool(complaints(folder)) != seen:
            differing.append((name, complaints(folder)))
    assert differing == []
