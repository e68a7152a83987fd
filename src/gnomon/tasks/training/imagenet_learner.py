"""How ResNet-50 learns ImageNet: files decoded and cropped by worker processes, trained on as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order, share_size
from gnomon.tasks.training.imagenet import MEAN, SIDE
from gnomon.tasks.training.jpeg_images import opened, random_crop
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.disk_batches import read_batches
    from gnomon.tasks.training.optimizers import make_optimizer
    from gnomon.tasks.training.residual_network import ResNet50
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.imagenet import TrainingImageNet

EVALUATION_BATCH = 256


class ImageNetLearner:
    """Model, optimiser and batches of one run in one process; a batch is images and labels.

    Weight decay spares biases and normalisation, as in the field's reference.
    """

    def __init__(self, task: TrainingImageNet, recipe: Recipe) -> None:
        self._task, self._recipe = task, recipe
        torch.manual_seed(recipe.seed)
        model = ResNet50(task.classes).to(recipe.device)
        self.model: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer, self.schedule = make_optimizer(self.model, recipe, decay_vectors=False)
        self._mean = torch.tensor(MEAN, device=recipe.device).reshape(1, 3, 1, 1)

    def load_data(self) -> None:
        """Nothing fits into memory: files are read as they are trained on."""

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, float32 (share, 3, 224, 224) less the mean, and labels, int64 (share,), of every step."""
        order = epoch_order(self._recipe, self._task.trained_on, epoch)
        return self._read(_Cropped(self._task), order.tolist(), epoch)

    def made_up_batch(self) -> tuple[Tensor, Tensor]:
        """Images of zeros, all of class 0."""
        share, device = share_size(self._recipe), self._recipe.device
        images = torch.zeros(share, SIDE, SIDE, 3, device=device).permute(0, 3, 1, 2)
        return images, torch.zeros(share, dtype=torch.int64, device=device)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def answers(self, samples: IndexArray) -> NDArray[np.int16]:
        """The class of the highest score of each, shape (n,)."""
        asked = [
            samples[start : start + EVALUATION_BATCH].tolist()
            for start in range(0, len(samples), EVALUATION_BATCH)
        ]
        found = [
            self.model(images).argmax(1) for images, _ in self._read(_Middle(self._task), asked, 0)
        ]
        classes: NDArray[np.int16] = torch.cat(found).cpu().numpy().astype(np.int16)
        return classes

    def _read(
        self, read: Any, batches: list[list[int]], epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        recipe = self._recipe
        for pixels, labels in read_batches(
            read, batches, _together, seed=recipe.seed, epoch=epoch, device=recipe.device
        ):
            there = pixels.to(recipe.device, non_blocking=True).permute(0, 3, 1, 2)
            yield there.float() - self._mean, labels.to(recipe.device, non_blocking=True)


class _Cropped:
    """A random part of an image, and its label."""

    def __init__(self, task: TrainingImageNet) -> None:
        self._task = task

    def __call__(self, sample: int, generator: np.random.Generator) -> tuple[Any, int]:
        listed = self._task.listed
        picture = opened(self._task.place / listed.files[sample])
        return random_crop(picture, SIDE, generator), int(listed.labels[sample])


class _Middle:
    """The middle of an image, and its label."""

    def __init__(self, task: TrainingImageNet) -> None:
        self._task = task

    def __call__(self, sample: int, generator: np.random.Generator) -> tuple[Any, int]:
        return self._task.evaluated(sample), int(self._task.labels[sample])


def _together(samples: list[tuple[Any, int]]) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in samples]))
    return pixels, torch.tensor([label for _, label in samples])
