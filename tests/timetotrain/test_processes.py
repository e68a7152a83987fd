"""Runs in processes of their own: alone, together through torchrun, killed, hanging, on a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import gnomon
from gnomon.core.errors import GnomonError, UsageError
from gnomon.core.run import Run
from gnomon.results.check import check
from tests.ports import free_port
from tests.timetotrain import loops

MEASUREMENT = "time-to-train"
LOOP = """
import os, signal, sys, time
from tests.timetotrain.loops import *
from tests.timetotrain import loops

def own(run):
    {body}
    loops.train(run)
"""


def own_loop(tmp_path, body):
    """A Python file with a loop that does something before it trains as it should."""
    path = tmp_path / "loop.py"
    path.write_text(LOOP.format(body=body))
    return {"file": str(path), "function": "own"}


def campaign(tmp_path, body="pass", runs=3, **changed):
    options = {name: changed.pop(name) for name in ("processes",) if name in changed}
    return gnomon.run(
        loops.benchmark(**changed),
        system="own-loop",
        system_options=own_loop(tmp_path, body),
        runs=runs,
        seed=3,
        out=tmp_path / "runs",
        **options,
    )


def failures(run):
    return {each.name: each.why for each in run.verdict.failures}


def left_behind(tmp_path):
    """Processes that still work for a campaign in this folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(tmp_path) in word for word in process.info["cmdline"] or ())
    ]


def test_a_run_in_a_process_of_its_own_is_the_one_that_this_process_has(tmp_path):
    there = campaign(tmp_path, runs=3)
    here = gnomon.run(loops.benchmark(), system=loops.train, runs=3, seed=3, out=tmp_path / "runs")
    assert there.verdict.valid, failures(there)
    courses = [
        [
            [(each.samples, each.quality) for each in trace.evaluations]
            for trace in run.samples[MEASUREMENT]
        ]
        for run in (there, here)
    ]
    assert courses[0] == courses[1]
    assert check(there.path).fine
    pids = {trace.events[0].values["seed"] for trace in there.samples[MEASUREMENT]}
    assert len(pids) == 3
    assert not left_behind(tmp_path)


def test_a_process_that_is_killed_costs_its_run_and_is_named(tmp_path):
    body = """
    if run.plan.number == 2:
        step = run.step
        def step_and_die(loss):
            if run.samples_trained > 640:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(loss)
        run.step = step_and_die
"""
    run = campaign(tmp_path, body, runs=4)
    assert run.verdict.valid, failures(run)
    second = run.samples[MEASUREMENT][1]
    assert (second.reason, second.converged) == ("died", False)
    assert "killed by SIGKILL" in second.why
    assert len(second.evaluations) == 2  # what was measured until then is kept
    log = (run.path / MEASUREMENT / "result_1.txt").read_text()
    assert "run_stop" not in log


def test_a_worker_that_dies_ends_the_others_and_the_run(tmp_path):
    pytest.importorskip("torch")
    body = """
    if run.group.rank == 1:
        step = run.step
        def step_and_die(loss):
            if run.samples_trained > 640:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(loss)
        run.step = step_and_die
"""
    began_s = time.monotonic()
    run = campaign(tmp_path, body, runs=3, processes=2)
    assert time.monotonic() - began_s < 90
    reasons = {trace.reason for trace in run.samples[MEASUREMENT]}
    assert reasons <= {
        "died",
        "raised",
    }  # whether the other one could still say that it lost its peer
    assert "a process of the run" in failures(run)["converged"]
    assert not left_behind(tmp_path)


def test_a_loop_that_cannot_be_run_is_one_clear_line_and_no_result(tmp_path):
    path = tmp_path / "loop.py"
    path.write_text("import nothing_of_that_name\n")
    run = gnomon.run(
        loops.benchmark(),
        system="own-loop",
        system_options={"file": str(path)},
        runs=3,
        out=tmp_path / "runs",
    )
    assert run.status == "aborted"
    assert "loop.py cannot be run: ModuleNotFoundError" in run.record["aborted_because"]


