"""How a small detector without anchors learns the scenes: every cell of a grid names what is centred in it.

After FCOS (Tian et al. 2019, arXiv:1904.01355) with one scale: a cell gives class scores and the distances to
the four sides of the box, in units of its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.digits import CLASSES
from gnomon.tasks.training.batches import epoch_order, share_size
from gnomon.tasks.training.scenes import SIDE
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

    from gnomon.tasks.training.scenes import TrainingScenes

STRIDE = 4
CELLS = SIDE // STRIDE
GROUPS = 8
NOTHING_WEIGHT = 0.1
"""Of a cell in which nothing is centred, against one in which something is: 62 of 64 are such."""
BOXES_A_SCENE = 2
"""On average."""


def untrained_detector() -> nn.Module:
    """Images (n, 1, 32, 32) to (n, 15, 8, 8): ten digits, nothing, and four distances."""
    layers: list[nn.Module] = []
    before = 1
    for width, kernel, stride in ((16, 5, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1)):
        convolution = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.GroupNorm(GROUPS, width), nn.ReLU(inplace=True)]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, CLASSES + 1 + 4, 1))


class ScenesLearner:
    """Model, optimiser and batches of one run in one process.

    A batch is images (share, 1, 32, 32), classes (share, 8, 8) with 10 for nothing, and the distances from a
    cell's middle to its box's left, upper, right and lower side, (share, 4, 8, 8) in cells.
    """

    def __init__(self, task: TrainingScenes, recipe: Recipe) -> None:
        self._task, self._recipe = task, recipe
        torch.manual_seed(recipe.seed)
        self.model = untrained_detector().to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)
        self._weights = torch.tensor([1.0] * CLASSES + [NOTHING_WEIGHT], device=recipe.device)

    def load_data(self) -> None:
        """Compose all scenes and bring them to where the model is."""
        _ = self._trained_on, self._held_out

    @cached_property
    def _trained_on(self) -> tuple[Tensor, Tensor, Tensor]:
        samples = self._task.trained_on
        scenes = self._task.scenes
        classes, distances = cell_targets(scenes.boxes[samples], scenes.labels[samples])
        return self._there(self._task.inputs(samples)), self._there(classes), self._there(distances)

    @cached_property
    def _held_out(self) -> Tensor:
        return self._there(self._task.inputs(self._task.held_out))

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """This process's share of every batch of an epoch."""
        order = epoch_order(self._recipe, np.arange(self._task.training_size), epoch)
        shuffled = self._there(order.reshape(-1))
        images, classes, distances = (whole.index_select(0, shuffled) for whole in self._trained_on)
        for step in range(len(order)):
            here = slice(step * order.shape[1], (step + 1) * order.shape[1])
            yield images[here], classes[here], distances[here]

    def made_up_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Black scenes with a zero in every cell."""
        share, device = share_size(self._recipe), self._recipe.device
        return (
            torch.zeros(share, 1, SIDE, SIDE, device=device),
            torch.zeros(share, CELLS, CELLS, dtype=torch.int64, device=device),
            torch.zeros(share, 4, CELLS, CELLS, device=device),
        )

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Weighted cross-entropy of all cells and the error of the distances, for each box."""
        images, classes, distances = batch
        said = model(images)
        named = functional.cross_entropy(
            said[:, : CLASSES + 1], classes, weight=self._weights, reduction="sum"
        )
        something = (classes < CLASSES).to(said.dtype).unsqueeze(1)
        errors = ((said[:, CLASSES + 1 :] - distances).abs() * something).sum() / 4
        # By the same number in every process, not by the boxes of its share: the mean gradient is exact.
        loss: Tensor = (named + errors) / (BOXES_A_SCENE * len(images))
        return loss

    def answers(self, samples: IndexArray) -> NDArray[np.float32]:
        """The likeliest boxes of each scene, shape (n, most_found, 6)."""
        said = self.model(self._held_out.index_select(0, self._there(samples)))
        likely = said[:, : CLASSES + 1].softmax(1)[:, :CLASSES].flatten(1)
        score, place = likely.topk(self._task.most_found, dim=1)
        cell = place % CELLS**2
        sides = said[:, CLASSES + 1 :].flatten(2)
        left, upper, right, lower = (
            STRIDE * side for side in sides.gather(2, cell[:, None].expand(-1, 4, -1)).unbind(1)
        )
        x = (cell % CELLS) * STRIDE + STRIDE / 2
        y = (cell // CELLS) * STRIDE + STRIDE / 2
        rows = (place // CELLS**2, score, x - left, y - upper, left + right, upper + lower)
        found: NDArray[np.float32] = torch.stack(rows, dim=2).cpu().numpy().astype(np.float32)
        return found

    def _there(self, array: NDArray[np.float32] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self._recipe.device)


def cell_targets(
    boxes: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What every cell should say of scenes' boxes (n, k, 4) and labels (n, k).

    Returns:
        Classes, int64 (n, 8, 8), 10 for nothing; distances, float32 (n, 4, 8, 8), in cells.
    """
    scene, place = np.nonzero(labels >= 0)
    box = boxes[scene, place]
    column, row = ((2 * box[:, :2] + box[:, 2:]) // (2 * STRIDE)).T
    classes = np.full((len(labels), CELLS, CELLS), CLASSES, dtype=np.int64)
    classes[scene, row, column] = labels[scene, place]
    middle = np.stack([column, row], axis=1) + 0.5
    distances = np.zeros((len(labels), 4, CELLS, CELLS), dtype=np.float32)
    sides = np.concatenate(
        [middle - box[:, :2] / STRIDE, (box[:, :2] + box[:, 2:]) / STRIDE - middle], axis=1
    )
    distances[scene, :, row, column] = sides
    return classes, distances
