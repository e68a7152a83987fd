"""Ctrl-C, as a real signal to a real process: what is told by how far the command had come."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from gnomon.core.run import Run, find_runs

COMMAND_LINE = "from gnomon.cli.main import main; main()"
# The command stands still where it looks at what was asked for, until it is interrupted.
STANDS_STILL = """
import sys, time
import gnomon.cli.asked
def stand_still(*_):
    print("here", file=sys.stderr, flush=True)
    time.sleep(60)
gnomon.cli.asked.those_with_models = stand_still
"""
SEVERAL = (
    *("mobile-classification", "--system", "onnx,litert", "--precision", "fp32,int8"),
    *("--scenario", "single-stream", "--duration", "600", "--max-query-count", "20000"),
    *("--no-accuracy", "--no-report", "-s", "threads=1"),
)
"""Each run is over after some seconds, and INVALID: it was to last ten minutes."""


def start(folder, *arguments, program=COMMAND_LINE):
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def measured_until(process, folder, count):
    """Wait until so many run folders are there and the last is being measured."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        runs = sorted(find_runs(folder / "runs"))
        if len(runs) >= count and any(path.is_dir() for path in runs[count - 1].iterdir()):
            time.sleep(0.1)
            return
        time.sleep(0.02)
    pytest.fail(f"the command ended by itself: {process.communicate()}")


def interrupted(process):
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_before_a_run_had_begun_there_is_nothing_to_go_on_with(tmp_path):
    process = start(tmp_path, "run", "digits", program=STANDS_STILL + COMMAND_LINE)
    assert process.stderr.readline() == "here\n"
    code, output, errors = interrupted(process)
    assert (code, output) == (130, "")
    assert errors == "gnomon: interrupted before a run had begun: nothing was measured\n"
    assert not (tmp_path / "runs").exists()


def test_a_run_that_had_begun_is_named_and_can_be_gone_on_with_and_interrupted_again(tmp_path):
    asked = ("digits", "--scenario", "single-stream", "--duration", "600", "--no-report")
    process = start(tmp_path, "run", *asked)
    measured_until(process, tmp_path, 1)
    code, output, errors = interrupted(process)
    (path,) = find_runs(tmp_path / "runs")
    place = f"runs/{path.name}"
    line = (
        f"gnomon: interrupted: the run is aborted, what it measured is kept in {place}; "
        f"gnomon resume {place} goes on with it\n"
    )
    assert (code, output, errors) == (130, "", line)
    again = start(tmp_path, "resume", place)
    deadline = time.monotonic() + 60
    while not (path / "unfinished").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    measured_until(again, tmp_path, 1)
    assert interrupted(again) == (130, "", line)


@pytest.mark.slow
def test_of_several_runs_the_complete_ones_stand_in_a_table_with_how_to_go_on(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs gnomon[mobile]")
    process = start(tmp_path, "run", *SEVERAL)
    measured_until(process, tmp_path, 2)
    code, output, errors = interrupted(process)
    first, second = sorted(path.name for path in find_runs(tmp_path / "runs"))
    assert code == 130
    assert errors.splitlines() == [
        "1 of 4: ONNX Runtime fp32",
        "2 of 4: ONNX Runtime int8",
        "gnomon: interrupted: 1 of 4 runs is complete",
    ]
    lines = output.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("ONNX")] == ["INVALID"]
    assert f"run folder  runs/{first}" in lines
    assert lines[-5:-1] == [
        f"interrupted ONNX Runtime int8, in runs/{second}",
        "not begun   LiteRT fp32",
        "not begun   LiteRT int8",
        f"go on with  gnomon resume runs/{second}",
    ]
    command = shlex.split(lines[-1])
    assert command[:7] == [
        *("gnomon", "run", "mobile-classification"),
        *("--system", "litert", "--precision", "fp32,int8"),
    ]
    assert sorted(command[7:]) == sorted(
        [
            *("--scenario", "single-stream", "--duration", "600", "--max-query-count", "20000"),
            *("--no-accuracy", "--no-report", "--system-option", "threads=1"),
        ]
    )


@pytest.mark.slow
def test_json_of_several_interrupted_runs_says_the_same_and_its_commands_make_the_rest(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs gnomon[mobile]")
    process = start(tmp_path, "run", *SEVERAL, "--json")
    measured_until(process, tmp_path, 3)
    code, output, _ = interrupted(process)
    told = json.loads(output)
    first, second, third = (f"runs/{path.name}" for path in sorted(find_runs(tmp_path / "runs")))
    assert code == 130
    assert [run["path"] for run in told["runs"]] == [first, second]
    assert [row["precision"] for row in told["frameworks"]] == ["fp32", "int8"]
    assert told["left_out"] == []
    options = {"system": "litert", "threads": 1}
    assert told["interrupted"] == [
        {"run": "LiteRT fp32", **options, "precision": "fp32", "path": third}
    ]
    assert told["not_begun"] == [{"run": "LiteRT int8", **options, "precision": "int8"}]
    resume, run = told["go_on"]
    assert resume == f"gnomon resume {third}"
    rest = start(tmp_path, *shlex.split(run)[1:])
    output, errors = rest.communicate(timeout=120)
    assert rest.returncode == 1, errors  # for less than ten minutes: INVALID
    (made,) = [Run.open(path) for path in find_runs(tmp_path / "runs") if path.name in output][-1:]
    assert made.record["asked_system"] == {
        "name": "litert",
        "options": {"threads": 1, "precision": "int8"},
    }
