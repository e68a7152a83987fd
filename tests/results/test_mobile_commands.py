"""The commands on results, with their exit codes and what they print."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from gnomon.cli import mobile_results
from gnomon.cli.main import main
from gnomon.core.errors import SettingsError, UsageError
from gnomon.core.run import Run
from gnomon.results.mobile_file import read_result_file
from gnomon.results.mobile_history import History
from gnomon.results.mobile_rows import CHECKED, CLAIMED, MEASURED
from gnomon.results.mobile_table import cells_of
from tests.results.mobile_sessions import IPHONE, browser_run

SESSION = "7b6c9f1e-6f0b-4f0e-9d63-0d4a3c1e2b5a"
OTHER = "0f0e9d63-6f0b-4f0e-9d63-0d4a3c1e2b5a"
PUBLISHED = Path(__file__).parent / "published_mobile" / "extended_result_unittest.json"

group = typer.Typer()
for name in ("results", "export", "share", "audit"):
    group.command(name)(getattr(mobile_results, name))
group.command("import")(mobile_results.import_)


def call(*arguments: object):
    return CliRunner().invoke(
        group, [str(argument) for argument in arguments], catch_exceptions=False
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    browser_run(out)
    browser_run(out, OTHER, IPHONE, latency_ns=2_000_000)
    return out


def run_of(out: Path, session: str) -> Run:
    runs = (Run.open(path) for path in sorted(out.glob("*/run.json")))
    return next(run for run in runs if run.record["session"] == session)


def test_results_are_a_table_json_or_csv(out):
    table = call("results", "--out", out)
    assert "Pixel 8" in table.output
    assert "semi-valid" not in table.output
    told = json.loads(call("results", "--out", out, "--json", "--device", "iphone").output)
    assert {row["platform"] for row in told["results"]} == {"ios"}
    rows = list(csv.DictReader(io.StringIO(call("results", "--out", out, "--csv").output)))
    assert len(rows) == 4


def test_an_empty_history_says_what_makes_one(tmp_path):
    assert "gnomon run mobile-classification" in call("results", "--out", tmp_path).output


@pytest.mark.parametrize("kind", ["does not exist", "is no folder"])
@pytest.mark.parametrize("how", [(), ("--json",), ("--csv",)])
def test_a_folder_of_results_that_is_none_is_a_mistake_in_one_line(tmp_path, capsys, kind, how):
    place = tmp_path / "elsewhere"
    if kind == "is no folder":
        place.write_text("a file")
    with pytest.raises(SystemExit) as ended:
        main(["mobile", "results", "--out", str(place), *how])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err == f"gnomon: {place} {kind}: give the folder that runs are in with --out\n"


@pytest.mark.parametrize("source", [MEASURED, CHECKED, CLAIMED])
def test_the_time_is_whole_at_eighty_columns_however_long_the_names_are(out, source):
    history = History(out)
    history.refresh()
    long = {
        "device": "Samsung Galaxy S24 Ultra (SM-S928B), Snapdragon 8 Gen 3",
        "title": "Image classification, offline and in a single stream",
        "metric": "Top-1 classification accuracy",
        "throughput": 123_456_789.0,
        "p90_ns": None,
        "grade": "semi-valid",
        "rules": "submission",
        "source": source,
    }
    rows = [replace(row, **long) for row in history.rows()]
    text = io.StringIO()
    Console(file=text, width=80).print(mobile_results._table(rows))
    lines = text.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    for row in rows:
        assert cells_of(row).when in text.getvalue()
    for part in ("semi-valid,", "submission", *source.split(", ")):
        assert part in text.getvalue()


def test_export_takes_a_file_or_a_folder(out, tmp_path):
    file = tmp_path / "mine" / "result.json"
    assert call("export", SESSION, "-o", file, "--out", out).output.strip() == str(file)
    assert json.loads(file.read_text())["meta"]["uuid"]


def test_two_ways_to_print_are_one_too_many(out):
    with pytest.raises(SettingsError, match="give one"):
        call("results", "--json", "--csv", "--out", out)


def test_export_writes_the_file_of_a_session(out, tmp_path):
    answer = call("export", SESSION, "-o", tmp_path, "--out", out)
    assert answer.exit_code == 0
    result = read_result_file(Path(answer.output.strip()))
    assert result.meta.uuid == SESSION
    assert len(result.results) == 2


def test_runs_of_two_devices_are_no_session(out, tmp_path):
    with pytest.raises(UsageError, match="one device"):
        call("export", SESSION, OTHER, "-o", tmp_path, "--out", out)


def test_what_is_shared_can_be_imported_and_is_recomputed(out, tmp_path):
    packed = tmp_path / "session.zip"
    run = run_of(out, SESSION)
    assert call("share", run.id, "-o", packed, "--out", out).exit_code == 0
    theirs = tmp_path / "theirs"
    answer = call("import", packed, "--out", theirs)
    assert answer.exit_code == 0
    assert "imported, raw samples checked" in answer.output
    assert "was here already" in call("import", packed, "--out", theirs).output
    again = call("share", SESSION, "-o", tmp_path / "again.zip", "--out", theirs)
    assert again.exit_code == 0
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_an_edited_share_exits_with_1_and_names_the_figure(out, tmp_path):
    import zipfile

    packed, forged = tmp_path / "session.zip", tmp_path / "forged.zip"
    call("share", SESSION, "-o", packed, "--out", out)
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(forged, "w") as copy:
        for entry in source.namelist():
            data = source.read(entry)
            if entry == "result.json":
                tree = json.loads(data)
                tree["results"][0]["performance_run"]["throughput"]["value"] *= 2
                data = json.dumps(tree).encode()
            copy.writestr(entry, data)
    answer = call("import", forged, "--out", tmp_path / "theirs")
    assert answer.exit_code == 1
    assert "performance_run.throughput.value" in answer.output
    assert not list((tmp_path / "theirs").rglob("run.json"))


def test_a_bare_file_is_a_claim(tmp_path):
    answer = call("import", PUBLISHED, "--out", tmp_path, "--json")
    assert json.loads(answer.output)["source"] == "imported, claimed only"


@pytest.fixture(scope="module")
def tried(tmp_path_factory) -> Run:
    """The run of `SESSION` measured once more."""
    return browser_run(tmp_path_factory.mktemp("tries"), "3c1e2b5a-6f0b-4f0e-9d63-0d4a0f0e9d63")


def test_an_audit_exits_by_its_verdict(out, tried):
    run, slow = run_of(out, SESSION), run_of(out, OTHER)
    good = call("audit", run.id, tried.path, "--out", out)
    assert good.exit_code == 0
    assert "100.0 % of the claim" in good.output
    bad = call("audit", run.id, slow.id, "--out", out, "--json")
    assert bad.exit_code == 1
    told = json.loads(bad.output)
    assert {check["name"] for check in told["checks"] if not check["passed"]} == {
        "same_setup",
        "reproduced",
    }
    assert call("audit", run.id, slow.id, "--repeats", "--out", out).exit_code == 1


def test_a_claim_may_be_a_result_file(out, tried, tmp_path):
    path = Path(call("export", SESSION, "-o", tmp_path, "--out", out).output.strip())
    answer = call("audit", path, tried.path, "--out", out)
    assert answer.exit_code == 0, answer.output
    with pytest.raises(UsageError, match="session that is claimed"):
        call("audit", path, run_of(out, SESSION).id, "--out", out)
    with pytest.raises(UsageError, match="try what is claimed"):
        call("audit", PUBLISHED, tried.path, "--out", out)
