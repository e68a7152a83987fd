"""The training of one click model for one seed, with its AUC on the way.

Evaluation is over all held-out samples, as the field scores DLRM; its time is told apart from training's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.recommend.data import ClickData
from gnomon.recommend.recipe import Optimizer, TrainConfig, Variant
from gnomon.recommend.record import Evaluation, Step, StepObserver, TrainRecord
from gnomon.tasks.clicks import ClickBatch, ClickSchema, roc_auc

try:
    import torch
    from torch import Tensor, nn

    from gnomon.embedding.rivals import make_embedding
    from gnomon.recommend.model import Dlrm, lookup_arguments
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

EVALUATION_BATCH = 16384
OBSERVE_EVERY_S = 0.2

Batches = Callable[[int], Iterable[ClickBatch]]
"""From the number of an epoch, 0 the first, to its batches."""


def train(
    config: TrainConfig, data: ClickData, observer: StepObserver | None = None
) -> tuple[Dlrm, TrainRecord]:
    """Train one variant for one seed.

    Args:
        config: Everything that decides the outcome but the data.
        data: Samples to train on, shuffled by seed and epoch, and samples to hold out.
        observer: Told now and then how it stands.

    Returns:
        The model, and what came of it.

    Raises:
        DataError: The model diverged.
        SettingsError: An embedding that cannot be made as asked.
    """

    def epoch(number: int) -> Iterable[ClickBatch]:
        return data.train.shuffled(config.recipe.batch_size, config.seed, number)

    batches = -(-len(data.train) // config.recipe.batch_size)
    return train_on(
        config,
        data.schema,
        epoch,
        lambda: data.held_out.batches(EVALUATION_BATCH),
        batches_an_epoch=batches,
        observer=observer,
    )


def train_on(
    config: TrainConfig,
    schema: ClickSchema,
    batches: Batches,
    held_out: Callable[[], Iterable[ClickBatch]],
    *,
    batches_an_epoch: int | None = None,
    observer: StepObserver | None = None,
) -> tuple[Dlrm, TrainRecord]:
    """As `train`, from any source of batches: one that is read from disk as it goes, say.

    Args:
        config: As in `train`; the batches come as they are, whatever its batch size.
        schema: The embedding tables.
        batches: The batches of an epoch.
        held_out: All samples to evaluate on.
        batches_an_epoch: For the observer's share done, if it is known.
        observer: As in `train`.

    Returns:
        As `train`.

    Raises:
        DataError: As `train`, or an epoch without batches.
        SettingsError: As `train`.
    """
    # Asked for explicitly: torch would note once a process that it does not check sparse gradients.
    unchecked = torch.sparse.check_sparse_tensor_invariants(enable=False)  # type: ignore[no-untyped-call]
    with _threads(config.threads), unchecked:
        model = make_model(config, schema)
        run = _Run(config, schema, model, held_out, batches_an_epoch, observer)
        for number in range(config.epochs):
            if run.epoch(number, batches(number)):
                break
        return model, run.record()


def make_model(config: TrainConfig, schema: ClickSchema) -> Dlrm:
    """The untrained model. Weights outside the embedding are the same for a seed whatever the variant."""
    embedding = embedding_of(config.variant, schema, config.model.dim, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Dlrm(config.model, embedding)


def embedding_of(variant: Variant, schema: ClickSchema, dim: int, seed: int) -> nn.Module:
    """The untrained embedding of a variant; full tables give sparse gradients.

    Raises:
        SettingsError: A compression that the method cannot reach, or an option that it does not have.
    """
    options = dict(variant.options)
    if variant.kind == "full":
        options.setdefault("sparse", True)
    try:
        return make_embedding(
            variant.kind, schema.rows, dim, compression=variant.compression, seed=seed, **options
        )
    except TypeError as error:
        raise SettingsError(
            f"{variant.method} has an option that it does not know: {error}"
        ) from None


def evaluate(
    model: Dlrm, schema: ClickSchema, batches: Iterable[ClickBatch]
) -> tuple[float, float]:
    """AUC and mean cross-entropy in nats over all these samples.

    Raises:
        DataError: Scores are not finite, or the samples are all of one class.
    """
    logits, labels = [], []
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            logits.append(model(*_inputs(batch, schema)).numpy())
            labels.append(batch.labels)
    model.train()
    z, y = np.concatenate(logits), np.concatenate(labels)
    auc = roc_auc(z, y)
    wide = z.astype(np.float64)
    losses = np.logaddexp(0.0, wide) - y * wide
    return auc, float(losses.mean())


@dataclass
class _Run:
    """A training in progress."""

    config: TrainConfig
    schema: ClickSchema
    model: Dlrm
    held_out: Callable[[], Iterable[ClickBatch]]
    batches_an_epoch: int | None
    observer: StepObserver | None
    evaluations: list[Evaluation] = field(default_factory=list)
    batches: int = 0
    samples: int = 0
    training_s: float = 0.0
    elapsed_s: float = 0.0
    reached: bool = False
    _told_at_s: float = 0.0

    def __post_init__(self) -> None:
        recipe = self.config.recipe
        self._optimizers = [
            _optimizer(recipe.embedding, self.model.embedding.parameters()),
            _optimizer(recipe.mlp, self.model.other_parameters()),
        ]

    def epoch(self, number: int, batches: Iterable[ClickBatch]) -> bool:
        """One pass; whether the target was reached."""
        before = self.batches
        began = time.perf_counter()
        for batch in batches:
            self._step(batch)
            every = self.config.evaluate_every
            if every and self.batches % every == 0:
                self._pause(began)
                if self._evaluate(number, end_of_epoch=False):
                    return True
                began = time.perf_counter()
            self._observe(number, self.elapsed_s + time.perf_counter() - began)
        self._pause(began)
        if self.batches == before:
            raise DataError(f"epoch {number + 1} has no batches to train on")
        return self._evaluate(number + 1, end_of_epoch=True)

    def record(self) -> TrainRecord:
        """What came of it."""
        embedding: Any = self.model.embedding
        last = self.evaluations[-1]
        return TrainRecord(
            evaluations=tuple(self.evaluations),
            weights=int(embedding.weight_count),
            full_weights=sum(self.schema.rows) * self.config.model.dim,
            embedding_bytes=int(embedding.bytes),
            mlp_parameters=self.config.model.parameters,
            target=self.config.target,
            time_to_target_s=last.training_s if self.reached else None,
            time_to_target_with_evaluation_s=last.elapsed_s if self.reached else None,
        )

    def _step(self, batch: ClickBatch) -> None:
        loss = nn.functional.binary_cross_entropy_with_logits(
            self.model(*_inputs(batch, self.schema)), torch.from_numpy(batch.labels)
        )
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        self.batches += 1
        self.samples += len(batch)

    def _pause(self, began: float) -> None:
        spent = time.perf_counter() - began
        self.training_s += spent
        self.elapsed_s += spent

    def _evaluate(self, complete: int, *, end_of_epoch: bool) -> bool:
        if self.evaluations and self.evaluations[-1].batches == self.batches:
            # An evaluation fell on the last step of the epoch: it is that of the epoch too.
            self.evaluations[-1] = replace(
                self.evaluations[-1], epoch=complete, end_of_epoch=end_of_epoch
            )
            return self.reached
        began = time.perf_counter()
        try:
            auc, log_loss = evaluate(self.model, self.schema, self.held_out())
        except DataError as error:
            name = self.config.variant.name
            raise DataError(f"{name}, seed {self.config.seed}: {error}") from None
        self.elapsed_s += time.perf_counter() - began
        self.evaluations.append(
            Evaluation(
                epoch=complete,
                end_of_epoch=end_of_epoch,
                batches=self.batches,
                samples=self.samples,
                auc=auc,
                log_loss=log_loss,
                training_s=self.training_s,
                elapsed_s=self.elapsed_s,
            )
        )
        target = self.config.target
        self.reached = target is not None and auc >= target
        return self.reached

    def _observe(self, number: int, elapsed_s: float) -> None:
        if self.observer is None or elapsed_s - self._told_at_s < OBSERVE_EVERY_S:
            return
        self._told_at_s = elapsed_s
        share = 0.0
        if self.batches_an_epoch:
            share = min(1.0, self.batches / (self.batches_an_epoch * self.config.epochs))
        auc = self.evaluations[-1].auc if self.evaluations else None
        self.observer(Step(share, number + 1, auc, elapsed_s))


def _inputs(batch: ClickBatch, schema: ClickSchema) -> tuple[Tensor, Tensor, Tensor | None]:
    ids, offsets = lookup_arguments(torch.from_numpy(batch.ids), schema.hotness)
    return torch.from_numpy(batch.dense), ids, offsets


def _optimizer(declared: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    chosen = list(parameters)
    rate, epsilon = declared.learning_rate, declared.epsilon
    if declared.algorithm == "sgd":
        return torch.optim.SGD(chosen, lr=rate)
    if declared.algorithm == "adagrad":
        return torch.optim.Adagrad(chosen, lr=rate, eps=epsilon)
    return torch.optim.Adam(chosen, lr=rate, eps=epsilon)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weights_of(model: Dlrm) -> dict[str, np.ndarray[Any, Any]]:
    """Every trained weight by name, as arrays."""
    return {
        name: cast("Tensor", value).detach().cpu().numpy()
        for name, value in model.named_parameters()
    }
