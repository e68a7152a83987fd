"""The Tiny suite: the field's four single-stream benchmarks and the streaming wake word, on boards.

Source: MLPerf Tiny rules, closed division. Data and models that ship are stand-ins of the same topologies;
a person uses the field's own with `--data` and `--model`.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.device.options import TinyBenchmark

SETTINGS = TinyBenchmark().model_dump(mode="json")

KWS = Benchmark(
    name="kws",
    title="Keyword spotting",
    suite="tiny",
    task="tiny-keywords",
    protocol="device",
    default_system="host-board",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.90, factor=1.0),
    settings=SETTINGS,
    specification="MLPerf Tiny, kws01, closed division: DS-CNN, top-1 at least 90 %",
)

VWW = Benchmark(
    name="vww",
    title="Visual wake words",
    suite="tiny",
    task="tiny-person",
    protocol="device",
    default_system="host-board",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.80, factor=1.0),
    settings=SETTINGS,
    specification="MLPerf Tiny, vww01, closed division: MobileNetV1 0.25, top-1 at least 80 %",
)

IC = Benchmark(
    name="ic",
    title="Image classification",
    suite="tiny",
    task="tiny-images",
    protocol="device",
    default_system="host-board",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.85, factor=1.0),
    settings=SETTINGS,
    specification="MLPerf Tiny, ic01, closed division: ResNet-8, top-1 at least 85 %",
)

AD = Benchmark(
    name="ad",
    title="Anomaly detection",
    suite="tiny",
    task="tiny-machine-sounds",
    protocol="device",
    default_system="host-board",
    quality=QualityTarget(metric="AUC", reference=0.85, factor=1.0),
    settings=SETTINGS,
    specification="MLPerf Tiny, ad01, closed division: autoencoder, AUC at least 0.85",
)

SWW = Benchmark(
    name="sww",
    title="Streaming wake word",
    suite="tiny",
    task="tiny-wake-word",
    protocol="device",
    default_system="host-board",
    # 8 of 50 wake words missed and 8 false alarms, the field's limits: F1 = 2 * 42 / (2 * 42 + 8 + 8).
    quality=QualityTarget(metric="F1", reference=0.84, factor=1.0),
    settings=SETTINGS,
    specification="MLPerf Tiny, sww01: at most 8 false alarms and 8 misses of 50 wake words",
)
