"""Shares: packed, taken in, recomputed; edits found; hostile zips refused."""

import json
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from gnomon.core.errors import DataError, UsageError
from gnomon.core.run import Run
from gnomon.results import mobile_share
from gnomon.results.mobile_history import History
from gnomon.results.mobile_rows import CHECKED, CLAIMED
from gnomon.results.mobile_share import import_file, share
from gnomon.results.mobile_table import cells_of
from tests.results.mobile_sessions import browser_run

PUBLISHED = Path(__file__).parent / "published_mobile" / "extended_result_unittest.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return browser_run(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory) -> Path:
    return share([run], tmp_path_factory.mktemp("share") / "session.zip")


def edited(packed: Path, target: Path, change) -> Path:
    """A copy of the share with `change(name, data)` in the place of each file; None leaves one out."""
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = change(name, source.read(name))
            if data is not None:
                copy.writestr(name, data)
    return target


def changed_json(name: str, change):
    """Edits one JSON file of a share."""

    def edit(found: str, data: bytes) -> bytes:
        if not found.endswith(name):
            return data
        tree = json.loads(data)
        change(tree)
        return json.dumps(tree).encode()

    return edit


def test_a_share_comes_in_recomputed_and_has_its_own_place_in_the_history(packed, run, tmp_path):
    found = import_file(packed, tmp_path)
    assert (found.source, found.runs, found.differences) == (CHECKED, (run.id,), ())
    history = History(tmp_path)
    assert history.refresh() == ()
    rows = history.rows()
    assert {row.source for row in rows} == {CHECKED}
    assert [row.run for row in rows] == [run.id] * 2
    folder = history.run_folder(run.id)
    assert Run.open(folder).samples["single-stream"] is not None
    assert import_file(packed, tmp_path).known == (run.id,)
    history.refresh()
    assert len(history.rows()) == 2


def test_deleting_the_index_loses_no_import(packed, tmp_path):
    import_file(packed, tmp_path)
    import_file(PUBLISHED, tmp_path)
    history = History(tmp_path)
    history.refresh()
    before = history.rows()
    (tmp_path / ".mobile" / "history.sqlite3").unlink()
    again = History(tmp_path)
    again.refresh()
    assert again.rows() == before
    assert {row.source for row in before} == {CHECKED, CLAIMED}


def test_a_session_that_was_measured_here_is_not_taken_in_twice(packed, run):
    found = import_file(packed, run.path.parent)
    assert (found.runs, found.known) == ((), (run.id,))


def test_the_same_runs_give_the_same_bytes_without_report_and_lock(packed, run, tmp_path):
    (run.path / "report.html").write_text("<script>alert(1)</script>")
    again = share([run], tmp_path / "again.zip")
    (run.path / "report.html").unlink()
    assert again.read_bytes() == packed.read_bytes()
    names = zipfile.ZipFile(again).namelist()
    assert "result.json" in names
    assert f"runs/{run.id}/single-stream/samples.parquet" in names
    assert not any(name.endswith(("report.html", "lock")) for name in names)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (
            lambda tree: tree["results"][0]["performance_run"]["throughput"].update(value=9999.0),
            "performance_run.throughput.value is 9999.0",
        ),
        (
            lambda tree: tree["results"][1]["accuracy_run"]["accuracy"].update(normalized=1.0),
            "accuracy_run.accuracy.normalized is 1.0",
        ),
        (
            lambda tree: tree["results"][0]["performance_run"]["loadgen"].update(latency90=1e-9),
            "latency90",
        ),
        (
            lambda tree: tree["environment_info"]["value"]["android"].update(model_name="Better"),
            "Better",
        ),
        (lambda tree: tree["results"].pop(), "result.json does not"),
        (lambda tree: tree["results"].append(tree["results"][0]), "of no run in the share"),
    ],
)
def test_a_result_file_edited_by_hand_is_found_out(packed, tmp_path, change, word):
    forged = edited(packed, tmp_path / "forged.zip", changed_json("result.json", change))
    found = import_file(forged, tmp_path / "runs")
    assert any(word in line for line in found.differences), found.differences
    assert found.runs == ()
    history = History(tmp_path / "runs")
    history.refresh()
    assert history.rows() == []


