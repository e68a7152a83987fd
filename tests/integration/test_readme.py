"""The README's Python examples, run as they stand: one program after another, in one process.

Only the tests are shorter: `gnomon.run` is given `quick=True`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.core.run import Run

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
BEFORE = """
import functools

import numpy as np

import gnomon as measured

measured.run = functools.partial(measured.run, quick=True)


def my_model(images):
    assert images.dtype == np.float32 and images.shape[1:] == (1, 8, 8), images
    return np.zeros((len(images), 10), dtype=np.float32)


"""
AFTER = """
import json
made.append(str(run.path))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the examples print, the runs that they make, and the latencies of the first."""
    steps = "".join(f"{example}\n{AFTER}" for example in EXAMPLES)
    last = "print(json.dumps({'made': made, 'latencies': [int(x) for x in latencies_ns]}))"
    folder = tmp_path_factory.mktemp("readme")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{BEFORE}made = []\n{steps}\n{last}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, said = done.stdout.splitlines()
    runs = [Run.open(folder / path) for path in json.loads(said)["made"]]
    return printed, runs, json.loads(said)["latencies"]


def test_the_readme_has_the_examples_that_are_run_here():
    assert len(EXAMPLES) == 2
    assert EXAMPLES[0].startswith("import gnomon\n")
    assert "my_model" in EXAMPLES[1]


def test_the_first_example_prints_its_verdict_and_the_99th_percentile(told):
    (printed,), (run, _), _ = told
    assert printed == f"{run.verdict} {run.result['server']['latency']['p99_ns']}"
    assert run.status == "complete"
    assert run.record["system"]["name"] == "onnx"
    assert run.measurements["server"]["settings"]["target_qps"] == 2000


def test_the_latencies_of_the_first_example_are_those_of_every_query(told):
    _, (run, _), latencies = told
    assert latencies == run.samples["server"].latency_ns.tolist()
    assert len(latencies) >= 4000  # two seconds at 2,000 a second


def test_a_model_of_ones_own_is_measured_by_the_second_example(told):
    _, (_, run), _ = told
    assert run.status == "complete"
    assert run.record["system"]["name"] == "predict"
    assert set(run.result) == {"single-stream", "offline", "accuracy"}
    assert [check.name for check in run.verdict.failures] == ["quality"]  # all scores are alike
