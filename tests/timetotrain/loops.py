"""A benchmark that NumPy trains in a tenth of a second, and loops for it, right and wrong."""

from __future__ import annotations

import numpy as np

from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.timetotrain.settings import TrainingBenchmark

TARGET = 0.9


def benchmark(**changed):
    """Softmax regression on digits to 90 %: own settings, the shape of a registered benchmark."""
    target = changed.pop("target", TARGET)
    settings = {
        "hyperparameters": {"global_batch_size": 64, "opt_base_learning_rate": 0.5},
        "evaluate_every_samples": 320,
        "max_epochs": 20,
        "patience": 30,
        "runs": 5,
    }
    return Benchmark(
        name="train-test",
        title="Softmax regression",
        suite="training",
        task="training-digits",
        protocol="timetotrain",
        default_system="pytorch",
        quality=QualityTarget(metric="top-1 accuracy", reference=target, factor=1.0),
        settings=TrainingBenchmark(**settings | changed).model_dump(mode="json"),
        specification="none: a test's",
    )


class SoftmaxRegression:
    """Weights and bias; a step of plain stochastic gradient descent."""

    def __init__(self, seed, learning_rate):
        self.random = np.random.default_rng(seed)
        self.weights = self.random.normal(0, 0.01, (65, 10))
        self.learning_rate = learning_rate

    def step(self, images, labels):
        """Returns the mean cross-entropy before the step."""
        inputs = augmented(images)
        scores = inputs @ self.weights
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        chances /= chances.sum(axis=1, keepdims=True)
        loss = -np.log(chances[np.arange(len(labels)), labels] + 1e-12).mean()
        chances[np.arange(len(labels)), labels] -= 1
        self.weights -= self.learning_rate * inputs.T @ chances / len(labels)
        return float(loss)

    def answer(self, images):
        return (augmented(images) @ self.weights).argmax(axis=1).astype(np.int16)


def augmented(images):
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)


def train(run):
    """A loop as it should be."""
    model = SoftmaxRegression(run.seed, run.hyperparameters["opt_base_learning_rate"])
    run.start()
    images, labels = run.inputs(run.trained_on), run.targets(run.trained_on)
    size = run.hyperparameters["global_batch_size"]
    for _ in run.epochs():
        order = model.random.permutation(len(labels))
        for start in range(0, len(labels) - size + 1, size):
            batch = order[start : start + size]
            if run.step(model.step(images[batch], labels[batch])):
                run.evaluate(lambda samples: model.answer(run.inputs(samples)))
            if run.finished:
                break
    run.keep(lambda path: save(model, path), lambda path: restored(run, path))


def save(model, path):
    with path.open("wb") as file:
        np.save(file, model.weights)


def restored(run, path):
    model = SoftmaxRegression(0, 0.0)
    model.weights = np.load(path)
    return lambda samples: model.answer(run.inputs(samples))
