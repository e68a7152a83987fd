"""`gnomon recommend` as a real process: a sweep end to end, interrupted, gone on with, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

pytest.importorskip("torch")

from gnomon.cli.main import main

PROGRAM = "from gnomon.cli.main import main; main()"
TINY = ("--rows", 3000, "--held-out", 1500, "--methods", "full,robe", "--compression", "20,200")
ENVIRONMENT = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}


def start(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "recommend", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def run(*arguments, cwd):
    process = start(*arguments, cwd=cwd)
    output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors


def finished(folder):
    return sorted(file.name for file in folder.glob("sweeps/*/runs/*.json"))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder in which a tiny sweep ran, and what it printed."""
    folder = tmp_path_factory.mktemp("here")
    return folder, run("sweep", *TINY, "--epochs", 1, "--seeds", 3, cwd=folder)


def test_a_sweep_prints_its_table_and_writes_its_page(swept):
    folder, (code, output, errors) = swept
    assert code == 0, errors
    assert len(finished(folder)) == 9
    assert "robe 200x" in output
    assert "synthetic click log, not comparable with published results" in output
    assert max(map(len, output.split("sweep  ")[0].splitlines())) <= 80
    (page,) = folder.glob("sweeps/*/report.html")
    assert "Plotly.newPlot" in page.read_text()


def told_here(arguments, folder, capsys, monkeypatch):
    """Exit code, output and errors of the command, run in this process: sooner than in one of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("warnings.showwarning", warnings.showwarning)  # main() sets its own
    monkeypatch.setattr("gnomon.cli.ending.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main(["recommend", *map(str, arguments)])
    return ended.value.code, *capsys.readouterr()


def test_the_same_command_again_trains_nothing_and_prints_the_same(swept, capsys, monkeypatch):
    folder, (_, before, _) = swept
    times = [file.stat().st_mtime_ns for file in folder.glob("sweeps/*/runs/*.json")]
    again = ("sweep", *TINY, "--epochs", 1, "--seeds", 3)
    code, output, _ = told_here(again, folder, capsys, monkeypatch)
    assert (code, output) == (0, before)
    assert [file.stat().st_mtime_ns for file in folder.glob("sweeps/*/runs/*.json")] == times


def test_a_report_can_be_had_as_json(swept, capsys, monkeypatch):
    folder, _ = swept
    (path,) = folder.glob("sweeps/*")
    code, output, _ = told_here(("report", path, "--json"), folder, capsys, monkeypatch)
    told = json.loads(output)
    assert code == 0
    assert [entry["name"] for entry in told["variants"]] == ["full", "robe 20x", "robe 200x"]
    assert told["variants"][0]["best"]["count"] == 3


def test_mistakes_are_told_in_one_line(swept, capsys, monkeypatch):
    folder, _ = swept
    (path,) = folder.glob("sweeps/*")
    for arguments, words in (
        (("sweep", *TINY, "--epochs", 2, "--out", path), "epochs 1 there, 2 asked for"),
        (("sweep", "--methods", "roob"), "did you mean 'robe'?"),
        (("sweep", "--compression", "ten"), "numbers such as 10,100,1000"),
        (("sweep", "--recipe", "mlperf"), "unknown recipe"),
        (("sweep", "--data", "criteo-tsv", "missing.txt"), "No such file"),
        (("train", "qr"), "only full and robe can be saved"),
        (("report", "nowhere"), "not a sweep"),
    ):
        code, output, errors = told_here(arguments, folder, capsys, monkeypatch)
        assert (code, output) == (2, "")
        assert errors.startswith("gnomon: ")
        assert words in errors
        assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_sweep_keeps_what_is_finished_and_goes_on(workers, tmp_path):
    long = ("sweep", *TINY, "--epochs", 1, "--seeds", 400, "--workers", workers)
    process = start(*long, cwd=tmp_path)
    until = time.monotonic() + 60
    while len(finished(tmp_path)) < 3 and time.monotonic() < until:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    kept = finished(tmp_path)
    assert process.returncode == 130
    assert len(kept) >= 3
    assert errors.startswith("gnomon: interrupted: finished trainings are kept in sweeps/")
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.glob("sweeps/*/runs/.*")), "a file is whole or not there"
    for file in tmp_path.glob("sweeps/*/runs/*.json"):
        json.loads(file.read_text())
    if workers == 1:
        code, output, errors = run("sweep", *TINY, "--epochs", 1, "--seeds", 1, cwd=tmp_path)
        assert code == 0, errors
        assert len(finished(tmp_path)) >= len(kept)
        assert "the same command goes on" in output


def test_a_trained_model_is_saved(tmp_path):
    pytest.importorskip("onnx")
    code, output, errors = run(
        "train", "robe", "--compression", 50, "--rows", 4000, "--epochs", 1, cwd=tmp_path
    )
    assert code == 0, errors
    assert "epoch 1     AUC 0." in output
    folder = tmp_path / "models" / "dlrm-robe-50x-seed0"
    names = ["bottom.onnx", "embedding.npz", "head.onnx", "model.json", "top.onnx"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert "not comparable with published results" in output
