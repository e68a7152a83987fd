"""The federated suite: the settings of Luo et al.'s experiments, on data that ships, is generated or yours.

Source: Luo et al., "Cost-effective federated learning design" (INFOCOM 2021), section VI, and its journal
version (JSAC 2021). Loss targets and accuracies are Gnomon's own.
"""

from __future__ import annotations

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.fleet.options import FleetBenchmark

SYNTHETIC = Benchmark(
    name="federated",
    title="Federated learning, Synthetic(1,1)",
    suite="federated",
    task="federated-synthetic",
    protocol="fleet",
    default_system="simulated",
    quality=QualityTarget(
        metric="top-1 accuracy",
        reference=0.65,  # of K = 10, E = 10 when the loss is there: 0.639 to 0.669, three seeds
        factor=0.95,
    ),
    settings=FleetBenchmark(
        clients=100,
        model="logistic",
        batch_size=24,
        learning_rate=0.05,
        decay="exponential:0.996",
        target_loss=1.05,  # K = 10, E = 10 is there after 130 to 140 rounds
    ).model_dump(mode="json"),
    specification="Luo et al., INFOCOM 2021, section VI, setup 3: logistic regression, 100 clients",
)

DIGITS = Benchmark(
    name="federated-digits",
    title="Federated learning, handwritten digits",
    suite="federated",
    task="federated-digits",
    protocol="fleet",
    default_system="simulated",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.905, factor=0.95),
    settings=FleetBenchmark(
        clients=20,
        partition="labels:2",
        model="logistic",
        batch_size=24,
        learning_rate=0.1,
        target_loss=0.35,  # K = 10, E = 10 is there after about 105 rounds
    ).model_dump(mode="json"),
    specification="Luo et al., INFOCOM 2021, section VI, setup 1, on digits that ship: 2 labels a client",
)

DIGITS_CNN = Benchmark(
    name="federated-digits-cnn",
    title="Federated learning, handwritten digits, CNN",
    suite="federated",
    task="federated-digits",
    protocol="fleet",
    default_system="simulated",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.905, factor=0.95),
    settings=FleetBenchmark(
        clients=20,
        partition="labels:2",
        model="cnn",
        batch_size=24,
        learning_rate=0.1,
        target_loss=0.15,  # K = 10, E = 10 is there after about 90 rounds
    ).model_dump(mode="json"),
    specification="Luo et al., INFOCOM 2021, section VI, setup 2, on digits that ship: CNN, 2 labels each",
)

EMNIST = Benchmark(
    name="federated-emnist",
    title="Federated learning, MNIST or EMNIST (your files)",
    suite="federated",
    task="federated-idx",
    protocol="fleet",
    default_system="simulated",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.80, factor=0.95),
    settings=FleetBenchmark(
        clients=100,
        partition="labels:2",
        model="logistic",
        batch_size=24,
        learning_rate=0.05,
        target_loss=0.8,
    ).model_dump(mode="json"),
    specification="Luo et al., INFOCOM and JSAC 2021: 100 clients, 2 labels a client",
)

LEAF = Benchmark(
    name="federated-leaf",
    title="Federated learning, a LEAF data set (your files)",
    suite="federated",
    task="federated-leaf",
    protocol="fleet",
    default_system="simulated",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.70, factor=0.95),
    settings=FleetBenchmark(
        clients=100,
        partition="natural",
        model="logistic",
        batch_size=24,
        learning_rate=0.05,
        target_loss=1.0,
    ).model_dump(mode="json"),
    specification="LEAF (Caldas et al., 2018): its own clients",
)
