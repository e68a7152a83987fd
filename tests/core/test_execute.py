"""run(): what is refused before a folder exists, how a system's life ends, and what is told on the way."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field

import gnomon
from gnomon import (
    Benchmark,
    ConfigError,
    GnomonError,
    GnomonWarning,
    QualityTarget,
    RunFolderError,
    SettingsError,
    SynchronousSystem,
    SystemFault,
    UnknownNameError,
    UsageError,
)
from gnomon.core.execute import parse_options
from gnomon.core.run import Run, find_runs

ACCURACY_ONLY = {"performance": False}
MINE = {
    "name": "mine",
    "title": "Mine",
    "suite": "mine",
    "task": "digits",
    "protocol": "load",
    "quality": QualityTarget(metric="top-1 accuracy", reference=0.1),
    "default_system": "onnx",
    "settings": {"performance_sample_count": 0},
    "specification": "none: an example",
}


class Scores(SynchronousSystem):
    """Answers digits with equal scores, counts how often it is closed, fails where it is told to."""

    name = "scores"

    def __init__(self, **failing):
        self.failing = failing
        self.loaded = self.closed = 0

    def fail(self, where):
        if where in self.failing:
            raise self.failing[where]

    def describe(self):
        self.fail("describe")
        return {"loaded": self.loaded}

    def load(self, task, samples):
        self.loaded += 1
        self.fail("load")

    def predict(self, samples):
        self.fail("predict")
        return np.zeros((len(samples), 10), dtype=np.float32)

    def close(self):
        self.closed += 1
        self.fail("close")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


def require_one_line(error):
    assert len(str(error.value).splitlines()) == 1


# --- what comes out


def test_a_run_is_returned_as_it_stands_on_disk_and_its_record_can_be_doubted(out):
    system = Scores()
    run = gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    assert run == Run.open(run.path)
    assert run.status == "complete"
    assert run.path.parent == out
    assert run.path.name.split("-")[1:3] == ["digits", "scores"]
    record = run.record
    assert record["gnomon_version"] == gnomon.__version__
    assert record["benchmark"]["name"] == "digits"
    assert record["protocol"] == "load"
    assert record["rules"] == "quick"
    assert record["options"] == {"performance": False}
    assert record["data"]["official"] is False
    assert record["environment"]["cpu"]["logical_cores"] >= 1
    assert record["notes"] == []


def test_a_system_is_described_again_after_it_was_loaded(out):
    run = gnomon.run("digits", system=Scores(), out=out, **ACCURACY_ONLY)
    assert run.record["system"] == {"name": "scores", "description": {"loaded": 1}}


def test_a_benchmark_of_ones_own_needs_no_registration(out):
    run = gnomon.run(Benchmark(**MINE), out=out, **ACCURACY_ONLY)
    assert run.verdict.valid
    assert run.record["system"]["name"] == "onnx"  # the declared default
    assert Benchmark.model_validate(run.record["benchmark"]) == Benchmark(**MINE)


def test_a_callable_is_a_system(out):
    def guess(images):
        return np.zeros((len(images), 10), dtype=np.float32)

    run = gnomon.run("digits", system=guess, out=out, **ACCURACY_ONLY)
    assert run.record["system"]["name"] == "guess"
    assert run.status == "complete"


def test_options_that_are_none_are_left_to_the_benchmark(out):
    run = gnomon.run("digits", system=Scores(), out=out, target_qps=None, **ACCURACY_ONLY)
    assert "target_qps" not in run.record["options"]


def test_an_observer_hears_how_the_run_stands(out):
    heard = []
    gnomon.run("digits", system=Scores(), out=out, observer=heard.append, **ACCURACY_ONLY)
    assert heard
    assert {progress.measurement for progress in heard} == {"accuracy"}
    assert all(0 <= progress.share_done <= 1 for progress in heard)


# --- what is refused before a folder is made


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"benchmark": "digts"}, UnknownNameError, "did you mean 'digits'"),
        ({"system": "onx"}, UnknownNameError, "did you mean 'onnx'"),
        ({"target_pqs": 5}, UnknownNameError, "option 'target_pqs': did you mean 'target_qps'"),
        ({"scenario": "servr"}, UnknownNameError, "did you mean 'server'"),
        ({"rules": "offical"}, UnknownNameError, "did you mean 'official'"),
        ({"benchmark": Benchmark(**MINE | {"task": "digts"})}, UnknownNameError, "task 'digts'"),
        ({"benchmark": Benchmark(**MINE | {"protocol": "laod"})}, UnknownNameError, "'load'"),
        ({"benchmark": Benchmark(**MINE | {"default_system": "onx"})}, UnknownNameError, "'onnx'"),
        (
            {"benchmark": Benchmark(**MINE | {"settings": {}})},
            SettingsError,
            "performance_sample_count",
        ),
        ({"benchmark": 5}, UsageError, "int"),
        ({"system": 5}, SettingsError, "a System or a callable, got int"),
        ({"system": Scores}, SettingsError, "Scores"),
        ({"workers": "many"}, SettingsError, "workers: .*, got 'many'"),
        ({"workers": 0}, SettingsError, "workers: .*, got 0"),
        ({"workers": np.eye(2)}, SettingsError, "workers: "),
        ({"target_qps": "a\nb"}, SettingsError, r"target_qps: .*, got 'a\\nb'"),
        ({"scenario": 5}, SettingsError, "scenario: .*got 5"),
        ({"scenario": "server", "target_qps": -5}, SettingsError, "must be positive, got -5"),
        ({"duration_s": float("nan")}, SettingsError, "duration_s: .*got nan"),
        ({"duration_s": float("inf")}, SettingsError, "duration.*inf"),
        ({"duration_s": 1e300}, SettingsError, "duration"),
        ({"duration_s": -1}, SettingsError, "duration_s: .*greater than 0, got -1"),
        ({"scenario": "offline", "find_peak": True}, SettingsError, "--find-peak means nothing"),
        ({"performance": False, "accuracy": False}, SettingsError, "nothing to measure"),
        ({"config": "nowhere.conf"}, ConfigError, "nowhere.conf cannot be read"),
        (
            {"system": "null", "system_options": {"max_batch": 8}},
            UnknownNameError,
            "max_batch_size",
        ),
        ({"system": "null", "system_options": {"max_batch_size": "x"}}, UsageError, "'x'"),
        ({"system": "onnx", "system_options": {"threads": 0}}, SettingsError, "threads must be"),
        ({"system_options": {"thread": 2}}, UnknownNameError, "did you mean 'threads'"),
        ({"system": Scores(), "system_options": {"threads": 2}}, SettingsError, "given by name"),
        ({"system": len, "system_options": {"threads": 2}}, SettingsError, "given by name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_in_one_line_before_a_folder_is_made(out, asked, kind, words):
    options = ACCURACY_ONLY | asked if "scenario" not in asked else asked
    with pytest.raises(kind, match=words) as error:
        gnomon.run(out=out, **options)
    require_one_line(error)
    assert not out.exists()


def test_an_output_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot write to") as error:
        gnomon.run("digits", system=Scores(), out=tmp_path / "file", **ACCURACY_ONLY)
    require_one_line(error)


class Options(BaseModel):
    """Options of an imaginary protocol."""

    model_config = ConfigDict(extra="forbid")

    rounds: int = Field(default=3, ge=1)
    names: tuple[str, ...] = ()


def test_options_are_read_into_the_model_of_the_protocol():
    assert parse_options(Options, {"rounds": 5, "names": None}) == Options(rounds=5)


def test_the_first_wrong_value_is_named_with_its_place_and_what_was_given():
    with pytest.raises(SettingsError) as error:
        parse_options(Options, {"rounds": 0, "names": ["a", 5]})
    assert str(error.value) == "rounds: input should be greater than or equal to 1, got 0"
    with pytest.raises(SettingsError) as error:
        parse_options(Options, {"names": ["a", 5]})
    assert str(error.value) == "names.1: input should be a valid string, got 5"


def test_an_unknown_option_is_told_before_a_wrong_value():
    with pytest.raises(UnknownNameError, match="did you mean 'rounds'"):
        parse_options(Options, {"rouns": 3, "names": 5})


# --- how a system is made and how its life ends


NEEDY = """
class Needy:
    def __init__(self, model):
        1 / model