def test_a_file_that_is_not_there_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(GnomonError, match=r"there is no file .*: -s file=PATH"):
        gnomon.run(
            loops.benchmark(), system="own-loop", system_options={"file": "none.py"}, out=tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_an_object_of_this_process_cannot_train_in_several(tmp_path):
    with pytest.raises(UsageError, match="trains in this process alone"):
        gnomon.run(loops.benchmark(), system=loops.train, processes=2, out=tmp_path)


def test_a_loop_that_hangs_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("gnomon.timetotrain.launch.GRACE_S", 1.0)
    body = """
    run.start()
    time.sleep(600)
"""
    run = campaign(tmp_path, body, runs=3, max_duration_s=0.5)
    assert [trace.reason for trace in run.samples[MEASUREMENT]] == ["died", "died"]
    assert "were stopped 1 s after the longest duration" in failures(run)["converged"]
    assert not left_behind(tmp_path)


def test_a_loop_that_never_starts_the_clock_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("gnomon.timetotrain.launch.GRACE_S", 1.0)
    run = campaign(tmp_path, "time.sleep(600)", runs=3, max_initialisation_s=2.0)
    assert run.status == "aborted"
    assert "1 s after the longest initialisation" in run.record["aborted_because"]
    assert not left_behind(tmp_path)


def test_a_campaign_whose_process_is_killed_leaves_no_run_behind_and_goes_on(tmp_path):
    goes_on = tmp_path / "goes-on"
    body = f"""
    until_s = time.monotonic() + 60
    while not os.path.exists({str(goes_on)!r}) and time.monotonic() < until_s:
        time.sleep(0.02)
"""
    options = own_loop(tmp_path, body)
    script = tmp_path / "campaign.py"
    script.write_text(
        "import gnomon, sys\n"
        "from tests.timetotrain import loops\n"
        f"gnomon.run(loops.benchmark(), system='own-loop', system_options={options!r}, runs=3, seed=3,\n"
        f"           out={str(tmp_path / 'runs')!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, str(script)], env=environment)
    journals = tmp_path / "runs"
    deadline_s = time.monotonic() + 60
    while not list(journals.glob("*/time-to-train/run-01/journal.jsonl")):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline_s = time.monotonic() + 20
    while left_behind(tmp_path):
        assert time.monotonic() < deadline_s, "a run outlived its campaign"
        time.sleep(0.1)
    (folder,) = journals.iterdir()
    assert Run.open(folder).status == "aborted"
    goes_on.touch()
    run = gnomon.resume(folder)
    assert run.verdict.valid, failures(run)
    assert run.measurements[MEASUREMENT]["begun_again"] == [1]


def test_a_disk_that_is_full_when_the_model_is_kept_is_said(tmp_path):
    body = """
    keep = run.keep
    def keep_on_a_full_disk(save, restore):
        def save_there(path):
            with open("/dev/full", "wb") as full:
                full.write(b"0" * 100_000)
        keep(save_there, restore)
    run.keep = keep_on_a_full_disk
"""
    run = campaign(tmp_path, body)
    why = failures(run)["faults"]
    assert "the checkpoint cannot be written" in why
    assert "No space left on device" in why
    assert "make room and train again" in why
    assert all(trace.converged for trace in run.samples[MEASUREMENT])


def test_the_plan_of_a_run_says_all_that_a_process_needs(tmp_path):
    run = campaign(tmp_path, runs=3)
    plan = json.loads((run.path / MEASUREMENT / "run-01" / "plan.json").read_text())
    assert plan["seed"] == run.samples[MEASUREMENT][0].seed
    assert plan["system"]["name"] == "own-loop"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:1 runs give times")
def test_another_machine_joins_a_run_and_trains_its_share(tmp_path):
    pytest.importorskip("torch")
    address = f"127.0.0.1:{free_port()}"
    arguments = ["training", "join", address, "--nodes", "2", "--patience", "60"]
    joined = subprocess.Popen(
        [sys.executable, "-m", "gnomon.cli.main", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1"},
    )
    try:
        run = gnomon.run(
            loops.benchmark(),
            system="own-loop",
            system_options=own_loop(tmp_path, "pass"),
            runs=1,
            seed=3,
            nodes=2,
            rendezvous=address,
            out=tmp_path / "runs",
        )
        (trace,) = run.samples[MEASUREMENT]
        assert trace.converged, trace.why
        assert trace.world_size == 2
        assert joined.stdout.readline().startswith("run 1: ")
    finally:
        joined.kill()
        joined.communicate()
