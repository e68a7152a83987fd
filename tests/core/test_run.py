"""Run folders in every state they can be left in, read back by the same process and by others.

The processes that are killed or still running are real ones that hold the folder's lock.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from gnomon.core import run as run_module
from gnomon.core.errors import RunFolderError, UsageError
from gnomon.core.run import LOCK_FILE, RUN_FILE, SCHEMA_VERSION, Run, RunWriter, find_runs
from gnomon.core.verdict import Check, Verdict

RECORD = {"rules": "quick", "protocol": "load", "benchmark": {"name": "digits"}}
VALID = Verdict("quick", (Check("min_duration", True, "10.2 s", "at least 10 s"),))
STORED = {"settings": {}, "result": {"quality": 0.98}, "faults": []}
PROGRAM = """
import sys, time

from gnomon.core.run import RunWriter

with RunWriter.create(sys.argv[1], "digits-null", {"rules": "quick"}) as writer:
    writer.record_measurement("offline", {"result": {"rate": 1.0}, "faults": []})
    print(writer.path, flush=True)
    time.sleep(600)
"""


FORKS = PROGRAM.replace(
    "    print(writer.path",
    """    import os
    there, says = os.pipe()
    if os.fork() == 0:  # a worker of the system, which outlives it
        os.close(1)
        os.write(says, b"!")
        time.sleep(20)
        os._exit(0)
    os.read(there, 1)  # until the child has begun
    print(writer.path""",
)


@contextmanager
def process_with_a_run(out, program=PROGRAM):
    """A process in the middle of a run, and the run's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def write(out, name="digits-null", record=RECORD):
    return RunWriter.create(out, name, record)


def finished(out, verdict=VALID):
    with write(out) as writer:
        writer.record_measurement("accuracy", STORED)
        return writer.complete(verdict)


def require_aborted(run, because):
    assert run.status == "aborted"
    assert not run.verdict.valid
    first = run.verdict.failures[0]
    assert (first.name, first.found, first.required) == ("completed", "aborted", "complete")
    assert first.why == f"{because}: run it again"


# --- complete


def test_a_complete_run_reads_back_as_it_was_returned(tmp_path):
    returned = finished(tmp_path)
    run = Run.open(returned.path)
    assert run == returned
    assert run.status == "complete"
    assert run.verdict == VALID
    assert run.id == run.path.name
    assert run.record["schema_version"] == SCHEMA_VERSION
    assert run.record["started_at"] <= run.record["finished_at"]
    assert {name: run.record[name] for name in RECORD} == RECORD


def test_a_run_can_be_opened_by_its_file_or_by_text(tmp_path):
    path = finished(tmp_path).path
    assert Run.open(path / RUN_FILE) == Run.open(str(path)) == Run.open(path)


def test_results_are_those_of_measurements_that_have_one(tmp_path):
    with write(tmp_path) as writer:
        writer.record_measurement("accuracy", STORED)
        writer.record_measurement("server", {"settings": {}, "result": None, "faults": []})
        run = writer.complete(VALID)
    assert run.result == {"accuracy": {"quality": 0.98}}
    assert list(run.measurements) == ["accuracy", "server"]


def test_a_complete_run_without_a_verdict_or_without_checks_is_not_valid(tmp_path):
    run = finished(tmp_path, Verdict("quick", ()))
    assert not run.verdict.valid
    record = {name: value for name, value in run.record.items() if name != "verdict"}
    assert not Run(run.path, record, "complete").verdict.valid


def test_an_exception_after_the_verdict_does_not_take_it_back(tmp_path):
    def fails_late():
        with write(tmp_path) as writer:
            writer.complete(VALID)
            raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        fails_late()
    (path,) = find_runs(tmp_path)
    assert Run.open(path).status == "complete"
    assert Run.open(path).verdict.valid


def test_a_measurement_has_a_folder_of_its_own_that_may_be_asked_for_twice(tmp_path):
    with write(tmp_path) as writer:
        path = writer.measurement_path("server")
        assert path == writer.measurement_path("server") == writer.path / "server"
        assert path.is_dir()
        writer.complete(VALID)


def test_text_in_any_script_survives_on_disk(tmp_path):
    with write(tmp_path, record=RECORD | {"options": {"model": "模型/é.onnx"}}) as writer:
        run = writer.complete(VALID)
    assert Run.open(run.path).record["options"]["model"] == "模型/é.onnx"
    assert "模型" in (run.path / RUN_FILE).read_text(encoding="utf-8")


# --- aborted


@pytest.mark.parametrize(
    ("error", "because"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(3), "SystemExit: 3"),
        (MemoryError("too much"), "MemoryError: too much"),
    ],
)
def test_leaving_by_an_exception_aborts_the_run_and_keeps_what_was_measured(
    tmp_path, error, because
):
    def fails():
        with write(tmp_path) as writer:
            writer.record_measurement("accuracy", STORED)
            raise error

    with pytest.raises(type(error)):
        fails()
    (path,) = find_runs(tmp_path)
    run = Run.open(path)
    require_aborted(run, because)
    assert run.record["status"] == "aborted"
    assert run.record["finished_at"]
    assert run.result == {"accuracy": {"quality": 0.98}}


