"""Runs that are killed or interrupted from outside: what was measured stays, and says so."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gnomon
from gnomon.core.run import Run, find_runs
from gnomon.loadgen.journal import JOURNAL_FOLDER, read_journal
from gnomon.loadgen.samples import SAMPLES_FILE
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import Settings
from gnomon.results.check import check

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")
ENOUGH = 200
COMMAND_LINE = "from gnomon.cli.main import main; main()"
PROGRAM = """
import sys
import gnomon

options = {"target_qps": 500} if sys.argv[2] == "server" else {}
gnomon.run("digits", system=sys.argv[3], scenario=sys.argv[2], duration_s=600, out=sys.argv[1], **options)
"""


def start(out, scenario="single-stream", system="onnx", program=PROGRAM):
    """A run in a process of its own that would go on for ten minutes."""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(out), scenario, system],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_samples(process, out, scenario, count=ENOUGH):
    """Until so many samples are in the journal: the test is in full swing."""
    while True:
        if process.poll() is not None:
            pytest.fail(f"the run ended by itself: {process.communicate()[1]}")
        for path in find_runs(out):
            folder = path / scenario
            left = read_journal(folder) if folder.is_dir() else None
            if left is not None and (left[1] > 0).sum() >= count:
                return path
        time.sleep(0.02)


def end(process, how):
    process.send_signal(how)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def require_samples_as_scheduled(run, scenario):
    samples = run.samples[scenario]
    settings = Settings.model_validate(run.measurements[scenario]["settings"])
    (order,) = plan(settings)
    queries = -(-len(samples) // order.samples_per_query)
    expected = order.samples(0, queries).reshape(-1)[: len(samples)]
    np.testing.assert_array_equal(samples.sample_index, expected)
    if scenario == "server":
        np.testing.assert_array_equal(samples.scheduled_ns, order.arrivals_ns(0, len(samples)))
    answered = samples.answered
    assert answered.sum() >= ENOUGH
    assert (samples.completed_ns >= samples.issued_ns)[answered].all()
    assert (samples.issued_ns > 0).all()
    return samples


def require_not_fine(path, words):
    report = check(path)
    assert not report.fine
    assert not report.verdict.valid
    assert any(failed.name == "completed" for failed in report.verdict.failures)
    assert words in str([failed.why for failed in report.verdict.failures])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_killed_run_reads_as_aborted_with_the_samples_so_far(tmp_path, scenario):
    process = start(tmp_path, scenario)
    path = wait_for_samples(process, tmp_path, scenario)
    assert Run.open(path).status == "running"
    code, _, _ = end(process, signal.SIGKILL)
    assert code == -signal.SIGKILL

    run = Run.open(path)
    assert run.status == "aborted"
    assert run.record["status"] == "running"  # nobody was left to write otherwise
    assert not run.verdict.valid
    assert "the process was killed" in run.verdict.failures[0].why
    assert (path / scenario / JOURNAL_FOLDER).is_dir()
    assert not (path / scenario / SAMPLES_FILE).exists()
    require_samples_as_scheduled(run, scenario)
    require_not_fine(path, "killed")


def test_a_run_killed_in_its_accuracy_test_keeps_the_performance_test_and_the_answers(tmp_path):
    program = """
import sys, time
import numpy as np
import gnomon

def classify(images):
    if classify.slow:
        time.sleep(0.05)
    return np.zeros((len(images), 10), dtype=np.float32)

classify.slow = False

def observe(progress):
    classify.slow = True

gnomon.run("digits", system=gnomon.CallableSystem(classify, max_batch_size=4), scenario="offline",
           quick=True, out=sys.argv[1], observer=observe)
"""
    process = start(tmp_path, program=program)
    path = wait_for_samples(process, tmp_path, "accuracy", count=20)
    end(process, signal.SIGKILL)
    run = Run.open(path)
    assert run.status == "aborted"
    assert run.result["offline"]["sample_count"] == len(run.samples["offline"])
    assert 20 <= run.samples["accuracy"].answered.sum() < 797
    report = check(path)
    assert not report.fine
    assert report.results["offline"] == run.result["offline"]
    assert 20 <= report.results["accuracy"]["sample_count"] < 797


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_interrupted_run_is_aborted_with_its_samples_kept(tmp_path, scenario):
    process = start(tmp_path, scenario)
    path = wait_for_samples(process, tmp_path, scenario)
    code, _, errors = end(process, signal.SIGINT)
    assert code != 0
    assert errors.strip().endswith("KeyboardInterrupt")

    run = Run.open(path)
    assert run.record["status"] == run.status == "aborted"
    assert run.record["aborted_because"] == "interrupted"
    assert (path / scenario / SAMPLES_FILE).exists()
    assert not (path / scenario / JOURNAL_FOLDER).exists()
    samples = require_samples_as_scheduled(run, scenario)
    assert run.result[scenario]["sample_count"] == samples.answered.sum()
    require_not_fine(path, "interrupted")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line_ends_politely_on_either_signal(tmp_path, how):
    options = ["--scenario", "single-stream", "--duration", "600", "--no-report"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, "run", *options, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = wait_for_samples(process, tmp_path, "single-stream")
    code, output, errors = end(process, how)
    assert code == 130
    assert errors.strip() == (
        f"gnomon: interrupted: the run is aborted, what it measured is kept in {path}; "
        f"gnomon resume {path} goes on with it"
    )
    assert output == ""
    run = Run.open(path)
    assert run.status == "aborted"
    require_samples_as_scheduled(run, "single-stream")
    require_not_fine(path, "interrupted")


def test_an_interrupted_hanging_system_gives_up_its_samples_too(tmp_path):
    program = """
import sys, threading
import numpy as np
import gnomon

calls = []

def hangs(images):
    calls.append(1)
    if len(calls) > 300:
        print("hangs", flush=True)
        threading.Event().wait()
    return np.zeros((len(images), 10), dtype=np.float32)

gnomon.run("digits", system=hangs, scenario="single-stream", duration_s=600, out=sys.argv[1])
"""
    process = start(tmp_path, program=program)
    assert process.stdout.readline() == "hangs\n"
    code, _, _ = end(process, signal.SIGINT)
    assert code != 0
    (path,) = find_runs(tmp_path)
    samples = Run.open(path).samples["single-stream"]
    assert samples.answered.sum() == 300
    assert len(samples) == 301
    require_not_fine(path, "interrupted")


def test_a_run_in_progress_is_not_fine_either(tmp_path):
    process = start(tmp_path)
    try:
        path = wait_for_samples(process, tmp_path, "single-stream")
        assert gnomon.load(path).status == "running"
        assert not check(path).fine
        assert json.loads((path / "run.json").read_text())["status"] == "running"
    finally:
        end(process, signal.SIGKILL)
