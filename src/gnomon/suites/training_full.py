"""The paper's table at full size: official data that a person brings with `--data`, official targets.

Source: Mattson et al., "MLPerf Training Benchmark" (2020), Table 1, and the rules of rounds v0.5 and v0.6. No
reference convergence points ship: nobody has run these here.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.timetotrain.hyperparameters import HyperparameterRule
from gnomon.timetotrain.settings import TrainingBenchmark

STEPS = HyperparameterRule(key="global_batch_size", whole=True, at_least=1)
RATE = HyperparameterRule(key="opt_base_learning_rate", at_least=0.0)
WARM_UP = HyperparameterRule(key="opt_learning_rate_warmup_steps", whole=True, at_least=0)

NCF_ML20M = Benchmark(
    name="train-ncf-ml20m",
    title="Recommendation: NeuMF on MovieLens 20M",
    suite="training",
    task="training-movielens",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="HR@10", reference=0.635, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 2048,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.0005,
        },
        may_vary=(STEPS, RATE),
        evaluate_every_samples=99_307_520,
        max_epochs=20,
        patience=5,
        runs=50,
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5, recommendation (NCF): HR@10 at least 0.635",
)

DLRM_CRITEO = Benchmark(
    name="train-dlrm-criteo",
    title="Recommendation: DLRM on Criteo Terabyte",
    suite="training",
    task="training-criteo",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="AUC", reference=0.8025, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 2048,
            "opt_name": "sgd",
            "opt_base_learning_rate": 1.0,
        },
        may_vary=(STEPS, RATE),
        evaluate_every_samples=209_715_200,
        max_epochs=1,
        patience=20,
        runs=10,
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.7, recommendation (DLRM): AUC at least 0.8025",
)
