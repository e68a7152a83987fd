"""Plain PyTorch beside the reference implementations: the same mathematics, written as one would by hand.

Each rival is a function that trains so many steps; batches, shapes, loss and optimiser are the reference's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gnomon.embedding.rivals.full import FullTables
from gnomon.recommend.config import DLRM_SMALL
from gnomon.recommend.model import Dlrm
from gnomon.recommend.training_task import ROWS
from gnomon.tasks.training import language_model_learner, translation_learner
from gnomon.tasks.training.language_model import LENGTH, TOKENS
from gnomon.timetotrain.task import Learner

Train = Callable[[int], int]
"""Trains at most so many steps, of one epoch, and says how many it took."""


def steps_of(
    batches: Callable[[], Iterator[Any]],
    optimizer: torch.optim.Optimizer,
    loss: Callable[..., Tensor],
) -> Train:
    """The loop that everyone writes."""

    def train(most: int) -> int:
        count = 0
        for batch in itertools.islice(batches(), most):
            optimizer.zero_grad()
            loss(*batch).backward()
            optimizer.step()
            count += 1
        return count

    return train


def optimizer_of(model: nn.Module, hyperparameters: dict[str, Any], **kernels: Any) -> Any:
    """The optimiser that the hyperparameters name, at its base learning rate."""
    rate, parameters = hyperparameters["opt_base_learning_rate"], model.parameters()
    if hyperparameters["opt_name"] == "sgd":
        momentum = hyperparameters["opt_sgd_momentum"]
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, **kernels)
    if hyperparameters["opt_name"] == "adagrad":
        return torch.optim.Adagrad(parameters, lr=rate, **kernels)
    return torch.optim.Adam(parameters, lr=rate, **kernels)


def shuffled(whole: list[Tensor], size: int) -> Callable[[], Iterator[tuple[Tensor, ...]]]:
    """An epoch copied in a new order, then cut into batches."""

    def batches() -> Iterator[tuple[Tensor, ...]]:
        order = torch.randperm(len(whole[0]))
        parts = [part[order].split(size) for part in whole]
        return (batch for batch in zip(*parts, strict=True) if len(batch[0]) == size)

    return batches


def indexed(whole: list[Tensor], size: int) -> Callable[[], Iterator[tuple[Tensor, ...]]]:
    """Each batch indexed out of the data, as a tutorial does."""

    def batches() -> Iterator[tuple[Tensor, ...]]:
        order = torch.randperm(len(whole[0]))
        for start in range(0, len(order) - size + 1, size):
            yield tuple(part[order[start : start + size]] for part in whole)

    return batches


def of_images(fresh: Callable[[], Learner], hyperparameters: dict[str, Any]) -> dict[str, Train]:
    """The same model under loops by hand."""
    size, rivals = hyperparameters["global_batch_size"], {}
    for name, kernels, cut, last in (
        ("indexed", {"foreach": False}, indexed, False),
        ("foreach", {"foreach": True}, shuffled, False),
        ("fused", {"fused": True}, shuffled, False),
        ("fused channels-last", {"fused": True}, shuffled, True),
    ):
        learner = fresh()
        whole = [torch.cat(parts) for parts in zip(*learner.batches(1), strict=True)]
        model = learner.model
        if last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = optimizer_of(model, hyperparameters, **kernels)

        def loss(*batch: Tensor, learner: Learner = learner) -> Tensor:
            return learner.loss(learner.model, batch)

        rivals[name] = steps_of(cut(whole, size), optimizer, loss)
    return rivals


class FourTables(nn.Module):
    """NeuMF as its paper draws it: two tables for the product, two for the layers."""

    def __init__(self, users: int, items: int, factors: int, layers: tuple[int, ...]) -> None:
        super().__init__()
        half = layers[0] // 2
        self.tables = nn.ModuleList(
            nn.Embedding(count, width)
            for count, width in ((users, factors), (items, factors), (users, half), (items, half))
        )
        self.layers = nn.Sequential(
            *(
                part
                for inputs, outputs in itertools.pairwise(layers)
                for part in (nn.Linear(inputs, outputs), nn.ReLU())
            )
        )
        self.last = nn.Linear(factors + layers[-1], 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        mine, its, mine_too, its_too = (
            table(ids) for table, ids in zip(self.tables, (user, item, user, item), strict=True)
        )
        hidden = self.layers(torch.cat([mine_too, its_too], dim=1))
        return self.last(torch.cat([mine * its, hidden], dim=1)).squeeze(1)


def of_interactions(task: Any, fresh: Callable[[], Learner], hyperparameters: Any) -> Any:
    """Negatives drawn anew each epoch by rejection, four tables."""
    size = hyperparameters["global_batch_size"]
    data, generator = task.data, np.random.default_rng(1)
    pairs = data.pairs.astype(np.int64)
    taken = np.zeros((data.users, data.items), bool)
    taken[pairs[:, 0], pairs[:, 1]] = True
    reference: Any = fresh().model
    factors = reference.widths[0]
    widths = (reference.layers[0].in_features, *(layer.out_features for layer in reference.layers))

    def epoch() -> list[Tensor]:
        users = np.repeat(pairs[:, 0], 4)
        items = generator.integers(0, data.items, len(users))
        while (wrong := taken[users, items]).any():
            items[wrong] = generator.integers(0, data.items, wrong.sum())
        labels = np.r_[np.ones(len(pairs), np.float32), np.zeros(len(users), np.float32)]
        whole = (np.r_[pairs[:, 0], users], np.r_[pairs[:, 1], items], labels)
        return [torch.from_numpy(part) for part in whole]

    rivals = {}
    for name, kernels, cut in (
        ("four tables, indexed", {"foreach": True}, indexed),
        ("four tables, fused", {"fused": True}, shuffled),
    ):
        model = FourTables(data.users, data.items, factors, widths)

        def loss(user: Tensor, item: Tensor, label: Tensor, model: nn.Module = model) -> Tensor:
            return functional.binary_cross_entropy_with_logits(model(user, item), label)

        def batches(cut: Any = cut) -> Iterator[tuple[Tensor, ...]]:
            return cut(epoch(), size)()

        rivals[name] = steps_of(batches, optimizer_of(model, hyperparameters, **kernels), loss)
    return rivals


class OneTable(nn.Module):
    """All rows in one table, looked up by indexing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(sum(ROWS), dim) * 0.1)
        self.register_buffer("offsets", torch.from_numpy(np.r_[0, np.cumsum(ROWS)[:-1]]))

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight[ids + self.offsets]


