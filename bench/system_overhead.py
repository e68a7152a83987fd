"""What the load generator adds to a real model's latency: ONNX Runtime bare, and under SingleStream.

    python bench/system_overhead.py [--rounds 200] [--json system_overhead.json]

Bare means a loop that calls the session on inputs that lie ready and reads the clock around each call. The
same session, inputs and order of samples are used for both, a short while each, in turn, in many rounds.
Two models: the shipped digits model, whose latency of some 15 µs is the hardest case there is, and a
convolutional network made here that takes a millisecond or two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from machine import describe_machine
from onnx import TensorProto, helper, numpy_helper

from gnomon.core.task import DataSource, Task
from gnomon.loadgen.measure import measure
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import Scenario, Settings
from gnomon.systems.onnx import OnnxSystem
from gnomon.tasks.digits import Digits

SAMPLES = 256


class Images(Task):
    """Random images for a larger network; only time is measured on them."""

    name = "images"
    metric = "none"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images = np.random.default_rng(0).random((SAMPLES, 3, 48, 48), dtype=np.float32)

    def __len__(self) -> int:
        return SAMPLES

    def source(self) -> DataSource:
        return DataSource("random images", official=False, sha256="")

    def inputs(self, samples):
        return self._images[samples]

    def score(self, samples, outputs):
        return 1.0

    def model(self, format):  # noqa: A002 - the interface
        return self._path


def write_network(path: Path) -> None:
    """Six 3x3 convolutions of 32 channels over 48x48 images."""
    rng = np.random.default_rng(0)
    nodes, weights, last, channels = [], [], "image", 3
    for layer in range(6):
        shape = (32, channels, 3, 3)
        weights.append(
            numpy_helper.from_array(
                (rng.standard_normal(shape) * 0.1).astype(np.float32), f"w{layer}"
            )
        )
        nodes.append(helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        last, channels = f"r{layer}", 32
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 48, 48])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 32, 1, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())


def bare_ns(session: onnxruntime.InferenceSession, ready: list, order: np.ndarray) -> np.ndarray:
    """Latency of each call of the bare session."""
    names, run, clock = [session.get_outputs()[0].name], session.run, time.perf_counter_ns
    taken = []
    for fed in [ready[sample] for sample in order.tolist()]:
        begin = clock()
        run(names, fed)
        taken.append(clock() - begin)
    return np.array(taken)


def under_load_ns(system: OnnxSystem, task: Task, settings: Settings) -> np.ndarray:
    """Latency of each query of a SingleStream test."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(system, task, settings, Path(folder))
    assert not measured.faults
    return measured.samples.latency_ns


def compare(task: Task, queries: int, rounds: int) -> list[tuple[float, float]]:
    """By round: median latency bare and under load, in µs, of one session; which comes first takes turns."""
    settings = Settings(
        scenario=Scenario.SINGLE_STREAM,
        total_sample_count=len(task),
        performance_sample_count=len(task),
        min_duration_ns=0,
        min_query_count=queries,
    )
    (plan_of_test,) = plan(settings)
    order = plan_of_test.samples(0, queries)[:, 0]
    system = OnnxSystem()
    system.load(task, np.arange(len(task)))
    session = system._session  # the very one that is measured under load
    feed = session.get_inputs()[0].name
    ready = [{feed: task.inputs(np.array([sample]))} for sample in range(len(task))]
    sides = {
        "bare": lambda: bare_ns(session, ready, order),
        "loaded": lambda: under_load_ns(system, task, settings),
    }
    pairs = []
    for number in range(rounds):
        names = list(sides) if number % 2 else list(reversed(sides))
        found = {name: float(np.median(sides[name]())) / 1e3 for name in names}
        pairs.append((found["bare"], found["loaded"]))
    system.close()
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.onnx"
        write_network(network)
        rounds = {
            "digits": compare(Digits(), 1_000, arguments.rounds),
            "network": compare(Images(network), 20, arguments.rounds),
        }
    rows = []
    for name, pairs in rounds.items():
        bare, loaded = np.array(pairs).T
        added = 100 * (loaded / bare - 1)
        rows.append(
            {
                "model": name,
                "bare_us": statistics.median(bare),
                "under_load_us": statistics.median(loaded),
                "added_percent": statistics.median(added),
                "quartiles_percent": np.percentile(added, [25, 75]).tolist(),
                "rounds_percent": added.tolist(),
            }
        )
    machine = describe_machine()
    print(machine["text"])
    print(
        f"{'model':<10}{'bare p50 (µs)':>16}{'SingleStream p50 (µs)':>24}{'added':>10}   half of the rounds"
    )
    for row in rows:
        low, high = row["quartiles_percent"]
        spread = f"{low:+.2f} to {high:+.2f} %"
        print(
            f"{row['model']:<10}{row['bare_us']:>16.2f}{row['under_load_us']:>24.2f}"
            f"{row['added_percent']:>+9.2f}%   {spread}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "models": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
