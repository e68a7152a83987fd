"""The recommendation suite: each benchmark as its specification's table has it.

Rules: MLPerf Inference rules (github.com/mlcommons/inference_policies), "Benchmarks" and "Scenarios", of
dlrm: Server and Offline, 99 % of the reference AUC, a latency bound of 30 ms.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.loadgen.settings import NS_PER_MS, LoadBenchmark, Scenario

DLRM = Benchmark(
    name="dlrm",
    title="Click prediction",
    suite="recommendation",
    task="clicks",
    protocol="load",
    default_system="dlrm",
    quality=QualityTarget(
        metric="AUC",
        reference=0.834733,  # of the full tables that ship, on these rows
        factor=0.99,
    ),
    settings=LoadBenchmark(
        scenarios=(Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE),
        default_scenarios=(Scenario.SERVER, Scenario.OFFLINE),
        performance_sample_count=0,
        server_target_latency_ns=30 * NS_PER_MS,
    ).model_dump(mode="json"),
    specification="Gnomon's own: a synthetic click log, with the settings of MLPerf's dlrm",
)

CHANCE = QualityTarget(metric="AUC", reference=0.5, factor=0.95)
"""Of any model on clicks that fell by chance: these two measure speed and memory, and say so."""

CRITEO_SIZED = Benchmark(
    name="dlrm-criteo-sized",
    title="Click prediction, untrained, at Criteo 1TB's sizes",
    suite="recommendation",
    task="criteo-sized",
    protocol="load",
    default_system="dlrm-untrained",
    quality=CHANCE,
    settings=LoadBenchmark(
        scenarios=(Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE),
        default_scenarios=(Scenario.SERVER, Scenario.OFFLINE),
        performance_sample_count=204_800,
        server_target_latency_ns=30 * NS_PER_MS,
    ).model_dump(mode="json"),
    specification="speed of MLPerf Inference v1.0, dlrm; random ids in place of Criteo 1TB, no quality",
)

CRITEO_SIZED_V2 = Benchmark(
    name="dlrm-v2-criteo-sized",
    title="Click prediction (DCNv2), untrained, at Criteo 1TB's sizes",
    suite="recommendation",
    task="criteo-sized-multi-hot",
    protocol="load",
    default_system="dlrm-untrained",
    quality=CHANCE,
    settings=LoadBenchmark(
        scenarios=(Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE),
        default_scenarios=(Scenario.SERVER, Scenario.OFFLINE),
        performance_sample_count=0,
        server_target_latency_ns=60 * NS_PER_MS,
    ).model_dump(mode="json"),
    specification="speed of MLPerf Inference v4.0, dlrm-v2; random ids in place of Criteo 1TB, no quality",
)
