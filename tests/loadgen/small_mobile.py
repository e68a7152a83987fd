"""A small benchmark with run modes of its own, as the mobile suite has them: quick enough for tests."""

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.loadgen.settings import LoadBenchmark, RunMode, Scenario, Seeds

SEEDS = Seeds(qsl=11, sample_index=12, schedule=13)
MODES = (
    RunMode(
        name="quick",
        min_query_count=70,
        min_duration_s=0.2,
        max_duration_s=30,
        offline_min_sample_count=500,
        cooldown_s=0.3,
    ),
    RunMode(name="submission", min_query_count=100, min_duration_s=0.3, official=True),
)
SMALL = Benchmark(
    name="small-mobile",
    title="Digits by the rules of a phone",
    suite="mobile",
    task="digits",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.98),
    settings=LoadBenchmark(
        scenarios=(Scenario.SINGLE_STREAM, Scenario.OFFLINE),
        performance_sample_count=0,
        run_modes=MODES,
        seeds=SEEDS,
    ).model_dump(mode="json"),
    specification="for tests",
)
