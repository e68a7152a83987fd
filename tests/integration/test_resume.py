"""Runs that are resumed: finished tests are kept, the others measured anew, and nothing is mixed."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import UsageError
from gnomon.core.run import RUN_FILE, Run, find_runs
from gnomon.results.check import check

COMMAND_LINE = "from gnomon.cli.main import main; main()"


def constant(images):
    return np.tile(np.arange(10, dtype=np.float32), (len(images), 1))


def stopped_in(measurement, out, how, *options):
    """A run of the command line that a signal ended while it measured this."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, "run", *options, "--quick", "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while True:
        assert process.poll() is None, process.stderr.read()
        for path in find_runs(out):
            record = json.loads((path / RUN_FILE).read_text())
            if measurement in record["measurements"] and (path / measurement / "journal").exists():
                time.sleep(0.3)
                process.send_signal(how)
                process.communicate(timeout=60)
                return path
        time.sleep(0.02)


def interrupted_run(out, system=constant, **options):
    """A run of a callable that was interrupted in its second test."""

    def interrupt(progress):
        if progress.measurement == "offline" and progress.elapsed_s > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gnomon.run(
            "digits",
            system=system,
            scenario=("single-stream", "offline"),
            quick=True,
            out=out,
            observer=interrupt,
            **options,
        )
    (path,) = find_runs(out)
    return path


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_in_its_second_test_keeps_the_first_and_comes_to_its_end(
    tmp_path, command, how
):
    path = stopped_in("offline", tmp_path / "runs", how)
    before = Run.open(path)
    assert before.status == "aborted"
    first = before.samples["single-stream"].completed_ns

    done = command("resume", "--no-report", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == f"runs/{path.name}"
    run = Run.open(path)
    assert run.status == "complete"
    assert list(run.measurements) == ["single-stream", "offline", "accuracy"]
    assert run.verdict.valid
    np.testing.assert_array_equal(run.samples["single-stream"].completed_ns, first)
    assert run.result["single-stream"] == before.result["single-stream"]
    (stop,) = run.record["resumed"]
    assert stop["aborted_because"] in ("the process was killed", "interrupted")
    assert [left.name for left in (path / "unfinished").iterdir()] == ["offline-1"]
    assert check(path).fine
    page = command("report", "latest", "-o", "page.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert "resumed" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_search_for_the_peak_that_was_stopped_begins_anew(tmp_path):
    system = gnomon.CallableSystem(constant)

    def until(probe):
        def interrupt(progress):
            if progress.measurement.startswith(probe):
                raise KeyboardInterrupt

        return interrupt

    asked = {"scenario": "server", "target_qps": 300, "find_peak": True, "target_latency_ms": 5000}
    with pytest.raises(KeyboardInterrupt):
        gnomon.run(
            "digits",
            system=system,
            quick=True,
            out=tmp_path,
            observer=until("server-probe-02"),
            **asked,
        )
    (path,) = find_runs(tmp_path)
    assert set(Run.open(path).measurements) == {"server-probe-01", "server-probe-02"}
    with pytest.raises(KeyboardInterrupt):
        gnomon.resume(path, system=system, observer=until("server-probe-03"))
    rates = [stored["settings"]["target_qps"] for stored in Run.open(path).measurements.values()]
    assert rates == [300, 600, 1200]
    assert len(list((path / "unfinished").iterdir())) == 2
    assert len(Run.open(path).record["resumed"]) == 1


def test_a_test_that_a_fault_ended_is_measured_anew(tmp_path):
    trouble = [RuntimeError("boom")]

    def mended_later(images):
        if trouble:
            raise trouble[0]
        return constant(images)

    run = gnomon.run("digits", system=mended_later, scenario="offline", quick=True, out=tmp_path)
    assert run.status == "aborted"
    trouble.clear()
    again = gnomon.resume(run, system=mended_later)
    assert again.status == "complete"
    assert again.verdict.of("offline").valid
    assert again.measurements["offline"]["faults"] == []


def test_another_system_is_not_let_into_the_run(tmp_path):
    path = interrupted_run(tmp_path)
    with pytest.raises(UsageError, match="measured the system 'constant', and this is 'onnx'"):
        gnomon.resume(path, system="onnx")
    other = gnomon.CallableSystem(lambda images: constant(images), name="constant")
    with pytest.raises(UsageError, match="this is 'constant' with another callable"):
        gnomon.resume(path, system=other)
    assert Run.open(path).status == "aborted"


def test_a_system_of_ones_own_has_to_be_given_again(tmp_path):
    path = interrupted_run(tmp_path)
    with pytest.raises(UsageError, match=r"gnomon\.resume\(run, system=\.\.\.\)"):
        gnomon.resume(path)
    assert Run.open(path).status == "aborted"
    assert gnomon.resume(path, system=constant).status == "complete"


def test_a_run_that_is_complete_or_still_going_on_is_refused_in_one_line(tmp_path, command):
    run = gnomon.run("digits", performance=False, out=tmp_path / "runs")
    done = command("resume", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == f"gnomon: run {run.id} is complete: there is nothing to resume"

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, "run", "--duration", "600", "--out", "runs"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while len(find_runs(tmp_path / "runs")) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        done = command("resume", cwd=tmp_path)
        assert done.returncode == 2
        assert "is still running" in done.stderr
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(gnomon_version="0.0.1"), "was 0.0.1"),
        (lambda r: r["data"].update(sha256="other"), "has other data"),
        (lambda r: r["environment"]["cpu"].update(model="other"), "cpu.model is .*, was other"),
    ],
)
def test_what_has_changed_since_is_named_and_the_run_left_as_it_was(tmp_path, change, words):
    path = interrupted_run(tmp_path)
    record = json.loads((path / RUN_FILE).read_text())
    change(record)
    (path / RUN_FILE).write_text(json.dumps(record))
    with pytest.raises(UsageError, match=f"cannot be resumed: .*{words}.*start a new run"):
        gnomon.resume(path, system=constant)
    assert json.loads((path / RUN_FILE).read_text()) == record


def test_a_run_goes_on_with_the_configuration_that_it_began_with(tmp_path):
    config = tmp_path / "user.conf"
    config.write_text("digits.SingleStream.min_query_count = 100\n")
    path = interrupted_run(tmp_path / "runs", config=config)
    config.write_text("digits.SingleStream.min_query_count = 200\n")
    run = gnomon.resume(path, system=constant)
    assert run.measurements["single-stream"]["settings"]["min_query_count"] == 100
    assert check(path).disagreements == ()
    kept = path / "config" / "0" / "user.conf"
    kept.write_text("digits.SingleStream.min_query_count = 300\n")
    assert not check(path).fine
