"""The mobile suite: what a phone or laptop is measured on, as the field's app has it, on data that ships.

Rules: MLPerf Mobile rules v4.0 (github.com/mlcommons/mobile_open: scenarios, sample counts, durations) and
the app's `tasks.pbtxt` (github.com/mlcommons/mobile_app_open at 051a47af), whose run modes and seeds these
are. Of the app's cooldowns (300 s, quick 60 s) that of a submission is kept; the others are shorter here.
"""

from __future__ import annotations

from typing import Any

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.loadgen.settings import LoadBenchmark, RunMode, Scenario, Seeds

SUITE = "mobile"
MOBILE_SEEDS = Seeds(
    qsl=2465351861681999779,
    sample_index=14276810075590677512,
    schedule=3936089224930324775,
)
RUN_MODES = (
    RunMode(
        name="quick",
        min_query_count=128,
        min_duration_s=10,
        max_duration_s=60,
        offline_min_sample_count=2457,
        cooldown_s=5,
    ),
    RunMode(
        name="normal",
        min_query_count=1024,
        min_duration_s=60,
        max_duration_s=600,
        offline_min_sample_count=24576,
        cooldown_s=60,
        most_others_share=0.1,
    ),
    RunMode(
        name="submission",
        min_query_count=1024,
        min_duration_s=60,
        max_duration_s=600,
        offline_min_sample_count=24576,
        cooldown_s=300,
        most_others_share=0.1,
        official=True,
    ),
)
SPECIFICATION = "MLPerf Mobile rules v4.0, on data that ships in place of the official data"


def mobile_settings(*scenarios: Scenario, performance_sample_count: int = 0) -> dict[str, Any]:
    """Settings of a benchmark of the suite, in these scenarios; 0 samples: all that there are."""
    return LoadBenchmark(
        scenarios=scenarios,
        default_scenarios=scenarios,
        performance_sample_count=performance_sample_count,
        run_modes=RUN_MODES,
        seeds=MOBILE_SEEDS,
    ).model_dump(mode="json")


CLASSIFICATION = Benchmark(
    name="mobile-classification",
    title="Image classification",
    suite=SUITE,
    task="mobile-classification",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(
        metric="top-1 accuracy",
        reference=751 / 797,  # here and below: of the float32 model that ships, in ONNX Runtime
        factor=0.98,
    ),
    settings=mobile_settings(Scenario.SINGLE_STREAM, Scenario.OFFLINE),
    specification=SPECIFICATION,
)
SEGMENTATION = Benchmark(
    name="mobile-segmentation",
    title="Semantic segmentation",
    suite=SUITE,
    task="mobile-segmentation",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(metric="mIoU", reference=0.7810, factor=0.96),
    settings=mobile_settings(Scenario.SINGLE_STREAM),
    specification=SPECIFICATION,
)
SUPER_RESOLUTION = Benchmark(
    name="mobile-super-resolution",
    title="Super-resolution",
    suite=SUITE,
    task="mobile-super-resolution",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(metric="PSNR", reference=36.443, factor=33 / 33.58),
    settings=mobile_settings(Scenario.SINGLE_STREAM),
    specification=SPECIFICATION,
)
DETECTION = Benchmark(
    name="mobile-detection",
    title="Object detection",
    suite=SUITE,
    task="mobile-detection",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(metric="mAP", reference=0.773369, factor=0.95),
    settings=mobile_settings(Scenario.SINGLE_STREAM),
    specification=SPECIFICATION,
)
QUESTION_ANSWERING = Benchmark(
    name="mobile-question-answering",
    title="Question answering",
    suite=SUITE,
    task="mobile-question-answering",
    protocol="load",
    default_system="onnx",
    quality=QualityTarget(metric="F1", reference=0.9975, factor=0.93),
    settings=mobile_settings(Scenario.SINGLE_STREAM),
    specification=SPECIFICATION,
)
