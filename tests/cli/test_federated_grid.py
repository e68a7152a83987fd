"""`gnomon federated grid` as a user meets it: tables, JSON, the page, interrupted, killed, gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from gnomon.cli.main import main
from gnomon.core.run import Run
from gnomon.fleet.grid_file import read_grid

ONE_LINE = re.compile(r"\Agnomon: [^\n]+\n\Z")
FLEET = ("federated-digits", "--clients", 10, "--learning-rate", 0.3, "--target-loss", 0.6)
AXES = ("--clients-per-round", "2,10", "--local-iterations", "5,20")
SLOW = (*FLEET[:-1], 0.01, "--max-rounds", 20_000, "--decay", "constant", *AXES)
PROGRAM = """
from gnomon.cli.main import main
if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def made(command, tmp_path_factory):
    """The folder in which a grid was made, and what was printed."""
    here = tmp_path_factory.mktemp("here")
    return here, command("federated", "grid", *FLEET, *AXES, "--seeds", 2, cwd=here)


@pytest.fixture
def told(made, capsys, monkeypatch):
    """The command in this process, where `made` was made: exit code, output and errors."""
    monkeypatch.chdir(made[0])
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("gnomon.cli.ending.signal.signal", lambda *_: None)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["federated", "grid", *map(str, arguments)])
        return ended.value.code, *capsys.readouterr()

    return run


def folder_of(made):
    (folder,) = (made[0] / "grids").iterdir()
    return folder


def test_the_table_has_the_best_choice_at_every_gamma(made):
    _, done = made
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    grid = read_grid(folder_of(made))
    rows = [line.split() for line in done.stdout.splitlines()]
    for gamma in (0, 0.25, 0.5, 0.75, 1):
        best = grid.best(gamma)
        start = [f"{gamma:g}", str(best.clients_per_round), str(best.local_iterations)]
        (row,) = (row for row in rows if row[:3] == start)
        assert "$" in " ".join(row)
    words = " ".join(done.stdout.split())
    assert "4 of 4 points reached the target loss 0.6 for every one of 2 seeds" in words
    assert max(map(len, done.stdout.split("grid  ")[0].splitlines())) <= 80


def test_the_page_opens_offline_with_a_heat_map_for_each_gamma(made):
    page = (folder_of(made) / "report.html").read_text()
    assert "Plotly.newPlot" in page
    assert page.count('"type":"heatmap"') == 5
    markup = re.sub(r"(?s)<script.*?</script>", "", page)
    assert not re.findall(r"(?:src|href)=|url\(|@import", markup)


def test_the_same_command_trains_nothing_and_says_the_same_in_json(made, told):
    before = {file: file.stat().st_mtime_ns for file in (folder_of(made) / "trials").iterdir()}
    code, output, errors = told(*FLEET, *AXES, "--seeds", 2, "--gamma", 0.1, "--json")
    assert (code, errors) == (0, "")
    answer = json.loads(output)
    grid = read_grid(folder_of(made))
    (best,) = answer["best"]
    assert best["gamma"] == 0.1
    assert best["cost"] == pytest.approx(grid.best(0.1).cost(0.1))
    assert best["standard_error"] == pytest.approx(grid.best(0.1).standard_error(0.1))
    assert (answer["points"], answer["reached"], answer["target_loss"]) == (4, 4, 0.6)
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_run_takes_its_regret_from_the_grid_whatever_its_seed(made, command, tmp_path):
    folder = folder_of(made)
    options = ("--controller", "fixed:10,20", "--gamma", 1, "--seed", 5, "--grid", folder)
    done = command("run", *FLEET, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (Run.open(path) for path in (tmp_path / "runs").iterdir())
    regret = run.result["federation"]["regret"]
    best = read_grid(folder).best(1.0)
    assert regret["best_clients_per_round"] == best.clients_per_round == 2
    assert regret["share"] > 0.5  # all ten clients where two would do, and only joules count


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits",), "'digits' is not federated"),
        (("federated-digits", "--clients-per-round", "1,x"), "--clients-per-round takes whole"),
        (("federated-digits", "--clients-per-round", "1,99"), "must be from 1 to 20, got 99"),
        (("federated-digits", "--local-iterations", "0"), "must be from 1 up, got 0"),
        (("federated-digits", "--gamma", "2"), "--gamma must be from 0"),
        (("federated-digits", "--devices", "nowhere.csv"), "neither a file nor one of"),
        (("federated-digits", "--model", "oak"), "model"),
        (("federated-digit",), "did you mean 'federated-digits'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_no_folder(
    told, made, arguments, words
):
    code, output, errors = told(*arguments, "--out", "refused")
    assert (code, output) == (2, "")
    assert ONE_LINE.match(errors)
    assert words in errors
    assert not (made[0] / "refused").exists()


def test_a_folder_with_another_grid_is_refused(told, made):
    code, _, errors = told(*FLEET, *AXES, "--batch-size", 5, "--out", folder_of(made))
    assert code == 2
    assert ONE_LINE.match(errors)
    assert "settings.batch_size 24 there, 5 asked for" in errors


def started(cwd, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "federated", "grid", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"},
    )


def until(condition, timeout_s=60.0):
    end_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.05)
    return found


def workers_of(process):
    """Worker processes that have been computing for a moment."""
    parent = psutil.Process(process.pid)
    found = [child for child in parent.children(recursive=True) if child.num_threads() > 1]
    busy = [child for child in found if child.cpu_times().user > 1.0]
    return found if len(busy) == 2 else None


def test_workers_of_a_killed_grid_are_gone_and_the_same_command_goes_on(tmp_path):
    process = started(tmp_path, *SLOW, "--seeds", 1, "--out", "g")
    try:
        workers = until(lambda: workers_of(process))
        process.kill()
        process.communicate(timeout=20)
    finally:
        process.kill()
    until(lambda: not any(worker.is_running() for worker in workers), 20)
    assert list((tmp_path / "g").iterdir())
    assert not (tmp_path / "g" / "grid.json").exists()
    again = started(tmp_path, *SLOW, "--seeds", 1, "--out", "g")
    try:
        until(lambda: workers_of(again))  # the lock of the killed one is no hindrance
    finally:
        again.kill()
        again.communicate(timeout=20)


def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(tmp_path):
    process = started(tmp_path, *SLOW, "--seeds", 1, "--out", "g")
    try:
        workers = until(lambda: workers_of(process))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert output == ""
    assert ONE_LINE.match(errors)
    assert "finished trainings are kept in g; the same command goes on" in errors
    assert not any(worker.is_running() for worker in workers)
