"""How a network learns a board game from games against itself: AlphaZero in small.

Every process plays all games of an iteration: weights and seed are equal, so the games are too, and no
position has to travel. Each then takes its share of every batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.board_game import COLUMNS, SQUARES, Positions, legal, planes
from gnomon.tasks.training.self_play_search import (
    Experience,
    Floats,
    SearchSettings,
    play_games,
)
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

    from gnomon.tasks.training.self_play import TrainingSelfPlay

WIDTH = 256
GAMES = 256
"""Played in one iteration."""
REMEMBERED = 8
"""Iterations whose games are trained on."""

Batch = tuple[Tensor, Tensor, Tensor]


class PolicyValue(nn.Module):
    """Two layers that a policy and a value share."""

    def __init__(self, width: int) -> None:
        """Draw PyTorch's own initial weights."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(2 * SQUARES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.heads = nn.Linear(width, COLUMNS + 1)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Planes (n, 32) to move logits (n, COLUMNS) and values in -1 to 1 (n,)."""
        both = self.heads(self.body(seen))
        return both[:, :COLUMNS], torch.tanh(both[:, COLUMNS])


class SelfPlayLearner:
    """Model, optimiser and games of one run in one process; a batch is planes, policies and outcomes."""

    def __init__(self, task: TrainingSelfPlay, recipe: Recipe) -> None:
        self._task, self._recipe = task, recipe
        batch = recipe.global_batch_size
        if not 1 <= batch <= task.training_size or batch % recipe.world_size:
            raise SettingsError(
                f"global_batch_size must be 1 to {task.training_size}, the positions of an iteration, and a "
                f"multiple of the {recipe.world_size} processes, got {batch} (--set global_batch_size=N)"
            )
        torch.manual_seed(recipe.seed)
        self.model: nn.Module = PolicyValue(WIDTH).to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)
        self._memory: deque[Experience] = deque(maxlen=REMEMBERED)
        self._settings = SearchSettings()

    def load_data(self) -> None:
        """The held-out positions, the only data there are."""
        _ = self._held_out

    @cached_property
    def _held_out(self) -> tuple[Tensor, Tensor]:
        positions = self._task.problems.positions
        allowed = torch.from_numpy(legal(positions.stones))
        return self._there(planes(positions)), allowed.to(self._recipe.device)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Play one iteration's games, then planes (share, 32), policies (share, 4) and outcomes (share,)."""
        rng = np.random.default_rng([self._recipe.seed, epoch])
        with torch.inference_mode():
            self._memory.append(play_games(GAMES, self._evaluate, self._settings, rng))
        seen = np.concatenate([planes(past.positions) for past in self._memory])
        policies = np.concatenate([past.policies for past in self._memory])
        outcomes = np.concatenate([past.outcomes for past in self._memory])
        batch = self._recipe.global_batch_size
        steps = self._task.training_size // batch
        order = rng.integers(0, len(outcomes), (steps, batch))
        mirrored = rng.random((steps, batch)) < 0.5
        places = np.arange(steps * batch).reshape(steps, batch)
        kept = np.stack([self._recipe.share_of(step) for step in places]).reshape(-1)
        mine, turned = order.reshape(-1)[kept], mirrored.reshape(-1)[kept]
        boards = seen[mine].reshape(-1, 2 * SQUARES // COLUMNS, COLUMNS)
        columns = (
            _mirror(boards, turned),
            _mirror(policies[mine][:, None], turned),
            outcomes[mine],
        )
        share = batch // self._recipe.world_size
        return zip(*(torch.split(self._there(part), share) for part in columns), strict=True)

    def _evaluate(self, positions: Positions) -> tuple[Floats, Floats]:
        logits, values = self.model(self._there(planes(positions)))
        return logits.softmax(1).cpu().numpy(), values.cpu().numpy()

    def made_up_batch(self) -> Batch:
        """Empty boards."""
        share = self._recipe.global_batch_size // self._recipe.world_size
        device = self._recipe.device
        return (
            torch.zeros(share, 2 * SQUARES, device=device),
            torch.full((share, COLUMNS), 1 / COLUMNS, device=device),
            torch.zeros(share, device=device),
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the policy, and squared error of the value."""
        seen, policies, outcomes = batch
        logits, values = model(seen)
        return functional.cross_entropy(logits, policies) + functional.mse_loss(values, outcomes)

    def answers(self, samples: IndexArray) -> NDArray[np.int8]:
        """The legal move of the highest policy, without any search, shape (n,)."""
        seen, allowed = self._held_out
        chosen = torch.from_numpy(samples).to(self._recipe.device)
        logits, _ = self.model(seen.index_select(0, chosen))
        best = logits.masked_fill(~allowed.index_select(0, chosen), -torch.inf).argmax(1)
        return cast("NDArray[np.int8]", best.cpu().numpy().astype(np.int8))

    def _there(self, array: Floats) -> Tensor:
        return torch.from_numpy(array).to(self._recipe.device)


def _mirror(rows: Floats, turned: NDArray[np.bool_]) -> Floats:
    """Rows of columns (n, k, COLUMNS), left and right exchanged where asked for, as (n, k * COLUMNS)."""
    mirrored = np.where(turned[:, None, None], rows[:, :, ::-1], rows)
    return mirrored.reshape(len(rows), -1)