def test_a_stand_in_cannot_be_claimed_as_official_data(packed, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        tree = json.loads(archive.read("result.json"))
    claim, history = tmp_path / "claim.json", History(tmp_path / "runs")

    def claimed():
        claim.write_text(json.dumps(tree))
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        import_file(claim, tmp_path / "runs")
        history.refresh()
        return history.rows()

    assert not any(row.official for row in claimed())
    for entry in tree["results"]:
        for test in (entry["performance_run"], entry["accuracy_run"]):
            test["dataset"]["name"] = "ImageNet"
        for setting in entry["backend_settings"]["extra_settings"]:
            if setting["id"] == "grade":
                setting["value"] = "beyond all others"
    rows = claimed()
    assert not any(row.official for row in rows)
    assert {row.grade for row in rows} == {"valid"}
    for entry in tree["results"]:
        entry["backend_settings"]["extra_settings"] = []
    assert {cells_of(row).data for row in claimed()} == {"official data, as claimed"}


def test_a_run_record_edited_by_hand_is_found_out(packed, tmp_path):
    def faster(record):
        record["measurements"]["single-stream"]["result"]["latency"]["p90_ns"] = 1000

    forged = edited(packed, tmp_path / "forged.zip", changed_json("run.json", faster))
    found = import_file(forged, tmp_path / "runs")
    assert any("single-stream" in line and "p90_ns" in line for line in found.differences)


def test_better_answers_than_were_given_are_found_out(packed, tmp_path):
    def change(log):
        first, second = log[0], next(entry for entry in log if entry["data"] != log[0]["data"])
        first["data"] = second["data"]

    forged = edited(
        packed, tmp_path / "forged.zip", changed_json("accuracy/mlperf_log_accuracy.json", change)
    )
    found = import_file(forged, tmp_path / "runs")
    assert any("accuracy" in line for line in found.differences), found.differences


def hostile(tmp_path: Path, name: str, data: bytes = b"x", mode: int = 0o644) -> Path:
    path = tmp_path / "hostile.zip"
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, data)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/etc/passwd",
        "runs/../../outside",
        "runs/a/../../../outside",
        "runs\\..\\outside",
        "C:/outside",
        "runs/a/.hidden",
        "runs//a/b",
        "runs/a",
        "other.json",
        "runs/a/b/c/d/e/f/g",
        "runs/a/b\x07",
    ],
)
def test_paths_that_no_share_has_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="no share has") as refused:
        import_file(hostile(tmp_path, name), tmp_path / "runs")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("outside*"))
    assert not list((tmp_path / "runs").rglob("unpacking*"))


def test_links_are_refused(tmp_path):
    with pytest.raises(DataError, match="no share has"):
        import_file(hostile(tmp_path, "runs/a/b", b"/etc", stat.S_IFLNK | 0o777), tmp_path / "runs")


def test_what_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gnomon.results.mobile_share.MOST_BYTES", 1 << 20)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("result.json", b"0" * (8 << 20))
    with pytest.raises(DataError, match="not unpacked"):
        import_file(path, tmp_path / "runs")


def test_reports_that_come_in_are_thrown_away(packed, run, tmp_path):
    with zipfile.ZipFile(shutil.copy(packed, tmp_path / "more.zip"), "a") as archive:
        archive.writestr(f"runs/{run.id}/report.html", "<script>alert(1)</script>")
    import_file(tmp_path / "more.zip", tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("report.html"))


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.99])
def test_a_damaged_zip_is_refused_in_one_line(packed, tmp_path, place):
    data = bytearray(packed.read_bytes())
    start = int(place * len(data))
    data[start : start + 60] = b"\x00" * len(data[start : start + 60])
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(DataError) as refused:
        import_file(tmp_path / "damaged.zip", tmp_path / "runs")
    assert "\n" not in str(refused.value)


def test_runs_of_other_suites_have_no_place_in_a_share(digits_run, packed, run, tmp_path):
    def another(name, data):
        return (digits_run.path / "run.json").read_bytes() if name.endswith("run.json") else data

    forged = edited(packed, tmp_path / "forged.zip", another)
    with pytest.raises(DataError, match="no run of a mobile benchmark"):
        import_file(forged, tmp_path / "runs")


def test_two_files_of_one_uuid_are_not_mixed_up(tmp_path):
    import_file(PUBLISHED, tmp_path)
    assert import_file(PUBLISHED, tmp_path).known
    other = json.loads(PUBLISHED.read_text())
    other["results"][0]["performance_run"]["throughput"]["value"] = 1.0
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="another result"):
        import_file(tmp_path / "other.json", tmp_path)
    other["meta"]["uuid"] = "../../outside"
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="no UUID"):
        import_file(tmp_path / "other.json", tmp_path)


def test_a_run_given_twice_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match="twice"):
        share([run, run], tmp_path / "twice.zip")


def test_what_is_small_in_a_zip_and_large_in_memory_is_refused(packed, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(mobile_share, "MOST_ROWS", 500)
        with pytest.raises(DataError, match="raw samples, more than 500"):
            import_file(packed, tmp_path)

    def bloat(name, data):
        return data + b" " * (17 << 20) if name.endswith("run.json") else data

    large = edited(packed, tmp_path / "large.zip", bloat)
    with pytest.raises(DataError, match="more than 16 MiB"):
        import_file(large, tmp_path)

    def cut(name, data):
        return data[:40] if name.endswith("samples.parquet") else data

    with pytest.raises(DataError, match="samples that are damaged"):
        import_file(edited(packed, tmp_path / "cut.zip", cut), tmp_path)


def test_conditions_taken_off_the_record_are_missed(packed, tmp_path):
    def tidy(record):
        record["measurements"]["offline"].pop("conditions")
        record["verdict"]["checks"] = [
            found
            for found in record["verdict"]["checks"]
            if found["measurement"] != "offline" or found["name"] in ("answered", "min_queries")
        ]

    forged = edited(packed, tmp_path / "forged.zip", changed_json("run.json", tidy))
    found = import_file(forged, tmp_path / "runs")
    assert any("the raw samples say INVALID" in line for line in found.differences)
