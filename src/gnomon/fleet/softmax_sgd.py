"""Local training of softmax regression: compiled (`native/logistic.cpp`), or in NumPy where that is missing.

Both compute the same; the compiled one adds in an order of its own, so that its bits are the same on every
processor and with any number of threads, while NumPy's are those of the machine's BLAS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.environment import processors
from gnomon.fleet.orders import Parameters

try:
    from gnomon.fleet import _native
except ImportError:
    _native = None  # type: ignore[assignment]

Singles = NDArray[np.float32]
LINE = 16
"""The compiled kernel reads rows of a multiple of this many features."""
TOGETHER = 4


@dataclass(frozen=True)
class Samples:
    """All clients' samples.

    Attributes:
        features: Shape (n, at least `width`), float32; further columns are zeros.
        labels: Shape (n,), int64, below `classes`.
        width: Features of a sample.
        classes: Number of classes.
    """

    features: Singles
    labels: NDArray[np.int64]
    width: int
    classes: int


@dataclass(frozen=True)
class Step:
    """What an iteration does: `w = keep * w + pull * w_round - rate * (mean gradient of the batch)`."""

    rate: float
    keep: float
    pull: float


def compiled() -> bool:
    """Whether the compiled kernel is there, and fast on this processor."""
    return _native is not None and _native.fast()


def samples_of(features: Singles, labels: NDArray[np.int64], classes: int) -> Samples:
    """Samples as the kernel in use likes them; copied only where their rows are no multiple of a line."""
    width = features.shape[1]
    if compiled():
        if width % LINE:
            features = np.pad(features, ((0, 0), (0, -width % LINE)))
        features = np.ascontiguousarray(features, dtype=np.float32)
        labels = np.ascontiguousarray(labels, dtype=np.int64)
    return Samples(features, labels, width, classes)


def train(
    samples: Samples, parameters: Parameters, rows: NDArray[np.int64], step: Step
) -> tuple[Singles, Singles]:
    """Train clients from the same parameters; none depends on the others.

    Args:
        samples: As `samples_of` made them.
        parameters: Weights, (classes, width) in rows, then biases, shape (P,).
        rows: Which samples each client takes in each iteration, shape (K, E, batch).
        step: Of an iteration.

    Returns:
        Updates (parameters after minus before), shape (K, P), and the chances that the model gave the right
        class of each sample before its iteration, shape (K, E, batch).
    """
    updates = np.empty((len(rows), len(parameters)), dtype=np.float32)
    chances = np.empty(rows.shape, dtype=np.float32)
    if compiled():
        train_compiled(samples, parameters, rows, step, updates, chances)
    else:
        for start in range(0, len(rows), TOGETHER):
            part = slice(start, start + TOGETHER)
            train_numpy(samples, parameters, rows[part], step, updates[part], chances[part])
    return updates, chances


def train_compiled(
    samples: Samples,
    parameters: Parameters,
    rows: NDArray[np.int64],
    step: Step,
    updates: Singles,
    chances: Singles,
    *,
    isa: str | None = None,
    threads: int | None = None,
) -> None:
    """Fill in `updates` and `chances`: a client at a time on each thread.

    `isa` is one of `_native.isas()`, the best by default; it does not change the bits, nor do the threads.
    """
    if rows.size and (rows.min() < 0 or rows.max() >= len(samples.features)):
        raise IndexError(f"rows run from 0 to {len(samples.features) - 1}")
    _native.train(
        isa or _native.isas()[-1],
        samples.features,
        samples.labels,
        samples.width,
        samples.classes,
        np.ascontiguousarray(parameters, dtype=np.float32),
        np.ascontiguousarray(rows),
        step.rate / rows.shape[2],
        step.keep,
        step.pull,
        threads or _threads(),
        updates,
        chances,
    )


def train_numpy(
    samples: Samples,
    parameters: Parameters,
    rows: NDArray[np.int64],
    step: Step,
    updates: Singles,
    chances: Singles,
) -> None:
    """The same for a few clients side by side.

    They share the cost of NumPy's calls while their batches stay in the second-level cache: on two cores this
    beats one at a time, and all at once, which streams through memory.
    """
    count, iterations, batch = rows.shape
    width, classes = samples.width, samples.classes
    before_weights, before_biases = split(parameters, classes)
    weights = np.repeat(before_weights[None], count, axis=0)
    biases = np.repeat(before_biases[None], count, axis=0)
    gradient = np.empty_like(weights)
    features = np.empty((count * batch, width), dtype=np.float32)
    x = features.reshape(count, batch, width)
    z = np.empty((count, classes, batch), dtype=np.float32)
    right = samples.labels[rows][:, :, None]
    rate, keep, pull = np.float32(step.rate / batch), np.float32(step.keep), np.float32(step.pull)
    for iteration in range(iterations):
        # All rows exist; `clip` spares NumPy a buffer.
        taken = rows[:, iteration].ravel()
        samples.features.take(taken, axis=0, out=features, mode="clip")
        np.matmul(weights, x.transpose(0, 2, 1), out=z)
        z += biases
        z -= np.maximum.reduce(z, axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= np.add.reduce(z, axis=1, keepdims=True)
        p = np.take_along_axis(z, right[:, iteration], axis=1)
        chances[:, iteration] = p[:, 0]
        np.put_along_axis(z, right[:, iteration], p - 1, axis=1)
        z *= rate
        np.matmul(z, x, out=gradient)
        if keep != 1:
            weights *= keep
            biases *= keep
        if pull:
            weights += pull * before_weights
            biases += pull * before_biases
        weights -= gradient
        biases -= np.add.reduce(z, axis=2, keepdims=True)
    for place, update in enumerate(updates):
        after_weights, after_biases = split(update, classes)
        np.subtract(weights[place], before_weights, out=after_weights)
        np.subtract(biases[place], before_biases, out=after_biases)


def split(parameters: Parameters, classes: int) -> tuple[Singles, Singles]:
    """Weights (classes, width) and biases (classes, 1), as views."""
    end = len(parameters) - classes
    return parameters[:end].reshape(classes, -1), parameters[end:, None]


def _threads() -> int:
    """As many as there are processors, or fewer if OMP_NUM_THREADS says so, as for the BLAS."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    most = processors()
    return min(int(asked), most) if asked.isdecimal() and int(asked) else most