def test_the_reason_of_an_abort_is_one_line(tmp_path):
    def fails():
        with write(tmp_path):
            raise ValueError("first line\n  second line")

    with pytest.raises(ValueError, match="first line"):
        fails()
    (path,) = find_runs(tmp_path)
    assert len(Run.open(path).verdict.failures[0].why.splitlines()) == 1


def test_leaving_without_a_verdict_is_an_abort_for_a_reason_a_person_can_read(tmp_path):
    with write(tmp_path) as writer:
        pass
    run = Run.open(writer.path)
    assert run.status == "aborted"
    assert not run.verdict.valid
    assert "None" not in run.verdict.failures[0].why


def test_an_abort_keeps_a_verdict_that_was_made_and_is_still_not_valid(tmp_path):
    with write(tmp_path) as writer:
        returned = writer.abort("the system hung", VALID)
    run = Run.open(returned.path)
    assert run == returned
    require_aborted(run, "the system hung")
    assert run.verdict.checks[1:] == VALID.checks


def test_a_run_that_was_judged_as_not_completed_is_not_told_so_twice(tmp_path):
    judged = Verdict("quick", (Check("completed", False, "aborted", "complete", "stopped"),))
    with write(tmp_path) as writer:
        run = writer.abort("the system hung", judged)
    assert run.verdict == judged


# --- killed, and still running


def test_a_killed_run_reads_as_aborted_though_a_forked_child_of_it_lives_on(tmp_path):
    with process_with_a_run(tmp_path, FORKS) as (process, path):
        assert Run.open(path).status == "running"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        require_aborted(Run.open(path), "the process was killed")


def test_a_run_whose_process_was_killed_reads_as_aborted(tmp_path):
    with process_with_a_run(tmp_path) as (process, path):
        assert Run.open(path).status == "running"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        run = Run.open(path)
    require_aborted(run, "the process was killed")
    assert run.record["status"] == "running"  # nobody was left to write otherwise
    assert run.result == {"offline": {"rate": 1.0}}


def test_a_run_of_a_living_process_reads_as_running_and_is_not_valid(tmp_path):
    with process_with_a_run(tmp_path) as (process, path):
        run = Run.open(path)
        assert run.status == "running"
        assert not run.verdict.valid
        assert run.verdict.failures[0].found == "running"
        assert Run.open(path).status == "running"  # looking took no lock away
        assert process.poll() is None


def test_a_run_of_this_very_process_reads_as_running_until_it_is_over(tmp_path):
    with write(tmp_path) as writer:
        assert Run.open(writer.path).status == "running"
        writer.complete(VALID)
        assert Run.open(writer.path).status == "complete"


def test_a_run_that_ends_while_it_is_being_read_is_not_called_aborted(tmp_path, monkeypatch):
    """Between reading the record and looking at the lock, the run may complete and let go of it."""
    writer = write(tmp_path)
    look = run_module._is_locked

    def ends_meanwhile(path):
        if writer.record["status"] == "running":
            with writer:
                writer.complete(VALID)
        return look(path)

    monkeypatch.setattr(run_module, "_is_locked", ends_meanwhile)
    assert Run.open(writer.path).status == "complete"


def test_a_copy_of_a_running_run_reads_as_aborted(tmp_path):
    """Nobody holds the copy's lock, with or without the file."""
    with write(tmp_path / "runs") as writer:
        whole = shutil.copytree(writer.path, tmp_path / "whole")
        bare = shutil.copytree(
            writer.path, tmp_path / "bare", ignore=shutil.ignore_patterns(LOCK_FILE)
        )
        assert Run.open(whole).status == Run.open(bare).status == "aborted"
        writer.complete(VALID)


# --- gone on with


def aborted(out):
    with write(out) as writer:
        writer.record_measurement("accuracy", STORED)
        return writer.abort("interrupted", VALID)


def test_an_aborted_run_that_is_gone_on_with_keeps_what_it_measured_and_says_that_it_was(tmp_path):
    stopped = aborted(tmp_path)
    with RunWriter.reopen(Run.open(stopped.path)) as writer:
        going = Run.open(stopped.path)
        assert going.status == "running"
        assert going.result == stopped.result
        assert not going.verdict.valid
        run = writer.complete(VALID)
    assert run == Run.open(stopped.path)
    assert run.verdict == VALID
    assert run.id == stopped.id
    (stop,) = run.record["resumed"]
    assert stop["aborted_because"] == "interrupted"
    assert "aborted_because" not in run.record


def test_a_killed_run_can_be_gone_on_with_and_says_that_it_was_killed(tmp_path):
    with process_with_a_run(tmp_path) as (process, path):
        process.kill()
        process.wait(timeout=30)
        with RunWriter.reopen(Run.open(path)) as writer:
            run = writer.complete(VALID)
    assert run.record["resumed"][0]["aborted_because"] == "the process was killed"


