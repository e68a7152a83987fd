"""The command `gnomon compare`, on real runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import gnomon
from gnomon.cli.compare import comparison_view
from gnomon.cli.main import main
from gnomon.results.claims import NO_DIFFERENCE


def broken(images):
    raise ValueError("out of order")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    options = {"scenario": "single-stream", "quick": True, "accuracy": False, "out": out}
    return [
        gnomon.run("digits", system="null", **options),
        gnomon.run("digits", system="onnx", **options),
        gnomon.run("digits", system=broken, **options),
    ]


def outcome(capsys, *arguments):
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", *(str(argument) for argument in arguments)])
    return ended.value.code, *capsys.readouterr()


def test_a_table_of_valid_runs_fits_eighty_columns_and_exits_with_0(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, text, _ = outcome(capsys, runs[0].path, runs[1].path)
    assert code == 0
    assert max(len(line) for line in text.splitlines()) <= 80
    words = " ".join(text.split())
    for part in (
        "A null",
        "B onnx",
        "B against A",
        "slower",
        "p90 latency",
        "each side is one run",
    ):
        assert part in words
    assert "single-stream" in text


def test_no_word_of_a_conclusion_is_cut_at_eighty_columns_however_wide_the_values(runs, capsys):
    comparison = gnomon.compare(runs[:2])
    wide = [
        replace(
            row,
            baseline_value=123_456_789.0,
            candidate_value=98_765_432.0,
            unit="samples/s",
            metric="samples per second",
            conclusion=NO_DIFFERENCE,
        )
        for row in comparison.rows
    ]
    console = Console(width=80, highlight=False)
    for part in comparison_view(replace(comparison, rows=tuple(wide))):
        console.print(part)
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    for whole in ("no difference", "seen", "single-stream", "samples per", "second"):
        assert whole in text


def test_json_holds_the_same_comparison(runs, capsys):
    code, text, _ = outcome(capsys, runs[0].path, runs[1].path, "--json")
    assert code == 0
    assert json.loads(text) == json.loads(json.dumps(gnomon.compare(runs[:2]).to_json()))


def test_a_run_that_is_not_valid_is_shown_and_exits_with_1(runs, capsys):
    code, text, _ = outcome(capsys, *(run.path for run in runs))
    assert code == 1
    assert "INVALID" in text
    assert "C against A" in text


def test_runs_are_found_by_the_start_of_their_names(runs, capsys, monkeypatch):
    folder = runs[0].path.parent
    (folder.parent / "runs").symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(folder.parent)
    code, _, _ = outcome(capsys, runs[0].path.name, runs[1].path.name)
    assert code == 0


@pytest.mark.parametrize("chosen", [[], [0], [0, 0]])
def test_a_mistake_is_one_line_and_exits_with_2(runs, capsys, chosen):
    code, text, error = outcome(capsys, *(runs[place].path for place in chosen))
    assert code == 2
    assert text == ""
    assert error.startswith("gnomon: ")
    assert error.count("\n") == 1


def test_large_and_small_ratios_stay_readable_and_narrow():
    from gnomon.cli.compare import _factor

    assert [_factor(value) for value in (1.0349, 9.9, 248.36, 0.00728, 3.2e-6)] == [
        "1.035",
        "9.900",
        "248",
        "0.00728",
        "3.2e-06",
    ]
    assert np.max([len(_factor(value)) for value in np.geomspace(1e-6, 1e6, 200)]) <= 8
