"""Whole runs of the device protocol, on boards that behave and on boards that do not."""

import contextlib
import json
import shutil
import threading
import time

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import GnomonWarning, SettingsError, UnknownNameError, UsageError
from gnomon.core.run import Run
from gnomon.device import campaign
from gnomon.device.host_meters import rapl_meter
from gnomon.device.record import WINDOWS_FILE, Window, read_windows, write_windows
from gnomon.results.check import check
from gnomon.systems.boards.host import HostBoard
from tests.device.small_run import FEW, ScriptedBoard, run_few


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("serial")
    return run_few(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def copied(finished, tmp_path):
    """A copy that may be spoilt."""
    return Run.open(shutil.copytree(finished.path, tmp_path / finished.path.name))


@contextlib.contextmanager
def counter_of_a_package(root, power_w):
    """A tree as the kernel shows it, whose one counter runs until the end of the block."""
    folder = root / "intel-rapl:0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("100000000000\n")
    start_s, over = time.monotonic(), threading.Event()

    def count():
        # The kernel's files are never read half written.
        (folder / "after").write_text(f"{int(1e6 * power_w * (time.monotonic() - start_s))}\n")
        (folder / "after").replace(folder / "energy_uj")

    def keep_counting():
        while not over.wait(0.002):
            count()

    count()
    thread = threading.Thread(target=keep_counting)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def failures(run):
    return {check.name: check for check in run.verdict.failures}


def test_a_run_times_its_windows_by_the_boards_clock(finished):
    assert finished.status == "complete"
    assert finished.verdict.valid, finished.verdict.failures
    result = finished.result["performance"]
    windows = finished.samples["performance"]
    assert len(windows) == 2
    assert all(window.duration_s >= 1.0 for window in windows)
    assert all(window.iterations >= 10 for window in windows)
    median = np.median([window.iterations / window.duration_s for window in windows])
    assert result["metric"]["value"] == pytest.approx(median)
    assert result["metric"]["value"] == pytest.approx(100, rel=0.2)  # 10 ms an inference
    assert result["latency_ns"] == pytest.approx(1e9 / median, rel=0.01)


def test_a_result_on_stand_in_data_never_looks_official(finished):
    assert not finished.verdict.comparable
    assert "stand-in data" in finished.verdict.remark


def test_a_finished_run_checks_out_and_its_conversation_is_kept(finished):
    assert check(finished.path).fine
    log = (finished.path / "performance" / "log.txt").read_text()
    assert "> infer" in log
    assert "< m-results-[" in log
    assert "> db load 490" in log
    assert "> db 0" not in log  # payloads are left out


def test_a_window_that_was_edited_is_found(copied):
    folder = copied.path / "performance"
    first, *others = read_windows(folder)
    faster = Window(**{**vars(first), "end_us": first.end_us - 200_000})
    write_windows(folder, [faster, *others])
    found = check(copied.path)
    assert not found.fine
    assert "performance" in "".join(found.disagreements)


def test_a_run_that_lost_its_windows_says_so_in_one_line(copied):
    (copied.path / "performance" / WINDOWS_FILE).write_text('[{"sample": 1')
    with pytest.raises(gnomon.GnomonError, match=r"windows\.json cannot be read"):
        check(copied.path)


def test_windows_that_the_rules_find_too_short_are_told_before_and_judged_after(tmp_path):
    with pytest.warns(GnomonWarning, match=r"shorter than the 1 s of quick rules"):
        run = run_few(tmp_path, duration_s=0.2)
    assert set(failures(run)) == {"window_duration"}
    with pytest.warns(GnomonWarning, match="shorter than the 10 s of official rules"):
        run = run_few(tmp_path, duration_s=0.2, rules="official")
    assert set(failures(run)) == {"window_duration", "required"}


def test_too_few_iterations_fail(tmp_path):
    run = run_few(tmp_path, iterations=5, system=ScriptedBoard(inference_s=0.25))
    assert set(failures(run)) == {"iterations"}


def test_a_board_that_is_unplugged_keeps_its_windows_and_is_resumed(tmp_path):
    board = ScriptedBoard()

    def unplug(progress):
        if progress.text.startswith("window 2"):
            board.process.kill()

    run = run_few(tmp_path, system=board, observer=unplug)
    assert run.status == "aborted"
    assert not run.verdict.valid
    assert "unplugged" in run.record["aborted_because"]
    kept = read_windows(run.path / "performance")
    assert len(kept) == 1
    again = gnomon.resume(run.path, system=ScriptedBoard())
    assert again.status == "complete"
    assert again.verdict.valid, again.verdict.failures
    windows = read_windows(run.path / "performance")
    assert windows[0] == kept[0]
    assert len(windows) == 2
    assert check(again.path).fine


def test_a_board_with_another_model_is_not_measured(tmp_path):
    run = run_few(tmp_path, system=ScriptedBoard(model_id="vww01"))
    assert run.status == "aborted"
    assert "has model 'vww01'" in run.record["aborted_because"]
    assert "flash the firmware of kws01" in run.record["aborted_because"]
    assert not run.verdict.valid


def test_a_board_that_resets_in_a_window_is_told(tmp_path):
    run = run_few(tmp_path, system=ScriptedBoard(reset="infer"))
    assert "reset in the middle" in run.record["aborted_because"]
    assert "board" in failures(run)


def test_a_clock_that_runs_backwards_is_refused(tmp_path):
    run = run_few(tmp_path, system=ScriptedBoard(laps=(5_000_000, 4_000_000)))
    assert "backwards" in run.record["aborted_because"]
    assert "performance" not in run.result


def test_nothing_to_measure_and_unknown_names_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(SettingsError, match="nothing is left to measure"):
        run_few(tmp_path, performance=False)
    with pytest.raises(UnknownNameError, match="lpm01a"):
        run_few(tmp_path, energy="lpm01")
    with pytest.raises(SettingsError, match="pass an int8"):
        run_few(tmp_path, model=tmp_path / "missing.tflite")
    with pytest.raises(SettingsError, match="none that the protocol"):
        gnomon.run(FEW, system="null", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_board_that_is_unplugged_while_energy_is_measured_is_told_as_that(tmp_path, monkeypatch):
    """There are windows then, and no samples of the monitor."""
    monkeypatch.setattr(campaign, "monitor_of", lambda _: rapl_meter(tmp_path / "powercap"))
    board = ScriptedBoard()

    def unplug(progress):
        if progress.text.startswith("window 2"):
            board.process.kill()

    options = {"energy": "rapl", "performance": False, "observer": unplug}
    with counter_of_a_package(tmp_path / "powercap", power_w=2.0):
        run = run_few(tmp_path / "runs", system=board, **options)
    assert run.status == "aborted"
    assert "unplugged" in run.record["aborted_because"]
    assert len(read_windows(run.path / "energy")) == 1
    assert {"board", "energy", "windows"} <= set(failures(run))
    assert check(run.path).results["energy"] is None


def test_a_run_is_not_gone_on_with_by_another_model(tmp_path):
    board, model = ScriptedBoard(), tmp_path / "model.tflite"
    model.write_bytes(b"one")

    def unplug(progress):
        if progress.text.startswith("window 2"):
            board.process.kill()

    run = run_few(tmp_path / "runs", system=board, model=model, observer=unplug)
    model.write_bytes(b"another")
    with pytest.raises(UsageError, match="begun with another model"):
        gnomon.resume(run.path, system=ScriptedBoard())
    assert len(read_windows(run.path / "performance")) == 1


def test_an_emulated_board_has_no_energy(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "monitor_of", lambda _: None)
    board = ScriptedBoard()
    board.counts = "instructions"
    with pytest.raises(SettingsError, match="leave out --energy"):
        run_few(tmp_path, system=board, energy="rapl")


def test_an_accuracy_run_goes_on_where_it_stopped(tmp_path):
    pytest.importorskip("ai_edge_litert")
    board, seen, left = HostBoard(), [], []

    def unplug(progress):
        done = int(progress.text.split()[0])
        if done >= 30:
            left.append(done)
            board._process.kill()

    options = {"accuracy": True, "performance": False}
    run = run_few(tmp_path, system=board, observer=unplug, **options)
    assert run.status == "aborted"
    assert [len(run.samples["accuracy"])] == left
    assert {"samples", "board"} <= set(failures(run))
    again = gnomon.resume(
        run.path, system=HostBoard(), observer=lambda each: seen.append(each.text)
    )
    assert seen[0].startswith(f"{left[0] + 1} of")
    assert again.status == "complete"
    assert again.verdict.valid, again.verdict.failures
    assert [each.sample for each in again.samples["accuracy"]] == list(range(1000))
    assert check(again.path).fine


def test_answers_that_cannot_be_scored_fail_the_run_in_words(tmp_path):
    """This board answers two numbers where twelve are due."""
    run = run_few(tmp_path, ScriptedBoard(inference_s=0.0), accuracy=True, performance=False)
    assert run.status == "complete"
    assert "12 classes" in failures(run)["answers"].why
    assert "accuracy" not in run.result


def test_energy_of_a_hosts_meter_is_counted_between_the_windows_ends(tmp_path, monkeypatch):
    """A meter of 2 W: whatever the window's length, an inference costs 2 W times its time."""
    monkeypatch.setattr(campaign, "monitor_of", lambda _: rapl_meter(tmp_path / "powercap"))
    with counter_of_a_package(tmp_path / "powercap", power_w=2.0):
        run = run_few(tmp_path / "runs", energy="rapl", performance=False)
    assert run.verdict.valid, run.verdict.failures
    result = run.result["energy"]
    per_inference_s = np.median(
        [w.duration_s / w.iterations for w in read_windows(run.path / "energy")]
    )
    assert result["metric"]["unit"] == "µJ"
    assert result["metric"]["value"] == pytest.approx(2e6 * per_inference_s, rel=0.1)
    assert check(run.path).fine
    record = json.loads((run.path / "run.json").read_text())
    assert record["measurements"]["energy"]["monitor"]
