"""The history: made from run folders and imports, filtered, sorted, rebuilt, and safe under two processes."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.core.run import Run
from gnomon.results.mobile_file import result_file_of
from gnomon.results.mobile_history import History, Wanted
from gnomon.results.mobile_rows import CLAIMED, MEASURED
from gnomon.results.mobile_share import import_file
from tests.results.mobile_sessions import IPHONE, browser_run

PUBLISHED = Path(__file__).parent / "published_mobile" / "extended_result_unittest.json"
OTHER_SESSION = "0f0e9d63-6f0b-4f0e-9d63-0d4a3c1e2b5a"


@pytest.fixture(scope="module")
def two_phones(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    browser_run(out)
    browser_run(out, OTHER_SESSION, IPHONE, latency_ns=2_000_000)
    return out


@pytest.fixture
def out(two_phones, tmp_path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(two_phones, tmp_path / "runs"))


def refreshed(out: Path) -> History:
    history = History(out)
    assert history.refresh() == ()
    return history


def test_a_run_is_a_row_for_each_scenario(out):
    rows = refreshed(out).rows(Wanted(device="pixel"))
    assert [row.scenario for row in rows] == ["single-stream", "offline"]
    stream = rows[0]
    assert (stream.device, stream.platform) == ("Pixel 8 (Android 14.0.0)", "android")
    assert stream.browser == "Chrome 130"
    assert stream.setup == "ONNX Runtime Web in Chrome 130, CPU, fp32, 4 threads"
    assert 0.9e6 < stream.p90_ns <= 1e6
    assert stream.throughput == pytest.approx(1e9 / stream.p90_ns)
    assert (stream.verdict, stream.grade, stream.rules) == ("VALID", "valid", "quick")
    assert stream.quality > stream.threshold > 0.9
    assert not stream.official
    assert stream.source == MEASURED
    assert rows[1].p90_ns is None


@pytest.mark.parametrize(
    ("wanted", "platforms"),
    [
        (Wanted(), {"android", "ios"}),
        (Wanted(device="IPHONE"), {"ios"}),
        (Wanted(framework="safari"), {"ios"}),
        (Wanted(framework="onnx"), {"android", "ios"}),
        (Wanted(task="digits"), {"android", "ios"}),
        (Wanted(task="detection"), set()),
        (Wanted(platform="Android"), {"android"}),
        (Wanted(device="%"), set()),
        (Wanted(device="' OR 1=1 --"), set()),
        (Wanted(until="2020-01-01"), set()),
        (Wanted(since="2020-01-01"), {"android", "ios"}),
    ],
)
def test_filters_choose_rows(out, wanted, platforms):
    assert {row.platform for row in refreshed(out).rows(wanted)} == platforms


def test_the_last_day_is_a_whole_day(out):
    history = refreshed(out)
    days = sorted(row.started_at[:10] for row in history.rows())
    assert len(history.rows(Wanted(since=days[0], until=days[-1]))) == 4


def test_rows_are_sorted_and_what_has_no_value_comes_last(out):
    rows = refreshed(out).rows(sort="p90_ns", descending=False)
    assert [row.platform for row in rows[:2]] == ["android", "ios"]
    assert [row.p90_ns is None for row in rows] == [False, False, True, True]


def test_a_day_or_a_column_that_is_none_is_said(out):
    history = refreshed(out)
    with pytest.raises(SettingsError, match="2026-13-01"):
        history.rows(Wanted(since="2026-13-01"))
    with pytest.raises(UnknownNameError, match="p90_ns"):
        history.rows(sort="p90")


def test_looking_where_nothing_was_measured_leaves_nothing_behind(tmp_path):
    assert refreshed(tmp_path / "runs").rows() == []
    assert not (tmp_path / "runs").exists()


def test_new_changed_and_removed_runs_are_seen(out):
    history = refreshed(out)
    third = browser_run(out, answers=False, rows=66)
    assert history.refresh() == ()
    rows = history.of(third.id)
    assert {row.verdict for row in rows} == {"INVALID"}
    assert rows[0].quality is None
    record = json.loads((third.path / "run.json").read_text())
    record["benchmark"]["title"] = "Another title"
    (third.path / "run.json").write_text(json.dumps(record))
    history.refresh()
    assert history.of(third.id)[0].title == "Another title"
    shutil.rmtree(third.path)
    history.refresh()
    assert history.of(third.id) == []


def test_a_run_that_took_no_time_by_its_clock_spoils_no_history(tmp_path):
    run = browser_run(tmp_path)
    file = run.path / "run.json"
    record = json.loads(file.read_text())
    record["measurements"]["single-stream"]["result"]["latency"]["p90_ns"] = 0
    file.write_text(json.dumps(record))
    rows = {row.scenario: row for row in refreshed(tmp_path).rows()}
    assert rows["single-stream"].throughput is None
    assert rows["offline"].throughput > 0
    exported = result_file_of([Run.open(run.path)])
    assert exported.results[0].performance_run.throughput is None


def test_runs_of_other_suites_are_left_out(out, digits_run):
    shutil.copytree(digits_run.path, out / digits_run.path.name)
    assert len(refreshed(out).rows()) == 4


def test_an_index_that_is_deleted_is_made_again(out):
    before = refreshed(out).rows()
    for file in (out / ".mobile").glob("history.sqlite3*"):
        file.unlink()
    assert refreshed(out).rows() == before


@pytest.mark.parametrize("damage", [b"no database at all", b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_damaged_index_is_made_again_with_a_note(out, damage):
    before = refreshed(out).rows()
    for file in (out / ".mobile").glob("history.sqlite3-*"):
        file.unlink()
    (out / ".mobile" / "history.sqlite3").write_bytes(damage)
    history = History(out)
    assert history.rows() == before
    (out / ".mobile" / "history.sqlite3").write_bytes(damage)
    (note,) = History(out).refresh()
    assert "damaged" in note
    assert History(out).rows() == before


def test_an_index_that_lacks_a_table_is_made_again(out):
    before = refreshed(out).rows()
    with sqlite3.connect(out / ".mobile" / "history.sqlite3") as db:
        db.execute("DROP TABLE results")
    assert len(History(out).refresh()) <= 1
    assert History(out).rows() == before


def test_a_damaged_run_is_named_and_the_others_are_there(out):
    broken = out / "20260101T000000.000Z-broken-0"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    (partly := out / "20260101T000000.000Z-partly-0").mkdir()
    (partly / "run.json").write_text(
        json.dumps(
            {
                "schema_version": 1,
                "status": "complete",
                "benchmark": {"suite": "mobile"},
                "protocol": "load",
            }
        )
    )
    history = History(out)
    notes = history.refresh()
    assert len(notes) == 2
    assert all("damaged" in note for note in notes)
    assert len(history.rows()) == 4


def test_a_bare_file_of_the_app_is_a_claim(out):
    import_file(PUBLISHED, out)
    rows = refreshed(out).rows(Wanted(device="ipad"))
    assert {row.source for row in rows} == {CLAIMED}
    by_name = {row.benchmark: row for row in rows}
    assert by_name["image_classification"].throughput == pytest.approx(615.3217579)
    assert by_name["image_classification_offline"].scenario == "offline"
    assert by_name["super_resolution"].metric == "PSNR"
    # This file is of an older app, which kept nothing of the load generator's that says whether it is valid.
    assert {(row.verdict, row.grade) for row in rows} == {("unknown", "")}
    assert not any(row.has_samples for row in rows)
    assert refreshed(out).run_folder(rows[0].run) is None


def test_a_claim_is_graded_as_the_app_colours_it(out, tmp_path):
    file = json.loads(PUBLISHED.read_text())
    flags = {"is_min_duration_met": True, "is_min_query_met": True, "is_early_stopping_met": True}
    for place, off in enumerate(({}, {"is_min_query_met": False}, {"is_min_duration_met": False})):
        loadgen = {"query_count": 9, "latency_mean": 0.001, "latency90": 0.002, **flags, **off}
        file["results"][place]["performance_run"]["loadgen"] = loadgen | {
            "is_result_valid": not off
        }
    (tmp_path / "claim.json").write_text(json.dumps(file))
    import_file(tmp_path / "claim.json", out)
    rows = refreshed(out).rows(Wanted(device="ipad"), sort="started_at", descending=False)
    assert [row.grade for row in rows[:3]] == ["valid", "semi-valid", "invalid"]
    assert [row.p90_ns for row in rows[:3]] == [2e6] * 3


def test_several_processes_may_use_one_index(out):
    shutil.rmtree(out / ".mobile", ignore_errors=True)
    program = (
        "import sys; from gnomon.results.mobile_history import History\n"
        "for _ in range(15):\n"
        "    history = History(sys.argv[1])\n"
        "    assert history.refresh() == (), 'noted'\n"
        "    assert len(history.rows()) == 4\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(out)], stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
