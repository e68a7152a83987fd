"""A whole run of the fleet protocol that takes a second: ten clients with two digits each."""

from __future__ import annotations

import gnomon
from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.fleet.options import FleetBenchmark

FEW = Benchmark(
    name="few-digits",
    title="A few digits",
    suite="tests",
    task="federated-digits",
    protocol="fleet",
    default_system="simulated",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.6),
    settings=FleetBenchmark(
        clients=10,
        partition="labels:2",
        learning_rate=0.3,
        target_loss=0.9,
        max_rounds=60,
        controller="fixed:5,4",
    ).model_dump(mode="json"),
    specification="none: an example",
)


def run_few(out, **options):
    """Run it, with other options if any are given."""
    return gnomon.run(FEW, out=out, **options)