def test_a_run_of_a_living_process_is_not_gone_on_with(tmp_path):
    with process_with_a_run(tmp_path) as (_, path):
        before = (Run.open(path).path / RUN_FILE).read_bytes()
        with pytest.raises(UsageError, match="is still running"):
            RunWriter.reopen(Run.open(path))
        assert (Run.open(path).path / RUN_FILE).read_bytes() == before


def test_a_run_that_someone_else_has_finished_meanwhile_is_not_gone_on_with(tmp_path):
    stopped = aborted(tmp_path)
    with RunWriter.reopen(stopped) as writer:
        done = writer.complete(VALID)
    with pytest.raises(UsageError, match="is complete"):
        RunWriter.reopen(stopped)  # as it stood before
    assert Run.open(stopped.path) == done


# --- folders that are no runs, or of another time


def test_a_folder_without_a_record_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no run\.json: not a run folder"):
        Run.open(tmp_path)
    with pytest.raises(RunFolderError, match=r"holds no run\.json"):
        Run.open(tmp_path / "nowhere")


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").write_text("{}")
    with pytest.raises(RunFolderError, match=r"cannot be read: Not a directory"):
        Run.open(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'"complete"',
        b'{"schema_version": 1}',
        b'{"status": "complete"}',
        b'{"schema_version": "1", "status": "complete"}',
        b'{"schema_version": null, "status": "complete"}',
        b"\xff\xfe{}",
    ],
)
def test_a_damaged_record_is_told_in_one_line(tmp_path, content):
    (tmp_path / RUN_FILE).write_bytes(content)
    with pytest.raises(RunFolderError, match="is damaged: not a run record") as error:
        Run.open(tmp_path)
    assert str(tmp_path / RUN_FILE) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_record_that_was_cut_short_anywhere_is_damaged(tmp_path):
    path = finished(tmp_path).path / RUN_FILE
    whole = path.read_bytes()
    for length in range(0, len(whole.rstrip()), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(RunFolderError, match="is damaged"):
            Run.open(path)


def test_a_run_of_a_newer_version_asks_for_an_upgrade(tmp_path):
    path = finished(tmp_path).path / RUN_FILE
    newer = json.loads(path.read_text()) | {"schema_version": SCHEMA_VERSION + 1}
    path.write_text(json.dumps(newer))
    with pytest.raises(RunFolderError, match=r"has schema version 2, .*: upgrade gnomon"):
        Run.open(path)


# --- making folders


def test_the_output_folder_is_made_with_its_parents(tmp_path):
    run = finished(tmp_path / "a" / "b")
    assert run.path.parent == tmp_path / "a" / "b"


@pytest.mark.parametrize("out", ["a-file", "a-file/runs", "x" * 300])
def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path, out):
    (tmp_path / "a-file").write_text("in the way")
    with pytest.raises(
        RunFolderError, match=r"cannot write to .*: .*; choose another folder with --out"
    ) as error:
        write(tmp_path / out)
    assert "\n" not in str(error.value)
    assert (tmp_path / "a-file").read_text() == "in the way"


def test_a_record_that_cannot_be_written_is_told_and_reads_as_no_run(tmp_path):
    program = """
    import resource, sys

    from gnomon.core.errors import RunFolderError
    from gnomon.core.run import RunWriter

    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    try:
        RunWriter.create(sys.argv[1], "digits-null", {"rules": "quick"})
    except RunFolderError as error:
        print(error)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "File too large; make room or choose another folder with --out\n" in done.stdout
    assert done.stderr == ""  # the lock is not left open either
    assert find_runs(tmp_path) == []


def test_runs_of_the_same_second_get_different_folders(tmp_path):
    writers = [write(tmp_path) for _ in range(20)]
    for writer in writers:
        with writer:
            writer.complete(VALID)
    seconds = {writer.path.name[: len("20260101T000000")] for writer in writers}
    assert len(seconds) < len(writers)
    assert len(find_runs(tmp_path)) == len(writers)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("digits-onnx", "digits-onnx"),
        ("digits-<lambda>", "digits--lambda"),
        ("../../etc/passwd", "etc-passwd"),
        ("a b\nc", "a-b-c"),
        ("v1.2_x", "v1.2_x"),
    ],
)
def test_a_folder_is_named_after_time_and_name_and_stays_in_its_place(tmp_path, name, kept):
    with write(tmp_path, name) as writer:
        writer.complete(VALID)
    assert writer.path.parent == tmp_path
    pattern = rf"\d{{8}}T\d{{6}}(\.\d+)?Z-[.-]*{re.escape(kept)}-[0-9a-f]{{8}}"
    assert re.fullmatch(pattern, writer.path.name)


def test_runs_are_found_oldest_first_also_within_a_second(tmp_path):
    made = []
    for name in "fedcba":
        with write(tmp_path, name) as writer:
            writer.complete(VALID)
        made.append(writer.path)
        time.sleep(0.005)
    assert find_runs(tmp_path) == made


def test_only_folders_with_a_record_are_found(tmp_path):
    path = finished(tmp_path).path
    (tmp_path / "empty").mkdir()
    (tmp_path / RUN_FILE).write_text("{}")
    assert find_runs(tmp_path) == [path]
    assert find_runs(tmp_path / "nowhere") == []
