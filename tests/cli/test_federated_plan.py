"""`gnomon federated plan`: what a person sees, in JSON and in one line where something is wrong."""

import json
import re
import subprocess
import sys

import pytest

from gnomon.cli.main import main
from gnomon.fleet.cost import Problem
from gnomon.fleet.device_files import (
    normal_devices,
    read_devices,
    simulated_devices,
    write_devices,
)
from gnomon.fleet.rounds import Bound
from gnomon.fleet.solve import solve

ONE_LINE = re.compile(r"\Agnomon: [^\n]+\n\Z")


@pytest.fixture
def plan(monkeypatch, tmp_path, capsys):
    """`gnomon federated plan …` in this process: exit code, output, errors."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["federated", "plan", *(str(argument) for argument in arguments)])
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def fleet(tmp_path):
    path = tmp_path / "fleet.csv"
    write_devices(normal_devices(30, seed=4), path)
    return path


def rows_of(text):
    """Cells of the table's lines."""
    return [line.split() for line in text.splitlines()]


def test_the_table_has_the_exact_choice_for_each_gamma(plan, fleet):
    code, text, error = plan(fleet, "--gamma", 0.5, "--gamma", 1)
    assert (code, error) == (0, "")
    rows = rows_of(text)
    for gamma, shown in ((0.5, "0.5"), (1.0, "1")):
        best = solve(Problem(read_devices(fleet), gamma, Bound(100, 1)))
        start = [shown, str(best.clients_per_round), str(best.local_iterations)]
        (row,) = (row for row in rows if row[:3] == start and len(row) == 9)
        assert float(row[3]) == pytest.approx(best.duration_s / best.rounds, rel=0.01)
        assert float(row[4]) == pytest.approx(best.energy_j / best.rounds, rel=0.01)
    assert "30 devices, file fleet.csv" in text
    assert "shares of those at K=30, E=1, as epsilon is unknown" in text
    assert "gamma 0.5: kept over all of 10:1000, the choice for 100 costs at most" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_paper_s_fleet_stands_in_and_says_so(plan):
    code, text, error = plan("--clients", 100, "--method", "both")
    assert (code, error) == (0, "")
    words = " ".join(text.split())
    assert "100 devices, simulated: normal, std/mean 0.333, means 0.1 s and 0.001 J" in words
    assert "the paper's alternating search" in words
    assert any(row[:3] == ["0", "100", "8"] and row[-1] == "%" for row in rows_of(text))
    assert "note K=1" in words


def test_json_holds_choices_and_how_they_move(plan, fleet):
    code, text, error = plan(fleet, "--gamma", 0.2, "--ratio", "20:500", "--json")
    assert (code, error) == (0, "")
    told = json.loads(text)
    best = solve(Problem(read_devices(fleet), 0.2, Bound(100, 1)))
    assert told["clients"] == 30
    assert told["ratios"] == [20, 500]
    assert told["choices"][0]["clients_per_round"] == best.clients_per_round
    assert told["choices"][0]["local_iterations"] == best.local_iterations
    (outlook,) = told["outlooks"]
    assert outlook["stretches"][0]["low"] == 20
    assert outlook["stretches"][-1]["high"] == 500
    assert 0 < outlook["regret"] < 1


def test_limits_and_all_constants_give_absolute_totals(plan, fleet):
    write_devices(simulated_devices("equal", 30, 0), fleet)
    constants = ("--a0", 60, "--b0", 2, "--epsilon", 0.1)
    free = json.loads(plan(fleet, "--gamma", 1, *constants, "--json")[1])["choices"][0]
    limit = 0.9 * free["duration_s"]
    code, text, _ = plan(fleet, "--gamma", 1, *constants, "--deadline-s", limit, "--json")
    assert code == 0
    (choice,) = json.loads(text)["choices"]
    assert choice["duration_s"] <= limit
    code, text, _ = plan(fleet, *constants)
    assert "totals are absolute" in text


def test_the_example_can_be_planned_as_it_is_and_is_never_overwritten(plan, tmp_path):
    code, text, error = plan("--example", "mine.csv")
    assert (code, error) == (0, "")
    assert "mine.csv" in text
    assert "gnomon federated plan mine.csv --gamma 0.5" in (tmp_path / "mine.csv").read_text()
    code, text, error = plan("mine.csv", "--gamma", 0.5)
    assert (code, error) == (0, "")
    code, text, error = plan("mine.csv", "--weighted", "--json")
    assert (code, error) == (0, "")
    assert json.loads(text)["clients"] == 6
    code, _, error = plan("--example", "mine.csv")
    assert code == 2
    assert "exists and is left as it is" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which fleet? Give a CSV of devices"),
        (("none.csv",), "cannot read none.csv: No such file"),
        (("fleet.csv", "--clients", 5), "not both"),
        (("fleet.csv", "--gamma", 2), "gamma must be from 0"),
        (("fleet.csv", "--method", "exakt"), "did you mean 'exact'"),
        (("fleet.csv", "--ratio", "9:3"), "starts above its end"),
        (("fleet.csv", "--a0", 5), "b0 is missing"),
        (("fleet.csv", "--deadline-s", 5), "needs a0, b0 and epsilon"),
        (
            ("fleet.csv", "--a0", 5, "--b0", 1, "--epsilon", 0.1, "--deadline-s", 5),
            "is the least possible",
        ),
        (("fleet.csv", "--weighted"), "has no column samples"),
        (("--clients", 5, "--weighted"), "--weighted needs a file"),
        (("fleet.csv", "--gamma", "half"), "half"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_exit_code_2(plan, fleet, arguments, words):
    code, text, error = plan(*arguments)
    assert (code, text) == (2, "")
    assert ONE_LINE.match(error)
    assert words in error


def test_help_says_what_the_letters_mean(plan):
    code, text, _ = plan("--help")
    assert code == 0
    words = " ".join(text.split())
    for part in ("K of the N devices", "E local iterations", "A0/B0", "compute_s", "Dollars"):
        assert part in words


def test_no_large_library_is_loaded_for_a_plan(tmp_path):
    code = (
        "import sys\n"
        "from gnomon.cli.main import main\n"
        "try:\n    main(['federated', 'plan', '--clients', '20'])\n"
        "except SystemExit:\n    pass\n"
        "large = {'scipy', 'plotly', 'pyarrow', 'torch', 'onnxruntime', 'flwr', 'pandas'}\n"
        "print('large:', sorted(large & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "large: []"
