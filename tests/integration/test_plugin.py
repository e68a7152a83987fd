"""A plug-in package of exactly CONTRIBUTING.md's examples: built, installed by pip, run as a user would.

What the document shows is what is tested: code, registration and command are read out of it.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from gnomon.core.run import find_runs
from gnomon.core.task import Task

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ORIGIN = "gnomon-plugin-of-the-handbook"
PYPROJECT = f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{ORIGIN}"
version = "1.0"
dependencies = ["gnomon"]

[tool.hatch.build.targets.wheel]
packages = ["my_package"]

"""


def blocks(language):
    """The fenced blocks of this language in CONTRIBUTING.md, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)


def module_files():
    """By path: the Python blocks that say which file they are."""
    named = (re.match(r"# (\S+\.py)\n", block) for block in blocks("python"))
    return {match[1]: block for match, block in zip(named, blocks("python"), strict=True) if match}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that pip installed the plug-in into."""
    source = tmp_path_factory.mktemp("source")
    (source / "pyproject.toml").write_text(PYPROJECT + "\n".join(blocks("toml")))
    for path, code in module_files().items():
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(code)
    site = tmp_path_factory.mktemp("site")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", site, source],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    return site


def command_with(site, folder, *arguments, module="gnomon.cli.main"):
    """The command line in this folder, where the plug-in is installed."""
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "TERM": "dumb"},
    )


@pytest.fixture
def with_plugin(site, tmp_path):
    """The command line, in a fresh folder, where the plug-in is installed."""
    return functools.partial(command_with, site, tmp_path)


@pytest.fixture(scope="module")
def listed(site, tmp_path_factory):
    """What `gnomon list` shows: rows of benchmarks and of systems, by name."""
    done = command_with(site, tmp_path_factory.mktemp("list"), "list", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return [{row["name"]: row for row in said[kind]} for kind in ("benchmarks", "systems")]


@pytest.fixture(scope="module")
def contract(site, tmp_path_factory):
    """What the contract's test says where the plug-in is installed: one line a test."""
    options = (
        "-c",
        ROOT / "pyproject.toml",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=no",
        "-rA",
        "-n",
        "0",
    )
    chosen = ("-k", "[parity] or [sklearn]")
    folder = tmp_path_factory.mktemp("contract")
    tests = ROOT / "tests/test_contract.py"
    done = command_with(site, folder, tests, *options, *chosen, module="pytest")
    lines = re.findall(r"^(?:PASSED|FAILED|ERROR) .*$", done.stdout, re.MULTILINE)
    assert lines, done.stdout + done.stderr
    return lines


def require_checked(with_plugin, done, tmp_path):
    """The run that was just made: its exit code, record and recomputation say the same."""
    assert done.returncode in (0, 1), done.stderr
    said = json.loads(done.stdout)
    assert said["status"] == "complete", said
    assert said["verdict"]["valid"] == (done.returncode == 0)
    (path,) = find_runs(tmp_path / "runs")
    assert tmp_path / said["path"] == path
    checked = with_plugin("check", "--json")
    again = json.loads(checked.stdout)
    assert again["disagreements"] == []
    assert again["verdict"]["valid"] == said["verdict"]["valid"]
    assert again["results"] == said["result"]
    assert checked.returncode == done.returncode
    return said


def failures(said):
    return {check["name"] for check in said["verdict"]["checks"] if not check["passed"]}


def test_the_document_shows_a_system_and_a_benchmark_with_their_registration():
    assert list(module_files()) == ["my_package/sklearn_system.py", "my_package/parity.py"]
    groups = re.findall(r'entry-points\."(gnomon\.\w+)"', "".join(blocks("toml")))
    assert groups == ["gnomon.systems", "gnomon.tasks", "gnomon.benchmarks"]


def test_the_parts_of_a_plug_in_are_listed_with_the_package_they_come_from(listed):
    benchmarks, systems = listed
    assert benchmarks["parity"]["from"] == systems["sklearn"]["from"] == ORIGIN
    assert benchmarks["parity"]["title"] == "Parity of integers"
    assert systems["sklearn"]["what"] == "A scikit-learn classifier."
    assert benchmarks["digits"]["from"] == systems["null"]["from"] == "gnomon"
    assert not any("error" in row for row in (*benchmarks.values(), *systems.values()))


def test_a_benchmark_that_leaves_its_scenarios_to_the_protocol_is_listed_with_them(listed):
    benchmarks, _ = listed
    assert benchmarks["parity"]["scenarios"] == benchmarks["digits"]["scenarios"]


@pytest.mark.slow
def test_the_benchmark_of_a_plug_in_runs_and_its_run_checks_out(with_plugin, listed, tmp_path):
    benchmarks, _ = listed
    on_null = benchmarks["parity"]["default_system"] == "null"
    smaller = ("-s", "max_batch_size=8") if on_null else ()  # or it answers 30 million a second
    done = with_plugin("run", "parity", "--quick", *smaller, "--no-report", "--json")
    said = require_checked(with_plugin, done, tmp_path)
    assert set(said["result"]) == {"single-stream", "offline", "accuracy"}
    assert said["result"]["accuracy"]["sample_count"] == 100
    assert not said["verdict"]["comparable"]
    assert failures(said) <= {"quality"}


@pytest.mark.parametrize("name", ["parity", "sklearn"])
def test_a_plug_in_keeps_the_contract_of_everything_that_is_registered(contract, name):
    """The document promises that the contract's test is run over every plug-in."""
    broken = [line for line in contract if not line.startswith("PASSED")]
    assert [line for line in broken if f"[{name}]" in line] == []


def test_the_system_of_a_plug_in_is_measured_by_the_command_in_the_document(with_plugin, tmp_path):
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32).reshape(len(digits.images), -1)
    model = KNeighborsClassifier(1).fit(images[:1000], digits.target[:1000])
    joblib.dump(model, tmp_path / "digits.joblib")
    (command,) = re.findall(r"`gnomon (run digits --system sklearn [^`]*)`", CONTRIBUTING)
    shorter = ("--quick", "--scenario", "offline", "--no-report", "--json")
    done = with_plugin(*shlex.split(command), *shorter)
    said = require_checked(with_plugin, done, tmp_path)
    assert failures(said) <= {"quality"}
    inputs, labels = images[1000:], digits.target[1000:]
    assert said["result"]["accuracy"]["quality"] == pytest.approx(model.score(inputs, labels))


def test_without_its_model_the_system_says_what_it_needs_in_one_line(with_plugin):
    done = with_plugin("run", "digits", "--system", "sklearn")
    assert done.returncode == 2
    assert "model" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_task_in_the_docstring_of_the_interface_scores_its_own_answers_from_a_log():
    code = textwrap.dedent(Task.__doc__.split("A whole task can be this small:")[1])
    space = {"np": np}
    exec(f"from gnomon import DataSource, Task\n{code}", space)
    task = space["Parity"]()
    samples = np.arange(len(task))[::-1]
    answers = task.inputs(samples) % 2
    assert task.score(samples, answers) == 1.0
    logged = [task.decode(task.encode(answer)) for answer in answers]
    assert task.score(samples, logged) == 1.0
