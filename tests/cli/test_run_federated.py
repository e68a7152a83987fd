"""`gnomon run federated-digits` as a user meets it: real processes, their output, their exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.core.run import Run

ONE_LINE = re.compile(r"\Agnomon: [^\n]+\n\Z")
BASE = ("run", "federated-digits", "--clients", "10", "--learning-rate", "0.3")
QUICK = (*BASE, "--controller", "fixed:5,5", "--target-loss", "0.5")


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """A finished run and what was printed about it."""
    out = tmp_path_factory.mktemp("finished")
    done = command(*QUICK, "--gamma", "0.25", cwd=out)
    (folder,) = (out / "runs").iterdir()
    return done, folder


def test_a_run_prints_what_was_chosen_what_it_took_and_the_verdict(finished):
    done, folder = finished
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr == ""
    for words in (
        r"cost to target +\$[\d.]+",
        r"gamma +0.25: \$0.75 a second, \$0.25 a joule",
        r"K, clients a round +5",
        r"E, local iterations +5",
        r"rounds +\d+",
        r"loss +0\.\d{4}, target 0.5000, at first 2.3026",
        r"accuracy +0\.\d{4}",
        r"time +.* (s|min)",
        r"energy +[\d.]+ J",
        r"estimation overhead +none",
        r"regret +not known",
        r"VALID under quick rules",
        re.escape(f"runs/{folder.name}/report.html"),
    ):
        assert re.search(words, done.stdout), words


def test_show_check_and_report_read_the_same_run(command, finished, tmp_path: Path):
    _, folder = finished
    run = Run.open(folder)
    shown = command("show", folder, cwd=tmp_path)
    assert shown.returncode == 0
    assert "cost to target" in shown.stdout
    checked = command("check", folder, "--json", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    found = json.loads(checked.stdout)
    assert found["disagreements"] == []
    assert found["results"] == run.result
    reported = command("report", folder, "-o", "page.html", cwd=tmp_path)
    assert reported.returncode == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("cost to target", "estimation overhead", "devices_source", "against the devices"):
        assert words in page


def test_json_is_the_record_and_nothing_else(command, tmp_path: Path):
    done = command(*QUICK, "--no-report", "--json", "--seed", "3", cwd=tmp_path)
    said = json.loads(done.stdout)
    run = Run.open(tmp_path / said["path"])
    assert said["result"] == run.result
    assert run.record["options"]["seed"] == 3
    assert done.returncode == (0 if run.verdict.valid else 1)


def test_only_options_that_were_given_are_on_record(finished):
    _, folder = finished
    assert Run.open(folder).record["options"] == {
        "clients": 10,
        "controller": "fixed:5,5",
        "gamma": 0.25,
        "learning_rate": 0.3,
        "target_loss": 0.5,
    }


def test_a_target_that_is_not_reached_exits_with_1_and_says_what_to_change(command, tmp_path: Path):
    done = command(*QUICK, "--max-rounds", "3", "--no-report", cwd=tmp_path)
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "INVALID under quick rules" in text
    assert "cost to target not reached" in text
    assert "3 rounds were run, the most that were allowed: raise --max-rounds" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scenario", "server"), "--scenario means nothing for 'federated-digits'"),
        (("--target-qps", "5"), "--target-qps means nothing"),
        (("--quick",), "--quick means nothing"),
        (("--gamma", "2"), "gamma"),
        (("--gama", "0.5"), "--gamma"),
        (("--model", "cn"), "'logistic' or 'cnn'"),
        (("--controller", "fixed:11,5"), "K=11 of 10 clients"),
        (("--controller", "clever"), "there is no controller 'clever'"),
        (("--partition", "lables:2"), "did you mean 'labels'"),
        (("--devices", "nowhere.csv"), "neither a file nor one of paper"),
        (("--grid", "nowhere"), "grid nowhere cannot be read"),
        (("--rules", "official"), "unknown rules 'official'"),
        (("--data", "somewhere"), "leave out --data"),
        (("--system", "null"), "system 'null' is none that the protocol 'fleet'"),
        (("--clip-norm", "-1"), "clip_norm"),
        (("--noise-multiplier", "1"), "set clip_norm as well"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_that_names_the_mend_and_exits_with_2(
    command, tmp_path: Path, arguments, words
):
    done = command(*BASE, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert ONE_LINE.match(done.stderr), done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_an_option_of_federations_means_nothing_to_a_load_test(command, tmp_path: Path):
    done = command("run", "digits", "--gamma", "0.5", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        "--gamma means nothing for 'digits', which is measured by the protocol 'load'"
        in done.stderr
    )


def test_data_that_a_person_must_bring_is_asked_for(command, tmp_path: Path):
    done = command("run", "federated-emnist", cwd=tmp_path)
    assert done.returncode == 2
    assert "--data" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_stopped_is_resumed_where_it_was(command, tmp_path: Path, number):
    arguments = ("--controller", "fixed:10,20", "--target-loss", "0.001", "--max-rounds", "300")
    process = subprocess.Popen(
        [sys.executable, "-m", "gnomon.cli.main", *BASE, *arguments, "--no-report"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    end_s = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/federation/server.npz")) and time.monotonic() < end_s:
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), said
    (folder,) = (tmp_path / "runs").iterdir()
    run = Run.open(folder)
    assert run.status == "aborted"
    done_before = run.samples["federation"].rounds
    assert len(done_before)
    resumed = command("resume", folder, "--no-report", "--json", cwd=tmp_path)
    assert resumed.returncode in (0, 1), resumed.stderr
    after = Run.open(folder)
    assert after.status == "complete"
    rounds = after.samples["federation"].rounds
    assert len(rounds) > len(done_before)
    assert rounds[: len(done_before)].tobytes() == done_before.tobytes()
    assert (
        json.loads(command("check", folder, "--json", cwd=tmp_path).stdout)["disagreements"] == []
    )
