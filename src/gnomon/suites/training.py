"""The Training suite: time to a quality, for one area each of the field's suite, small enough for a laptop.

Targets are set from the distributions that `docs/training.md` shows: below the plateau, and evaluated often
enough within epochs that the time to them can be told apart.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.timetotrain.hyperparameters import HyperparameterRule
from gnomon.timetotrain.settings import TrainingBenchmark

MAY_VARY = (
    HyperparameterRule(key="global_batch_size", whole=True, at_least=1),
    HyperparameterRule(key="opt_base_learning_rate"),
    HyperparameterRule(key="opt_learning_rate_warmup_steps", whole=True, at_least=0),
)
"""What the field lets a submission choose for nearly every benchmark: the size of a step."""

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
            "opt_base_learning_rate": 0.05,
            "opt_sgd_momentum": 0.9,
            "opt_weight_decay": 0.0,
            "opt_learning_rate_warmup_steps": 0,
        },
        may_vary=MAY_VARY,
        evaluate_every_samples=320,
        max_epochs=40,
        patience=60,
        runs=5,
    ).model_dump(mode="json"),
    specification="MLPerf Training rules, image classification, on data that ships",
)
