"""The Training suite: time to a quality, for one area each of the field's suite, small enough for a laptop.

Targets are set from the distributions that `docs/training.md` shows: below the plateau, and evaluated often
enough within epochs that the time to them can be told apart.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.timetotrain.hyperparameters import HyperparameterRule
from gnomon.timetotrain.settings import TrainingBenchmark

STEPS = HyperparameterRule(key="global_batch_size", whole=True, at_least=1)
WARM_UP = HyperparameterRule(key="opt_learning_rate_warmup_steps", whole=True, at_least=0)
RATE_OF_STEPS = HyperparameterRule(
    key="opt_base_learning_rate", scales_with="global_batch_size", power=0.5, tolerance=0.25
)
"""The reference points' own learning rates follow the square root of the batch size."""

DIGITS = Benchmark(
    name="train-digits",
    title="Handwritten digits, trained",
    suite="training",
    task="training-digits",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.97, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 64,
            "opt_name": "sgd",
            "opt_base_learning_rate": 0.07,
            "opt_sgd_momentum": 0.9,
        },
        may_vary=(STEPS, RATE_OF_STEPS),
        evaluate_every_samples=320,
        max_epochs=40,
        patience=60,
        runs=5,
        reference_points="train-digits.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training rules, image classification, on data that ships",
)
