"""Training with PyTorch: one process, two that share every batch, and the loops that people bring."""

from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.core.registry import BENCHMARKS
from gnomon.results.check import check
from gnomon.systems.pytorch import PyTorchTrainer

torch = pytest.importorskip("torch")
MEASUREMENT = "time-to-train"
EXAMPLES = Path(__file__).parents[2] / "examples" / "training"


def short_digits(**changed):
    """`train-digits` to a target that is reached in a second."""
    benchmark = BENCHMARKS.load("train-digits")
    quality = benchmark.quality.model_copy(update={"reference": 0.8})
    settings = benchmark.settings | {"reference_points": None} | changed
    return benchmark.model_copy(update={"quality": quality, "settings": settings})


def failures(run):
    return {each.name: each.why for each in run.verdict.failures}


def test_a_run_reaches_its_target_and_its_checkpoint_has_the_quality(tmp_path):
    run = gnomon.run(short_digits(), system=PyTorchTrainer(threads=1), runs=3, seed=1, out=tmp_path)
    assert run.verdict.valid, failures(run)
    for trace in run.samples[MEASUREMENT]:
        assert trace.quality >= 0.8
        assert trace.reevaluated == pytest.approx(trace.quality, abs=0.003)
        assert trace.touched_before_s is None
    assert check(run.path).fine


def test_the_same_seed_trains_the_same_model(tmp_path):
    courses = [
        [
            [(each.samples, each.quality, each.loss) for each in trace.evaluations]
            for trace in gnomon.run(
                short_digits(),
                system=PyTorchTrainer(threads=1),
                runs=3,
                seed=5,
                out=tmp_path,
            ).samples[MEASUREMENT]
        ]
        for _ in range(2)
    ]
    assert courses[0] == courses[1]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:1 runs give times")
def test_two_processes_compute_what_one_computes_at_the_same_global_batch(tmp_path):
    """Gloo adds the shares of a gradient in another order: equal up to rounding, which training amplifies."""
    courses = []
    for processes in (1, 2):
        run = gnomon.run(
            short_digits(),
            system="pytorch",
            runs=1,
            seed=5,
            processes=processes,
            out=tmp_path,
        )
        (trace,) = run.samples[MEASUREMENT]
        assert trace.converged, trace.why
        assert trace.world_size == processes
        courses.append(trace)
    assert courses[0].seed == courses[1].seed
    one, two = (trace.evaluations[:3] for trace in courses)
    assert [each.samples for each in one] == [each.samples for each in two]
    assert np.allclose([each.loss for each in one], [each.loss for each in two], rtol=1e-3)
    assert np.allclose([each.quality for each in one], [each.quality for each in two], atol=0.01)


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be shared by 3 processes"):
        gnomon.run("train-digits", processes=3, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_one_clear_line(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    run = gnomon.run(short_digits(), system=PyTorchTrainer(device="cuda"), runs=3, out=tmp_path)
    assert run.status == "aborted"
    assert "there is no CUDA device here" in run.record["aborted_because"]


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(threads):
    with pytest.raises(SettingsError, match="threads must be at least 1"):
        PyTorchTrainer(threads=threads)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:1 runs give times")
@pytest.mark.parametrize("example", ["plain_pytorch.py", "with_lightning.py"])
def test_the_loops_of_the_documentation_are_benchmarks(tmp_path, example):
    if "lightning" in example:
        pytest.importorskip("lightning")
    run = gnomon.run(
        short_digits(),
        system="own-loop",
        system_options={"file": str(EXAMPLES / example)},
        runs=1,
        out=tmp_path,
    )
    assert set(failures(run)) == {"runs"}
    (trace,) = run.samples[MEASUREMENT]
    assert trace.converged, trace.why
    assert trace.reevaluated == pytest.approx(trace.quality, abs=0.003)


def test_without_pytorch_the_extra_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("gnomon.systems.pytorch.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gnomon\[train\]"):
        gnomon.run("train-digits", out=tmp_path)
    assert not list(tmp_path.iterdir())
