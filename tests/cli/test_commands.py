"""The command line as a user meets it: real processes, their output, their exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.core.run import Run

ONE_LINE = re.compile(r"\Agnomon: [^\n]+\n\Z")


def test_run_prints_a_table_with_verdicts_the_run_folder_and_the_report(command, tmp_path: Path):
    done = command("run", "--quick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "single-stream",
        "offline",
        "accuracy",
        "VALID under quick rules",
        "not comparable",
    ):
        assert words in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"runs/{folder.name}" in done.stdout
    assert f"runs/{folder.name}/report.html" in done.stdout
    assert (folder / "report.html").stat().st_size > 10_000
    assert done.stderr == ""  # silent where there is no terminal


def test_run_json_is_the_record_and_nothing_else(command, tmp_path: Path):
    done = command(
        "run",
        "digits",
        "--scenario",
        "server",
        "--target-qps",
        500,
        "--quick",
        "--no-accuracy",
        "--no-report",
        "--json",
        cwd=tmp_path,
    )
    said = json.loads(done.stdout)
    run = Run.open(tmp_path / said["path"])
    assert said["result"] == run.result
    assert said["verdict"] == run.verdict.to_json()
    assert said["report"] is None
    assert done.returncode == (0 if run.verdict.valid else 1)


def test_an_invalid_run_exits_with_1_and_says_why(command, tmp_path: Path):
    done = command(
        "run",
        "--scenario",
        "server",
        "--target-qps",
        500,
        "--target-latency",
        0.001,
        "--quick",
        "--no-report",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "INVALID under quick rules" in text
    assert "latency bound" in text
    assert "ower --target-qps" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "digts"), "did you mean 'digits'?"),
        (("run", "--system", "onx"), "did you mean 'onnx'?"),
        (("run", "--scenario", "servr"), "did you mean 'server'?"),
        (("run", "--rules", "offical"), "did you mean 'official'?"),
        (("run", "-s", "thread=2"), "did you mean 'threads'?"),
        (("run", "-s", "threads"), "NAME=VALUE"),
        (("run", "--scenarios", "server"), "--scenario"),
        (("rnu",), "Did you mean 'run'?"),
        (("loadgen", "schedul"), "'schedule'"),
        (("run", "--duration", "abc"), "--duration"),
        (("run", "--scenario", "server", "--target-qps", "-5"), "must be positive"),
        (("run", "--scenario", "single-stream", "--target-qps", "5"), "add --scenario"),
        (("run", "--rules", "official", "--duration", "5"), "at least 600 s"),
        (("run", "--issue-unique", "--issue-same"), "contradict"),
        (("run", "--no-performance", "--no-accuracy"), "nothing to measure"),
        (("run", "--seeds", "1,2"), "three whole numbers"),
        (("run", "--config", "nowhere.conf"), "cannot be read"),
        (("run", "--model", "nowhere.onnx"), "that exists, this one does not"),
        (("run", "--max-duration", "1", "--duration", "5"), "below min_duration"),
        (("show", "nowhere"), "no run nowhere"),
        (("check", "nowhere"), "no run nowhere"),
        (("report", "nowhere"), "no run nowhere"),
        (
            ("loadgen", "schedule", "--scenario", "server", "--total", "9", "--queries", "2"),
            "--target-qps",
        ),
        (("loadgen", "schedule", "--scenario", "offline", "--total", "9"), "--queries"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_that_names_the_mend_and_exits_with_2(
    command, tmp_path: Path, arguments, words
):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert ONE_LINE.match(done.stderr), done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_a_misspelt_config_line_is_an_error_with_its_number(command, tmp_path: Path):
    (tmp_path / "user.conf").write_text("*.Server.target_qps = 500\n*.Server.target_latncy = 10\n")
    done = command("run", "--config", "user.conf", cwd=tmp_path)
    assert done.returncode == 2
    assert "user.conf:2" in done.stderr
    assert "target_latency" in done.stderr


def test_a_config_line_that_changes_nothing_is_said_aloud(command, tmp_path: Path):
    (tmp_path / "user.conf").write_text(
        "*.Server.target_qps = 500\n*.SingleStream.target_latency = 10\n"
    )
    done = command(
        "run",
        "--config",
        "user.conf",
        "--scenario",
        "single-stream",
        "--quick",
        "--no-accuracy",
        "--no-report",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "user.conf:2" in done.stderr
    assert "not used" in done.stderr


def test_show_check_and_report_read_the_same_run(command, digits_run: Run, tmp_path: Path):
    expected = 0 if digits_run.verdict.valid else 1
    shown = command("show", digits_run.path, "--json", cwd=tmp_path)
    assert shown.returncode == expected
    assert json.loads(shown.stdout)["measurements"] == digits_run.measurements
    checked = command("check", digits_run.path, "--json", cwd=tmp_path)
    assert checked.returncode == expected
    found = json.loads(checked.stdout)
    assert found["disagreements"] == []
    assert found["results"] == digits_run.result
    reported = command("report", digits_run.path, "-o", "page.html", "--json", cwd=tmp_path)
    assert reported.returncode == expected
    assert (tmp_path / json.loads(reported.stdout)["report"]).exists()


def test_show_finds_the_latest_run_and_the_start_of_a_name(command, tmp_path: Path):
    command("run", "--scenario", "offline", "--quick", "--no-accuracy", "--no-report", cwd=tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    for name in ("latest", folder.name[:12], f"runs/{folder.name}", f"runs/{folder.name}/run.json"):
        shown = command("show", name, "--json", cwd=tmp_path)
        assert json.loads(shown.stdout)["id"] == folder.name


def test_list_names_benchmarks_and_systems_with_their_package(command, tmp_path: Path):
    listed = json.loads(command("list", "--json", cwd=tmp_path).stdout)
    digits = next(row for row in listed["benchmarks"] if row["name"] == "digits")
    assert digits["from"] == "gnomon"
    assert set(digits["scenarios"]) == {"single-stream", "multi-stream", "server", "offline"}
    assert {"onnx", "null"} <= {row["name"] for row in listed["systems"]}
    assert "digits" in command("list", cwd=tmp_path).stdout


def test_doctor_describes_the_machine_and_what_it_looked_at(command, tmp_path: Path):
    looked = json.loads(command("doctor", "--json", cwd=tmp_path).stdout)
    assert looked["environment"]["cpu"]["logical_cores"] >= 1
    names = {finding["name"] for finding in looked["findings"]}
    assert {"CPU governor", "load", "stolen time", "clock source"} <= names
    assert "Gnomon changes nothing" in (text := command("doctor", cwd=tmp_path).stdout) or (
        "Nothing here" in text
    )


def test_schedule_prints_one_line_a_sample_under_a_header(command, tmp_path: Path):
    done = command(
        "loadgen",
        "schedule",
        "--scenario",
        "multi-stream",
        "--total",
        100,
        "--performance-count",
        50,
        "--queries",
        3,
        "--samples-per-query",
        4,
        "--seeds",
        "1,2,3",
        "--format",
        "csv",
        cwd=tmp_path,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "query,arrival_ns,sample_index"
    assert [line.split(",")[0] for line in lines[1:]] == [
        str(q) for q in range(3) for _ in range(4)
    ]
    assert all(0 <= int(line.split(",")[2]) < 50 for line in lines[1:])
    as_json = command(
        "loadgen",
        "schedule",
        "--scenario",
        "multi-stream",
        "--total",
        100,
        "--performance-count",
        50,
        "--queries",
        3,
        "--samples-per-query",
        4,
        "--seeds",
        "1,2,3",
        "--format",
        "json",
        cwd=tmp_path,
    )
    rows = [
        ",".join(str(row[key]) for key in lines[0].split(",")) for row in json.loads(as_json.stdout)
    ]
    assert rows == lines[1:]


def test_schedule_into_a_closed_pipe_ends_quietly(tmp_path: Path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gnomon.cli.main",
            "loadgen",
            "schedule",
            "--scenario",
            "offline",
            "--total",
            "1000",
            "--queries",
            "500000",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "query,arrival_ns,sample_index\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_the_usual_shells(shell: str, tmp_path: Path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'gnomon'\nfrom gnomon.cli.main import main; main()",
        ],
        env={
            **os.environ,
            "_GNOMON_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": "gnomon run dig",
            "COMP_WORDS": "gnomon run dig",
            "COMP_CWORD": "2",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert "digits" in done.stdout + done.stderr


def _on_a_terminal(*arguments: str, cwd: Path) -> tuple[subprocess.Popen, int]:
    """Start the command on a real PTY; returns it and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gnomon.cli.main", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    return process, ours


