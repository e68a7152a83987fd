"""How images that fit into memory are learnt: bytes stay where the model is, an epoch is one shuffled copy.

There is no data loader: for small images it costs more than the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order, share_size
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.optimizers import make_optimizer
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.image_classification import ImagesInMemory

Augment: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From the bytes of images, uint8 (n, channels, height, width), and three numbers in 0 to 1 drawn for each,
(n, 3), to another view of them, of the same shape."""

EVALUATION_BATCH = 500
DRAWS = 1
"""What tells the generator of augmentation from that of the order."""


class ImageLearner:
    """Model, optimiser and batches of one run in one process; a batch is images and labels.

    Args:
        task: Where the images come from.
        recipe: Of this process.
        make_model: Makes the untrained model from the global generator, which the recipe's seed has set.
        shape: Of an image: channels, height, width.
        augment: Applied to every batch that is trained on. What is drawn for an image is the same however
            many processes there are.
    """

    def __init__(
        self,
        task: ImagesInMemory,
        recipe: Recipe,
        make_model: Callable[[], nn.Module],
        shape: tuple[int, int, int],
        augment: Augment | None = None,
    ) -> None:
        self._task, self._recipe, self._shape, self._augment = task, recipe, shape, augment
        torch.manual_seed(recipe.seed)
        self.model = make_model().to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)
        by_channel = (1, -1, 1, 1)
        self._mean = torch.tensor(task.mean, device=recipe.device).reshape(by_channel)
        self._deviation = torch.tensor(task.deviation, device=recipe.device).reshape(by_channel)

    def load_data(self) -> None:
        """All images and labels, to where the model is."""
        _ = self._trained_on, self._held_out

    @cached_property
    def _trained_on(self) -> tuple[Tensor, Tensor]:
        first = len(self._task)
        pixels = self._there(self._task.pixels[first:])
        # Bytes where every epoch shows them otherwise, and what the model takes where none does.
        images = pixels if self._augment else self._input(pixels)
        return images, self._there(self._task.labels[first:])

    @cached_property
    def _held_out(self) -> Tensor:
        return self._input(self._there(self._task.pixels[: len(self._task)]))

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, float32 (share, channels, height, width), and labels, int64 (share,), of every step."""
        recipe = self._recipe
        order = epoch_order(recipe, np.arange(self._task.training_size), epoch)
        shuffled = self._there(order.reshape(-1))
        images, labels = (whole.index_select(0, shuffled) for whole in self._trained_on)
        draws = self._draws(epoch, order.shape)
        for step in range(len(order)):
            here = slice(step * order.shape[1], (step + 1) * order.shape[1])
            seen = images[here]
            if self._augment:
                seen = self._input(self._augment(seen, draws[step]))
            yield seen, labels[here]

    def _draws(self, epoch: int, shape: tuple[int, ...]) -> Tensor:
        """Three numbers for each of this process's samples of an epoch, shape (steps, share, 3)."""
        recipe = self._recipe
        if not self._augment:
            return torch.empty(0)
        generator = np.random.default_rng([recipe.seed, epoch, DRAWS])
        drawn = generator.random((shape[0], recipe.global_batch_size, 3), dtype=np.float32)
        return torch.from_numpy(drawn[:, recipe.rank :: recipe.world_size]).to(recipe.device)

    def made_up_batch(self) -> tuple[Tensor, Tensor]:
        """Images of zeros, all of class 0."""
        share, device = share_size(self._recipe), self._recipe.device
        return (
            torch.zeros(share, *self._shape, device=device),
            torch.zeros(share, dtype=torch.int64, device=device),
        )

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def answers(self, samples: IndexArray) -> NDArray[np.int16]:
        """The class of the highest score of each, shape (n,)."""
        asked = self._held_out.index_select(0, self._there(samples))
        found = [
            self.model(asked[start : start + EVALUATION_BATCH]).argmax(1)
            for start in range(0, len(samples), EVALUATION_BATCH)
        ]
        classes: NDArray[np.int16] = torch.cat(found).cpu().numpy().astype(np.int16)
        return classes

    def _input(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._deviation

    def _there(self, array: NDArray[np.uint8] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._recipe.device)