def of_clicks(task: Any, fresh: Callable[[], Learner], hyperparameters: Any) -> dict[str, Train]:
    """Separate tables, and one table by indexing, under a loop by hand."""
    del fresh
    size, data, held_out = hyperparameters["global_batch_size"], task.data, len(task)
    whole = [
        torch.from_numpy(data.dense[held_out:]),
        torch.from_numpy(data.ids[held_out:]).long(),
        torch.from_numpy(data.labels[held_out:]),
    ]
    rivals = {}
    for name, table in (
        ("26 tables", FullTables(ROWS, DLRM_SMALL.dim, sparse=False)),
        ("one table", OneTable(DLRM_SMALL.dim)),
    ):
        model = Dlrm(DLRM_SMALL, table)

        def loss(dense: Tensor, ids: Tensor, label: Tensor, model: nn.Module = model) -> Tensor:
            return functional.binary_cross_entropy_with_logits(model(dense, ids), label)

        optimizer = optimizer_of(model, hyperparameters, fused=True)
        rivals[name] = steps_of(shuffled(whole, size), optimizer, loss)
    return rivals


class Translator(nn.Module):
    """PyTorch's own Transformer in the reference's shape."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        shape = translation_learner
        self.embedding = nn.Embedding(vocabulary, shape.DIM)
        self.places = nn.Parameter(torch.randn(shape.LONGEST, shape.DIM) * 0.1)
        self.inner = nn.Transformer(
            shape.DIM, shape.HEADS, shape.LAYERS, shape.LAYERS, shape.INNER, dropout=0.0,
            batch_first=True, norm_first=True,
        )  # fmt: skip

    def forward(self, source: Tensor, given: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(given.shape[1], dtype=torch.bool)
        padded = source == 0
        found = self.inner(
            self.embedding(source) + self.places[: source.shape[1]],
            self.embedding(given) + self.places[: given.shape[1]],
            tgt_mask=causal, tgt_is_causal=True,
            src_key_padding_mask=padded, memory_key_padding_mask=padded,
        )  # fmt: skip
        return found @ self.embedding.weight.T


def of_translation(task: Any, fresh: Callable[[], Learner], hyperparameters: Any) -> Any:
    """PyTorch's own Transformer on batches cut after their longest sentence."""
    learner, epoch = fresh(), itertools.count(1)
    model = Translator(len(task.subwords))

    def loss(source: Tensor, target: Tensor) -> Tensor:
        given = functional.pad(target[:, :-1], (1, 0))
        scores = model(source, given)
        return functional.cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=0)

    optimizer = optimizer_of(model, hyperparameters, fused=True)
    return {"nn.Transformer": steps_of(lambda: learner.batches(next(epoch)), optimizer, loss)}


class Encoder(nn.Module):
    """PyTorch's own layers as a language model in the reference's shape."""

    def __init__(self) -> None:
        super().__init__()
        shape = language_model_learner
        self.embedding = nn.Embedding(TOKENS, shape.DIM)
        self.places = nn.Parameter(torch.randn(LENGTH - 1, shape.DIM) * 0.1)
        layer = nn.TransformerEncoderLayer(
            shape.DIM, shape.HEADS, shape.INNER, dropout=0.0, batch_first=True, norm_first=True
        )
        self.inner = nn.TransformerEncoder(
            layer, shape.LAYERS, nn.LayerNorm(shape.DIM), enable_nested_tensor=False
        )
        self.scores = nn.Linear(shape.DIM, TOKENS)
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH - 1, dtype=torch.bool)
        self.register_buffer("mask", mask)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.places
        return self.scores(self.inner(x, mask=self.mask, is_causal=True))


def of_language(task: Any, fresh: Callable[[], Learner], hyperparameters: Any) -> dict[str, Train]:
    """PyTorch's own layers, and the reference's model under a loop by hand."""
    size = hyperparameters["global_batch_size"]
    whole = [torch.from_numpy(task.sequences[task.trained_on].astype(np.int64))]
    rivals, learner = {}, fresh()
    encoder = Encoder()

    def loss(batch: Tensor) -> Tensor:
        scores = encoder(batch[:, :-1])
        return functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())

    for name, model, of in (
        ("nn.TransformerEncoder", encoder, loss),
        ("the same model", learner.model, lambda batch: learner.loss(learner.model, batch)),
    ):
        optimizer = optimizer_of(model, hyperparameters, fused=True)
        rivals[name] = steps_of(shuffled(whole, size), optimizer, of)
    return rivals


RIVALS: dict[str, Callable[..., dict[str, Train]]] = {
    "train-digits": lambda task, fresh, given: of_images(fresh, given),
    "train-detection": lambda task, fresh, given: of_images(fresh, given),
    "train-translation": of_translation,
    "train-language-model": of_language,
    "train-ncf": of_interactions,
    "train-dlrm": of_clicks,
}