def _read(terminal: int, until: str | None, timeout_s: float) -> str:
    """What the terminal shows until `until` is seen, or until it is closed."""
    text = ""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if not ready:
            continue
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        text += chunk.decode(errors="replace")
        if until is not None and until in text:
            break
    return text


def test_a_terminal_shows_elapsed_time_samples_and_the_current_percentile(tmp_path: Path):
    process, terminal = _on_a_terminal(
        "run",
        "--scenario",
        "single-stream",
        "--quick",
        "--no-accuracy",
        "--no-report",
        cwd=tmp_path,
    )
    shown = _read(terminal, None, 60)
    assert process.wait(timeout=30) == 0
    os.close(terminal)
    assert re.search(r"single-stream  ━+╌*  \d+ s  [\d,]+ samples, p90 [\d.]+ [mµn]?s", shown)
    assert "VALID under quick rules" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_aborted_with_its_samples_kept(
    tmp_path: Path, number: signal.Signals
):
    process, terminal = _on_a_terminal(
        "run", "--scenario", "single-stream", "--duration", "60", cwd=tmp_path
    )
    _read(terminal, "samples, p90", 60)
    process.send_signal(number)
    said = _read(terminal, None, 30)
    assert process.wait(timeout=30) == 130
    os.close(terminal)
    assert "interrupted" in said
    assert "Traceback" not in said
    (folder,) = (tmp_path / "runs").iterdir()
    run = Run.open(folder)
    assert run.status == "aborted"
    assert not run.verdict.valid
    assert len(run.samples["single-stream"]) > 1000
    assert run.result["single-stream"]["sample_count"] > 1000
