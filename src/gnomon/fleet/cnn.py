"""A small convolutional network for square grey images, in torch: the non-convex model of the papers.

All clients of a round are trained at once: convolutions with one group a client, dense layers as batched
products. Against one module a client this is about three times as fast on 8x8 images, and as fast on 28x28,
where arithmetic outweighs the calls. Data and parameters live where `device` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, MissingExtraError, SettingsError, described
from gnomon.fleet.data import FederatedData
from gnomon.fleet.learner import LocalTraining, drawn_rows, require_clients
from gnomon.fleet.orders import Parameters
from gnomon.fleet.randomness import keyed

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = (16, 32)
HIDDEN = 64
KERNEL = 3
LEAST_SIDE = 4

_CPU_PIXELS = 1 << 17
_DEVICE_PIXELS = 1 << 22
"""Pixels of input that go through the network at once: they bound memory, and on a CPU keep to its caches."""


class CnnLearner:
    """Two convolutions (3x3, 16 and 32 channels) with ReLU and 2x2 maximum pooling, two dense layers.

    The loss is cross-entropy plus `regularisation / 2 * ||w||**2`. Parameters are, in one vector: weights
    (out, in, 3, 3) and biases of the two convolutions, weights (out, in) and biases of the hidden layer (64)
    and of the output layer; rows first. This is the order of `torch.nn.Module.parameters`. Digits of 8x8
    pixels in ten classes make 13,706 of them, of 28x28 pixels 105,866.

    A client's row of `train` does not depend on which others are asked for, up to rounding: libraries sum
    in another order for another number of groups. Equal calls give equal bits.

    Args:
        data: Grey images, (n, side * side) or (n, side, side), side at least 4.
        regularisation: Of all parameters.
        device: As torch names it: `cpu`, `cuda`, `cuda:1`.

    Raises:
        MissingExtraError: torch is not installed.
        DataError: The samples are not square images.
        SettingsError: There is no such device.
    """

    name = "CNN"

    def __init__(
        self, data: FederatedData, regularisation: float = 0.0, device: str = "cpu"
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError("torch", "train", "the CNN of a federated run") from error
        self.data = data
        self.regularisation = regularisation
        self._side = _side(data)
        self._shapes = _shapes(self._side, data.classes)
        try:
            self._device = torch.device(device)
            self._features = self._images(data.features)
            self._labels = torch.tensor(data.labels, device=self._device)
            self._test_features = self._images(data.test_features)
            self._test_labels = torch.tensor(data.test_labels, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise SettingsError(
                f"the CNN cannot be put on device {device!r} ({described(error)}): use cpu"
            ) from None
        on_cpu = self._device.type == "cpu"
        self._images_at_once = max(1, (_CPU_PIXELS if on_cpu else _DEVICE_PIXELS) // self._side**2)

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(math.prod(shape) for shape in self._shapes)

    def initial(self, seed: int) -> Parameters:
        """Uniform within 1 / sqrt(fan-in), as torch's layers start, from a generator of this seed alone."""
        generator = keyed(seed, "cnn")
        parts = []
        for weights, biases in zip(self._shapes[::2], self._shapes[1::2], strict=True):
            bound = 1 / math.sqrt(math.prod(weights[1:]))
            parts += [
                generator.uniform(-bound, bound, math.prod(shape)) for shape in (weights, biases)
            ]
        return np.concatenate(parts).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Kind, sizes, regularisation, device."""
        return {
            "kind": self.name,
            "parameters": self.size,
            "classes": self.data.classes,
            "features": self._side**2,
            "channels": list(CHANNELS),
            "hidden": HIDDEN,
            "regularisation": self.regularisation,
            "device": str(self._device),
        }

    def train(
        self, parameters: Parameters, clients: NDArray[np.int64], training: LocalTraining
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `Learner.train`; the losses are cross-entropies, without regularisation."""
        require_clients(self.data, clients)
        updates = np.empty((len(clients), self.size), dtype=np.float32)
        losses = np.empty(len(clients))
        if not len(clients):
            return updates, losses
        at_once = max(1, self._images_at_once // training.batch_size)
        for part in np.array_split(np.arange(len(clients)), math.ceil(len(clients) / at_once)):
            rows = self._rows(clients[part], training)
            updates[part], losses[part] = self._train_together(parameters, rows, training)
        return updates, losses

    def loss(self, parameters: Parameters) -> float:
        """F(w) in nats: cross-entropy over all clients' samples plus the regularisation."""
        from torch.nn.functional import cross_entropy

        total = 0.0
        for part, scores in self._scores(parameters, self._features):
            # Every sample counts 1 / n, for p_k = n_k / n.
            total += float(cross_entropy(scores, self._labels[part], reduction="sum"))
        penalty = self.regularisation / 2 * float(parameters @ parameters)
        return total / len(self._labels) + penalty

    def quality(self, parameters: Parameters) -> float:
        """Top-1 accuracy on the held-out samples; NaN parameters score nothing."""
        right = 0
        for part, scores in self._scores(parameters, self._test_features):
            hit = scores.argmax(1) == self._test_labels[part]
            right += int((hit & ~scores.isnan().any(1)).sum())
        return right / len(self._test_labels)

    def _images(self, features: NDArray[np.float32]) -> Tensor:
        import torch

        # torch warns of arrays that it could not write to, so those are copied.
        flat = np.require(features, np.float32, ["C", "W"])
        images = torch.from_numpy(flat).reshape(len(flat), self._side, self._side)
        return images.to(self._device)

    def _rows(self, clients: NDArray[np.int64], training: LocalTraining) -> Tensor:
        """Which samples each client takes in each iteration, shape (E, batch, K)."""
        import torch

        drawn = drawn_rows(self.data, clients, training).transpose(1, 2, 0)
        return torch.from_numpy(np.ascontiguousarray(drawn)).to(self._device)

    def _train_together(
        self, parameters: Parameters, rows: Tensor, training: LocalTraining
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        import torch
        from torch.nn.functional import cross_entropy

        iterations, batch, clients = rows.shape
        before = torch.tensor(parameters, dtype=torch.float32, device=self._device)
        weights = before.repeat(clients, 1)
        losses = torch.zeros(clients, dtype=torch.float64, device=self._device)
        with torch.enable_grad(), self._repeatable():
            for chosen in rows:
                leaf = weights.detach().requires_grad_(True)
                scores = self._forward(leaf, self._features[chosen])
                entropies = cross_entropy(
                    scores.flatten(0, 1), self._labels[chosen].T.flatten(), reduction="none"
                )
                means = entropies.reshape(clients, batch).mean(1)
                # Clients share nothing, so the gradient of the sum holds each client's own.
                (gradient,) = torch.autograd.grad(means.sum(), leaf)
                if self.regularisation:
                    gradient.add_(weights, alpha=self.regularisation)
                if training.proximal:
                    gradient.add_(weights - before, alpha=training.proximal)
                weights.sub_(gradient, alpha=training.learning_rate)
                losses += means.detach()
        updates: NDArray[np.float32] = (weights - before).cpu().numpy()
        return updates, (losses / max(1, iterations)).cpu().numpy()

    def _forward(self, weights: Tensor, images: Tensor) -> Tensor:
        """Scores (K, batch, classes) of images (batch, K, side, side) under parameters (K, P)."""
        import torch
        from torch.nn.functional import conv2d, max_pool2d, relu

        clients = len(weights)
        sizes = [math.prod(shape) for shape in self._shapes]
        parts = torch.split(weights, sizes, dim=1)
        layers = [
            part.reshape(clients, *shape) for part, shape in zip(parts, self._shapes, strict=True)
        ]
        signal = images
        for kernels, biases in zip(layers[:4:2], layers[1:4:2], strict=True):
            signal = conv2d(
                signal, kernels.flatten(0, 1), biases.flatten(), padding=KERNEL // 2, groups=clients
            )
            signal = relu(max_pool2d(signal, 2))
        signal = signal.reshape(len(images), clients, -1).transpose(0, 1)
        hidden, hidden_biases, output, output_biases = layers[4:]
        signal = relu(torch.baddbmm(hidden_biases[:, None], signal, hidden.transpose(1, 2)))
        return torch.baddbmm(output_biases[:, None], signal, output.transpose(1, 2))

    def _scores(self, parameters: Parameters, images: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Scores (m, classes), a slice of the images at a time."""
        import torch

        weights = torch.tensor(parameters, dtype=torch.float32, device=self._device)[None]
        for start in range(0, len(images), self._images_at_once):
            part = slice(start, start + self._images_at_once)
            with torch.no_grad(), self._repeatable():
                scores = self._forward(weights, images[part, None])[0]
            yield part, scores

    def _repeatable(self) -> AbstractContextManager[Any]:
        """On a GPU, convolutions that give the same bits each time, in full precision."""
        import torch

        if self._device.type != "cuda":
            return nullcontext()
        flags: AbstractContextManager[Any] = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return flags


def _side(data: FederatedData) -> int:
    """Pixels along an edge of an image."""
    pixels = math.prod(data.features.shape[1:])
    side = math.isqrt(pixels)
    if side * side != pixels or side < LEAST_SIDE:
        raise DataError(
            f"the CNN takes square grey images of at least {LEAST_SIDE}x{LEAST_SIDE} pixels, "
            f"{data.source.name} has {pixels} features a sample: use the logistic regression"
        )
    return side


def _shapes(side: int, classes: int) -> list[tuple[int, ...]]:
    """Weights and biases of each layer, in the order of the parameter vector."""
    first, second = CHANNELS
    flat = second * (side // 2 // 2) ** 2
    return [
        (first, 1, KERNEL, KERNEL),
        (first,),
        (second, first, KERNEL, KERNEL),
        (second,),
        (HIDDEN, flat),
        (HIDDEN,),
        (classes, HIDDEN),
        (classes,),
    ]
