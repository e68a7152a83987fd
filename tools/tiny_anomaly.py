"""Make the stand-in for anomaly detection: sounds of toy cars, well and broken, and the reference network.

    pip install tensorflow-cpu '.' && python tools/tiny_anomaly.py

Four machines are made up: a motor's harmonics, gears that a wheel modulates, a body that resonates, and noise
around. Recordings differ in speed, load, loudness and noise. Broken machines have, more or less audibly, a
rattle, a whine, a worn gear, another speed or something that scrapes, in the manner of ToyADMOS (Koizumi et
al., 2019, arXiv:1908.03299). Network, features and quantisation are those of the field: an autoencoder on
five frames of 128 log-mels, trained on sound machines alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from tiny_keywords import noise, repeatable, run_int8, to_int8, train, write

from gnomon.tasks.clicks.auc import roc_auc
from gnomon.tasks.tiny.anomaly import DECIBELS_PER_STEP, STEPS_AT_0_DB, windows_of
from gnomon.tasks.tiny.audio import RATE_HZ, log_mel

Floats = NDArray[np.float64]

SEED = 11
MACHINES = 4
HARMONICS = 16
FRAMES = 52
"""A recording of 1.7 s; the field's have 200."""
MEASURED_FRAMES = 16
"""Of each recording that is measured, the last: a board is sent every window of five frames anew, and
2560 bytes travel slowly on a serial line."""
TRAINED, CALIBRATED, NORMAL, BROKEN = 1200, 60, 36, 28
"""Recordings."""
EPOCHS = 30
SAMPLES = (FRAMES + 8) * 512
FAULTS = ("rattle", "whine", "worn gear", "other speed", "scrape")


@dataclass(frozen=True)
class Machine:
    """What does not change from one recording of a machine to the next."""

    motor_hz: float
    harmonics: Floats
    gear_ratio: float
    gear: Floats
    body_hz: float
    noisiness: float


def machine(rng: np.random.Generator) -> Machine:
    falling = 1 / np.arange(1, HARMONICS + 1) ** 0.8
    return Machine(
        motor_hz=rng.uniform(110, 240),
        harmonics=falling * rng.uniform(0.2, 1.0, HARMONICS),
        gear_ratio=rng.uniform(7.2, 11.8),
        gear=0.5 * rng.uniform(0.2, 1.0, 4) / np.arange(1, 5),
        body_hz=rng.uniform(1500, 4500),
        noisiness=rng.uniform(0.15, 0.35),
    )


def resonant(sound: Floats, at_hz: float, width_hz: float) -> Floats:
    """The sound through one resonance, rms 1."""
    radius = np.exp(-np.pi * width_hz / RATE_HZ)
    angle = 2 * np.pi * at_hz / RATE_HZ
    rung: Floats = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], sound)
    return rung / np.sqrt(np.mean(rung**2))


def recording(rng: np.random.Generator, one: Machine, fault: str | None = None) -> Floats:
    """About two seconds of a machine, (SAMPLES,)."""
    severity = rng.uniform(0.15, 1.0)
    speed = 1 + rng.normal(0, 0.015)
    if fault == "other speed":
        speed *= 1 + rng.choice([-1, 1]) * (0.03 + 0.12 * severity)
    wander = np.interp(np.arange(SAMPLES), np.linspace(0, SAMPLES, 9), rng.normal(0, 0.006, 9))
    turns = np.cumsum(one.motor_hz * speed * (1 + wander)) / RATE_HZ
    wheel = np.sin(2 * np.pi * turns / one.gear_ratio)

    def tones(amplitudes: Floats, ratio: float) -> Floats:
        total = np.zeros(SAMPLES)
        for order, amplitude in enumerate(amplitudes, start=1):
            if order * ratio * one.motor_hz * speed < 0.45 * RATE_HZ:
                phase = 2 * np.pi * (order * ratio * turns + rng.random())
                total += amplitude * rng.uniform(0.75, 1.25) * np.sin(phase)
        return total

    worn = severity if fault == "worn gear" else 0.0
    sound = tones(one.harmonics, 1.0) * (1 + 0.25 * wheel)
    sound += tones(one.gear, one.gear_ratio) * (1 + 2.5 * worn) * (1 + worn * wheel)
    sound += one.noisiness * resonant(rng.standard_normal(SAMPLES), one.body_hz, 700)
    if fault == "whine":
        sound += 0.3 * severity * tones(np.array([1.0]), rng.uniform(12.2, 24.8))
    if fault == "rattle":
        struck = np.diff(np.floor(turns / one.gear_ratio * rng.uniform(0.4, 0.9)), prepend=0) > 0
        struck = struck * rng.uniform(0.3, 1.0, SAMPLES)
        sound += 0.4 * severity * resonant(struck, rng.uniform(2000, 6000), 150)
    if fault == "scrape":
        scraped = resonant(rng.standard_normal(SAMPLES), rng.uniform(4000, 7000), 900)
        sound += 0.25 * severity * scraped * np.maximum(wheel, 0)
    sound /= np.sqrt(np.mean(sound**2))
    sound += noise(rng, SAMPLES) * 10 ** (rng.uniform(-26, -10) / 20)
    return 0.05 * 10 ** (rng.normal(0, 1.0) / 20) * sound


