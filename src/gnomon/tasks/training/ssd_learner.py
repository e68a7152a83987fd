"""How SSD learns COCO: photographs are cropped and matched by worker processes, hard negatives counted.

Liu et al. 2016 (arXiv:1512.02325), section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order, share_size
from gnomon.tasks.training.ssd_boxes import CENTRE_UNIT, SIZE_UNIT, default_boxes, encoded
from gnomon.tasks.training.ssd_samples import DEVIATION, MEAN, SIDE, augmented, resized
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.disk_batches import read_batches
    from gnomon.tasks.training.optimizers import make_optimizer
    from gnomon.tasks.training.ssd_model import Ssd300
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.coco import TrainingCoco

BACKBONE = "resnet34-333f7ec4.pth"
EVALUATION_BATCH = 64
NEGATIVES = 3
"""Boxes of nothing that count, for each that stands for something: those told worst."""
LEAST_SCORE = 0.05
SAME = 0.5
"""Overlap above which two boxes of a class are taken for one."""
MOST_CANDIDATES = 2000
"""Boxes of an image that are looked at, those of the highest score."""

Batch = tuple[Tensor, Tensor, Tensor]


class SsdLearner:
    """Model, optimiser and batches of one run in one process.

    A batch is images (share, 3, 300, 300), offsets (share, 8732, 4) and classes (share, 8732).
    """

    def __init__(self, task: TrainingCoco, recipe: Recipe) -> None:
        self._task, self._recipe = task, recipe
        torch.manual_seed(recipe.seed)
        model = Ssd300(task.classes)
        model.backbone.load(task.place / BACKBONE)
        self.model: nn.Module = model.to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)
        self._mean, self._deviation = (
            torch.tensor(values, device=recipe.device).reshape(1, 3, 1, 1)
            for values in (MEAN, DEVIATION)
        )
        self._defaults = torch.from_numpy(default_boxes()).float().to(recipe.device)

    def load_data(self) -> None:
        """The annotations; photographs are read as they are trained on."""
        _ = self._task.trained_on_annotations, self._task.held_out_annotations

    def batches(self, epoch: int) -> Iterator[Batch]:
        """This process's share of every batch of an epoch."""
        recipe = self._recipe
        order = epoch_order(recipe, self._task.trained_on, epoch).tolist()
        read = _TrainedOn(self._task)
        for images, offsets, classes in read_batches(
            read, order, _together, seed=recipe.seed, epoch=epoch, device=recipe.device
        ):
            yield self._input(images), self._there(offsets), self._there(classes)

    def made_up_batch(self) -> Batch:
        """Images of zeros with an object of class 0 everywhere."""
        share, device = share_size(self._recipe), self._recipe.device
        boxes = len(self._defaults)
        return (
            torch.zeros(share, SIDE, SIDE, 3, device=device).permute(0, 3, 1, 2),
            torch.zeros(share, boxes, 4, device=device),
            torch.zeros(share, boxes, dtype=torch.int64, device=device),
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Errors of offsets and cross-entropy with hard negatives, for each object of an image."""
        images, true_offsets, true_classes = batch
        offsets, classes = model(images)
        objects = true_classes < self._task.classes
        count = objects.sum(1)
        errors = functional.smooth_l1_loss(offsets, true_offsets, reduction="none").sum(2)
        wrong = functional.cross_entropy(classes.transpose(1, 2), true_classes, reduction="none")
        rank = wrong.detach().masked_fill(objects, 0).argsort(1, descending=True).argsort(1)
        counted = objects | (rank < NEGATIVES * count[:, None])
        total = (errors * objects).sum(1) + (wrong * counted).sum(1)
        # An image without any object has nothing to be divided by.
        mean: Tensor = (total * (count > 0) / count.clamp(min=1)).mean()
        return mean

    def answers(self, samples: IndexArray) -> NDArray[np.float32]:
        """The likeliest boxes of each photograph in its own pixels, shape (n, 200, 6)."""
        asked = [
            samples[start : start + EVALUATION_BATCH].tolist()
            for start in range(0, len(samples), EVALUATION_BATCH)
        ]
        found = np.full((len(samples), self._task.most_found, 6), -1, dtype=np.float32)
        place = 0
        for images, sizes in read_batches(
            _HeldOut(self._task), asked, _together, seed=0, epoch=0, device=self._recipe.device
        ):
            offsets, classes = self.model(self._input(images))
            edges = decoded(offsets, self._defaults)
            for one_edges, likely, size in zip(edges, classes.softmax(2), sizes, strict=True):
                rows = suppressed(one_edges, likely[:, :-1], self._task.most_found)
                rows = rows.cpu()
                rows[:, 2:] *= size.repeat(2)
                rows[:, 4:] -= rows[:, 2:4]
                found[place, : len(rows)] = rows.numpy()
                place += 1
        return found

    def _input(self, pixels: Tensor) -> Tensor:
        there = self._there(pixels).permute(0, 3, 1, 2).float()
        return (there - self._mean) / self._deviation

    def _there(self, values: Tensor) -> Tensor:
        return values.to(self._recipe.device, non_blocking=True)


def decoded(offsets: Tensor, defaults: Tensor) -> Tensor:
    """Edges left, upper, right, lower as shares of the image, (n, 8732, 4), clipped to it."""
    middle = defaults[:, :2] + offsets[..., :2] * CENTRE_UNIT * defaults[:, 2:]
    half = defaults[:, 2:] * (offsets[..., 2:] * SIZE_UNIT).exp() / 2
    return torch.cat([middle - half, middle + half], dim=2).clamp(0, 1)


def suppressed(edges: Tensor, likely: Tensor, most: int) -> Tensor:
    """The boxes of one image without those that overlap a likelier one of their class by more than a half.

    Args:
        edges: Shape (boxes, 4).
        likely: Of each class, shape (boxes, classes).
        most: Boxes that are kept, the likeliest.

    Returns:
        Rows of class, score and edges by falling score, shape (at most `most`, 6).
    """
    score, place = likely.flatten().topk(min(MOST_CANDIDATES, likely.numel()))
    place, score = place[score > LEAST_SCORE], score[score > LEAST_SCORE]
    label = place % likely.shape[1]
    box = edges[place // likely.shape[1]]
    low = torch.maximum(box[:, None, :2], box[None, :, :2])
    high = torch.minimum(box[:, None, 2:], box[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    area = (box[:, 2:] - box[:, :2]).prod(1)
    overlap = shared / (area[:, None] + area[None] - shared).clamp(min=1e-12)
    # Row: the box; column: a likelier one that would do away with it.
    rivals = ((overlap > SAME) & (label[:, None] == label[None])).tril(-1).float()
    kept = torch.ones(len(box), device=box.device)
    while True:
        # Greedy suppression is the one fixed point: each turn settles at least one more box.
        again = (rivals @ kept == 0).float()
        if torch.equal(again, kept):
            break
        kept = again
    rows = torch.cat([label[:, None].float(), score[:, None], box], dim=1)
    return rows[kept.bool()][:most]


class _TrainedOn:
    """A photograph to train on, augmented, with what is to be said of every default box."""

    def __init__(self, task: TrainingCoco) -> None:
        self._task = task

    def __call__(self, sample: int, generator: np.random.Generator) -> tuple[Any, Any, Any]:
        annotations, image = self._task.trained_on_annotations, sample - len(self._task)
        boxes, labels = annotations.boxes_of(image)
        edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        edges = edges / np.tile(annotations.sizes[image], 2)
        pixels, edges, labels = augmented(self._task.photograph(sample), edges, labels, generator)
        return pixels, *encoded(edges, labels, self._task.classes)


class _HeldOut:
    """A photograph to evaluate on, and its own size."""

    def __init__(self, task: TrainingCoco) -> None:
        self._task = task

    def __call__(self, sample: int, generator: np.random.Generator) -> tuple[Any, Any]:
        size = self._task.held_out_annotations.sizes[sample].astype(np.float32)
        return resized(self._task.photograph(sample)), size


def _together(samples: list[tuple[Any, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.stack(parts)) for parts in zip(*samples, strict=True))
