"""The inference suite: each benchmark as its specification's table has it.

Rules: MLPerf Inference rules (github.com/mlcommons/inference_policies), "Benchmarks" and "Scenarios".
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.loadgen.settings import NS_PER_MS, LoadBenchmark

DIGITS = Benchmark(
    name="digits",
    title="Handwritten digits",
    suite="inference",
    task="digits",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(
        metric="top-1 accuracy",
        reference=787 / 797,  # of the model that ships, as tools/train_digits.py prints it
        factor=0.99,
    ),
    settings=LoadBenchmark(
        performance_sample_count=0,
        server_target_latency_ns=10 * NS_PER_MS,
    ).model_dump(mode="json"),
    specification="Gnomon's own: real data that ships, with the settings of image classification",
)