def frames_of(sound: Floats) -> NDArray[np.float32]:
    """Its log-mels without the ends, shape (FRAMES, 128)."""
    return log_mel(sound)[4 : 4 + FRAMES]


def recordings(
    rng: np.random.Generator, machines: Sequence[Machine], count: int, broken: bool
) -> NDArray[np.float32]:
    """Log-mels, shape (count, FRAMES, 128); machines and faults take turns."""
    return np.stack(
        [
            frames_of(
                recording(
                    rng,
                    machines[index % MACHINES],
                    FAULTS[index % len(FAULTS)] if broken else None,
                )
            )
            for index in range(count)
        ]
    )


def network() -> Any:
    """The autoencoder of DCASE 2020 task 2's baseline."""
    from tensorflow.keras import Input, Sequential, layers

    stages: list[Any] = []
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        stages += [layers.Dense(width), layers.BatchNormalization(), layers.Activation("relu")]
    return Sequential([Input((640,)), *stages, layers.Dense(640)])


def main() -> None:
    rng = np.random.default_rng(SEED)
    machines = [machine(rng) for _ in range(MACHINES)]
    trained = recordings(rng, machines, TRAINED, broken=False)
    calibration = recordings(rng, machines, CALIBRATED, broken=False)
    tested = np.concatenate(
        [
            recordings(rng, machines, NORMAL, broken=False),
            recordings(rng, machines, BROKEN, broken=True),
        ]
    )
    labels = np.repeat(np.array([0, 1], dtype=np.uint8), [NORMAL, BROKEN])
    tested = tested[:, -MEASURED_FRAMES:]
    coded = np.clip(np.rint(tested / DECIBELS_PER_STEP) + STEPS_AT_0_DB, -128, 127).astype(np.int8)
    heard = (coded.astype(np.float32) - STEPS_AT_0_DB) * np.float32(DECIBELS_PER_STEP)
    print(f"log-mels from {tested.min():.1f} to {tested.max():.1f} dB")

    version = repeatable(SEED)
    model = network()
    windows = np.concatenate([windows_of(frames) for frames in trained])
    train(model, windows, windows, EPOCHS, "mean_squared_error")
    shown = np.concatenate([windows_of(frames)[::6] for frames in calibration])
    quantised = to_int8(model, shown)

    def score(of_windows: Any) -> float:
        return roc_auc(np.array([of_windows(windows_of(frames)) for frames in heard]), labels)

    def float_error(of: NDArray[np.float32]) -> float:
        return float(np.mean((model.predict(of, verbose=0) - of) ** 2))

    def int8_error(of: NDArray[np.float32]) -> float:
        return float(np.mean((run_int8(quantised, of) - of) ** 2))

    write(
        "ad01",
        quantised,
        {"frames": coded, "labels": labels},
        {
            "what": "stand-in for ToyADMOS toy cars: synthetic machines, well and broken",
            "made_by": f"tools/tiny_anomaly.py, TensorFlow {version}, seed {SEED}",
            "frames": f"log-mels in dB = (code - {STEPS_AT_0_DB}) x {DECIBELS_PER_STEP}",
            "trained_on_windows": len(windows),
            "normal": NORMAL,
            "broken": BROKEN,
            "float_auc": score(float_error),
            "int8_auc": score(int8_error),
        },
    )


if __name__ == "__main__":
    main()
