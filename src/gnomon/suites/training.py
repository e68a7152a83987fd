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
            "global_batch_size": 32,
            "opt_name": "sgd",
            "opt_base_learning_rate": 0.05,
            "opt_sgd_momentum": 0.9,
        },
        may_vary=(STEPS, RATE_OF_STEPS),
        evaluate_every_samples=320,
        max_epochs=20,
        patience=25,
        runs=5,
        reference_points="train-digits.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5, image classification, in small",
)

DETECTION = Benchmark(
    name="train-detection",
    title="Digits found in scenes, trained",
    suite="training",
    task="training-scenes",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="mAP@.5", reference=0.90, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 16,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.002,
        },
        may_vary=(STEPS, RATE_OF_STEPS),
        evaluate_every_samples=640,
        max_epochs=12,
        patience=10,
        runs=5,
        reference_points="train-detection.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5, object detection, light weight (SSD), in small",
)

TRANSLATION = Benchmark(
    name="train-translation",
    title="Translation: names of emoji, English to German",
    suite="training",
    task="training-translation",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="BLEU", reference=80.0, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 64,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.003,
            "opt_adam_beta_1": 0.9,
            "opt_adam_beta_2": 0.98,
            "opt_learning_rate_warmup_steps": 50,
        },
        may_vary=(STEPS, RATE_OF_STEPS, WARM_UP),
        evaluate_every_samples=1_024,
        max_epochs=20,
        patience=15,
        runs=10,
        reference_points="train-translation.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5, translation (Transformer), in small",
)

LANGUAGE_MODEL = Benchmark(
    name="train-language-model",
    title="Language model of a source of known entropy",
    suite="training",
    task="training-language-model",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(
        metric="cross-entropy", reference=2.002, factor=1.1, higher_is_better=False
    ),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 32,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.005,
            "opt_adam_beta_1": 0.9,
            "opt_adam_beta_2": 0.99,
            "opt_learning_rate_warmup_steps": 50,
        },
        may_vary=(STEPS, RATE_OF_STEPS, WARM_UP),
        evaluate_every_samples=320,
        max_epochs=6,
        patience=15,
        runs=10,
        reference_points="train-language-model.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v5.1, language model (Llama 3.1), in small, on generated data",
)

NCF = Benchmark(
    name="train-ncf",
    title="Recommendation: NeuMF on generated interactions",
    suite="training",
    task="training-interactions",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="HR@10", reference=0.72, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 1024,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.003,
        },
        may_vary=(STEPS, RATE_OF_STEPS),
        evaluate_every_samples=50_000,
        max_epochs=10,
        patience=8,
        runs=10,
        reference_points="train-ncf.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5, recommendation (NCF), in small",
)

DLRM = Benchmark(
    name="train-dlrm",
    title="Recommendation: DLRM on a generated click log",
    suite="training",
    task="training-clicks",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="AUC", reference=0.815, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 1024,
            "opt_name": "adagrad",
            "opt_base_learning_rate": 0.02,
        },
        may_vary=(STEPS, HyperparameterRule(key="opt_base_learning_rate", at_least=0.0)),
        evaluate_every_samples=15_000,
        max_epochs=2,
        patience=6,
        runs=10,
        reference_points="train-dlrm.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.7, recommendation (DLRM), in small",
)

SELF_PLAY = Benchmark(
    name="train-self-play",
    title="Reinforcement learning: Connect Four on 4x4 by self-play",
    suite="training",
    task="training-self-play",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="best-move rate", reference=0.75, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 128,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.005,
        },
        may_vary=(STEPS, RATE_OF_STEPS),
        evaluate_every_samples=4_096,
        max_epochs=24,
        patience=16,
        runs=10,
        reference_points="train-self-play.rcp.json",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5, reinforcement learning (MiniGo), in small",
)