class Open:
    def __init__(self, **options):
        raise RuntimeError(f"got {options}")
"""
ASK_NEEDY = """
import sys

import gnomon

asked = [("needy", {"model": 0}), ("needy", {"modle": 0}), ("needy", {}), ("open", {"any": 1})]
for system, options in asked:
    try:
        gnomon.run(system=system, system_options=options, out=sys.argv[1])
    except gnomon.GnomonError as error:
        print(error)
"""


@pytest.fixture
def needy_told(out, tmp_path):
    """What is told when systems of a plug-in are asked for with options that they do not like."""
    (tmp_path / "needy.py").write_text(NEEDY)
    information = tmp_path / "needy-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: needy\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[gnomon.systems]\nneedy = needy:Needy\nopen = needy:Open\n"
    )
    path = (str(tmp_path), os.environ.get("PYTHONPATH"))
    done = subprocess.run(
        [sys.executable, "-c", ASK_NEEDY, str(out)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
    )
    assert not out.exists()
    return done.stdout.splitlines()


def test_what_a_constructor_refuses_or_lacks_is_told_in_one_line(needy_told):
    raised, misspelt, lacking, _ = needy_told
    assert raised == "system 'needy' could not be made: ZeroDivisionError: division by zero"
    assert misspelt == "unknown option of system 'needy': 'modle': did you mean 'model'?"
    assert lacking == "system 'needy' needs model: -s model=VALUE"


def test_a_system_that_takes_any_option_is_given_it(needy_told):
    assert needy_told[3] == "system 'open' could not be made: RuntimeError: got {'any': 1}"


def test_a_system_is_closed_once_after_a_run(out):
    system = Scores()
    gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    assert system.closed == 1


@pytest.mark.parametrize("where", ["load", "predict"])
def test_a_system_that_raises_is_a_fault_on_record_and_is_closed(out, where):
    system = Scores(**{where: RuntimeError("out of\n memory")})
    try:
        run = gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    except GnomonError as error:  # before the clock starts
        told = str(error)
        (path,) = find_runs(out)
        run = Run.open(path)
    else:
        told = run.record["aborted_because"]
    assert "RuntimeError: out of" in told
    assert len(told.splitlines()) == 1
    assert run.status == "aborted"
    assert not run.verdict.valid
    assert system.closed == 1


def test_a_system_that_fails_to_close_is_told_in_one_line(out):
    system = Scores(close=RuntimeError("the device is gone"))
    with pytest.raises(SystemFault, match="RuntimeError: the device is gone") as error:
        gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    require_one_line(error)
    assert system.closed == 1


def test_a_system_that_fails_to_describe_itself_is_told_in_one_line_and_closed(out):
    system = Scores(describe=RuntimeError("no driver"))
    with pytest.raises(SystemFault, match="RuntimeError: no driver") as error:
        gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    require_one_line(error)
    assert system.closed == 1
    assert not out.exists()


@pytest.mark.parametrize("threads", [np.int64(4), Path("model"), {1, 2}], ids=repr)
def test_a_description_that_cannot_be_written_down_is_told_before_a_folder_is_made(out, threads):
    class Odd(Scores):
        def describe(self):
            return {"threads": threads}

    system = Odd()
    with pytest.raises(GnomonError, match=r"threads|describe") as error:
        gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    require_one_line(error)
    assert system.closed == 1
    assert not out.exists()


def test_a_system_is_closed_when_the_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    system = Scores()
    with pytest.raises(RunFolderError):
        gnomon.run("digits", system=system, out=tmp_path / "file", **ACCURACY_ONLY)
    assert system.closed == 1


def test_an_interrupted_run_closes_its_system_and_reads_as_aborted(out):
    system = Scores(load=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        gnomon.run("digits", system=system, out=out, **ACCURACY_ONLY)
    (path,) = find_runs(out)
    run = Run.open(path)
    assert run.status == "aborted"
    assert run.record["aborted_because"] == "interrupted"
    assert system.closed == 1


# --- notes


CONFIG = "*.Offline.mode = 2\n*.Offline.use_token_latencies = 1\ndigits.Offline.target_qps = 500\n"


def test_a_line_of_a_configuration_that_changes_nothing_is_a_warning_and_on_record(out, tmp_path):
    (tmp_path / "user.conf").write_text(CONFIG)
    with pytest.warns(GnomonWarning) as told:
        run = gnomon.run(
            "digits",
            system=Scores(),
            scenario="offline",
            config=tmp_path / "user.conf",
            out=out,
            **ACCURACY_ONLY,
        )
    notes = [str(warning.message) for warning in told]
    assert run.record["notes"] == notes
    assert len(notes) == 2
    assert all(f"user.conf:{line}" in note for line, note in zip((1, 2), notes, strict=True))
    assert all(Path(warning.filename).name == Path(__file__).name for warning in told)


def test_whoever_makes_warnings_errors_gets_no_folder(out, tmp_path):
    (tmp_path / "user.conf").write_text(CONFIG)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GnomonWarning)
        with pytest.raises(GnomonWarning, match=r"user\.conf:1"):
            gnomon.run(
                "digits",
                scenario="offline",
                config=tmp_path / "user.conf",
                out=out,
                performance=False,
            )
    assert not out.exists()


def test_a_run_without_notes_warns_of_nothing(out):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = gnomon.run("digits", system=Scores(), out=out, **ACCURACY_ONLY)
    assert [warning for warning in told if issubclass(warning.category, GnomonWarning)] == []
    assert json.loads((run.path / "run.json").read_text())["notes"] == []


# --- data of one's own, and systems of other protocols


def test_data_for_a_task_that_takes_none_is_told_before_a_folder_is_made(out):
    with pytest.raises(UsageError, match="task 'clicks' has its own data and takes no other"):
        gnomon.run("dlrm", data=out / "mine", out=out)
    assert not find_runs(out)


def test_data_of_ones_own_is_on_record_and_used_again(out, tmp_path):
    from gnomon.results.check import check
    from gnomon.tasks.digits import DATA

    mine = tmp_path / "mine.npz"
    mine.write_bytes((DATA / "digits.npz").read_bytes())
    run = gnomon.run("digits", data=mine, out=out, **ACCURACY_ONLY)
    assert run.record["data_path"] == str(mine)
    assert check(run.path).fine
    mine.unlink()
    with pytest.raises(GnomonError, match="is missing"):
        check(run.path)


def test_a_system_of_another_protocol_is_refused_by_name(out):
    with pytest.raises(SettingsError, match="'simulated' is none that the protocol 'load'"):
        gnomon.run("digits", system="simulated", out=out)
    assert not find_runs(out)
