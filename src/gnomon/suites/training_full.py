"""The paper's table at full size: official data that a person brings with `--data`, official targets.

Source: Mattson et al., "MLPerf Training Benchmark" (2020), Table 1, and the rules of rounds v0.5 and v0.6. No
reference convergence points ship, and batch normalisation sees how a batch is split, as in the field's own
implementations: several processes do not compute exactly what one does.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.suites.training import STEPS, WARM_UP
from gnomon.timetotrain.hyperparameters import HyperparameterRule
from gnomon.timetotrain.settings import TrainingBenchmark

RATE = HyperparameterRule(key="opt_base_learning_rate", at_least=0.0)
BOUNDARIES = HyperparameterRule(key="opt_learning_rate_decay_boundary_steps")

CIFAR10 = Benchmark(
    name="train-cifar10",
    title="CIFAR-10, ResNet-20",
    suite="training",
    task="training-cifar10",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.90, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 128,
            "opt_name": "sgd",
            "opt_base_learning_rate": 0.1,
            "opt_sgd_momentum": 0.9,
            "opt_weight_decay": 1e-4,
            "opt_learning_rate_decay_schedule": "multistep",
            "opt_learning_rate_decay_boundary_steps": "32000,48000",
            "opt_learning_rate_decay_factor": 0.1,
        },
        may_vary=(STEPS, RATE, BOUNDARIES),
        evaluate_every_samples=49_920,
        max_epochs=165,
        runs=5,
    ).model_dump(mode="json"),
    specification="He et al., CVPR 2016, section 4.2 and table 6: 91.25 %; as MLPerf Training runs it",
)

RESNET50 = Benchmark(
    name="train-resnet50",
    title="ImageNet, ResNet-50 v1.5",
    suite="training",
    task="training-imagenet",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.759, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 256,
            "opt_name": "sgd",
            "opt_base_learning_rate": 0.1,
            "opt_sgd_momentum": 0.9,
            "opt_weight_decay": 1e-4,
            "opt_learning_rate_decay_schedule": "multistep",
            "opt_learning_rate_decay_boundary_steps": "150120,300240,400320",
            "opt_learning_rate_decay_factor": 0.1,
        },
        may_vary=(STEPS, RATE, BOUNDARIES),
        evaluate_every_samples=5_124_096,
        max_epochs=90,
        runs=5,
        log_name="resnet",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.6, image classification: 75.9 % top-1 (v0.5: 74.9 %)",
)

SSD = Benchmark(
    name="train-ssd",
    title="COCO 2017, SSD with ResNet-34",
    suite="training",
    task="training-coco",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="mAP", reference=0.23, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 32,
            "opt_name": "sgd",
            "opt_base_learning_rate": 0.0025,
            "opt_sgd_momentum": 0.9,
            "opt_weight_decay": 5e-4,
            "opt_learning_rate_warmup_steps": 300,
            "opt_learning_rate_decay_schedule": "multistep",
            "opt_learning_rate_decay_boundary_steps": "160000,200000",
            "opt_learning_rate_decay_factor": 0.1,
        },
        may_vary=(STEPS, RATE, WARM_UP, BOUNDARIES),
        evaluate_every_samples=586_330,
        max_epochs=70,
        runs=5,
        log_name="ssd",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.6, object detection, light weight: 23.0 mAP (v0.5: 21.2)",
)

TRANSFORMER = Benchmark(
    name="train-transformer",
    title="Translation: Transformer (big) on WMT",
    suite="training",
    task="training-wmt-transformer",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="BLEU", reference=25.0, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 128,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.000494,
            "opt_adam_beta_1": 0.9,
            "opt_adam_beta_2": 0.997,
            "opt_adam_epsilon": 1e-9,
            "opt_learning_rate_warmup_steps": 16000,
            "opt_learning_rate_decay_schedule": "inverse-square-root",
        },
        may_vary=(STEPS, RATE, WARM_UP),
        evaluate_every_samples=4_500_000,
        max_epochs=15,
        patience=5,
        runs=10,
        log_name="transformer",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.5 and v0.6, translation (Transformer): 25.0 BLEU, uncased",
)

GNMT = Benchmark(
    name="train-gnmt",
    title="Translation: GNMT on WMT",
    suite="training",
    task="training-wmt-gnmt",
    protocol="timetotrain",
    default_system="pytorch",
    quality=QualityTarget(metric="BLEU", reference=24.0, factor=1.0),
    settings=TrainingBenchmark(
        hyperparameters={
            "global_batch_size": 1024,
            "opt_name": "adam",
            "opt_base_learning_rate": 0.002,
            "opt_learning_rate_warmup_steps": 200,
            "opt_learning_rate_decay_schedule": "multistep",
            "opt_learning_rate_decay_boundary_steps": "10336,11632,12928,14224",
            "opt_learning_rate_decay_factor": 0.5,
            "opt_gradient_clip_norm": 5.0,
        },
        may_vary=(STEPS, RATE, WARM_UP, BOUNDARIES),
        evaluate_every_samples=4_500_000,
        max_epochs=8,
        patience=4,
        runs=10,
        log_name="gnmt",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.6, translation (GNMT): 24.0 sacreBLEU (v0.5: 21.8)",
)

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
        log_name="ncf",
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
        log_name="dlrm",
    ).model_dump(mode="json"),
    specification="MLPerf Training v0.7, recommendation (DLRM): AUC at least 0.8025",
)
