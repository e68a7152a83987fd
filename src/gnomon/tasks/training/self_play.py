"""Learning a board game from self-play alone, judged by an exact solution of the game.

The game is Connect Four on 4x4 (`gnomon.tasks.training.board_game`); it stands for MiniGo, which the field
judged by the moves of professional players.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.training.board_game import (
    COLUMNS,
    Positions,
    legal,
    planes,
    solve,
)
from gnomon.timetotrain.task import Learner, Recipe, TrainingTask

HELD_OUT = 4000
DATA_SEED = 0


class Problems(NamedTuple):
    """Held-out positions and their best moves, bool (n, COLUMNS)."""

    positions: Positions
    best: NDArray[np.bool_]


class TrainingSelfPlay(TrainingTask):
    """Find a best move of Connect Four on 4x4.

    An input is float32 (32,): own stones, then the other's, row by row from below. An answer is a column,
    int8. The held-out positions are drawn from all that can be reached and in which some legal move throws
    away the outcome of perfect play; a move is right if it keeps it. A random legal move is right in 44 %.

    Nothing is read to train on. An epoch is one iteration: games of the model against itself, and then steps
    on positions of these and of the games before.
    """

    name = "training-self-play"
    metric = "best-move rate"
    threads = 1
    training_size = 8192
    """Positions that the steps of one iteration are taken on."""

    def __len__(self) -> int:
        return HELD_OUT

    def prepare(self) -> None:
        """Solve the game."""
        _ = self.problems

    @cached_property
    def problems(self) -> Problems:
        """The held-out positions: the game is solved once a process, in half a second."""
        solution = solve()
        matters = (legal(solution.positions.stones) & ~solution.best).any(axis=1)
        among = np.flatnonzero(matters)
        chosen = np.random.default_rng(DATA_SEED).choice(among, HELD_OUT, replace=False)
        return Problems(solution.positions.at(chosen), solution.best[chosen])

    def source(self) -> DataSource:
        """Exact, but of no published round."""
        (own, stones), best = self.problems
        digest = hashlib.sha256(own.tobytes() + stones.tobytes() + best.tobytes()).hexdigest()
        name = f"Connect Four on 4x4, solved: {HELD_OUT:,} positions"
        return DataSource(name, official=False, sha256=digest)

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Positions as planes of stones, float32 (n, 32)."""
        return planes(self.problems.positions.at(samples))

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of positions in which the answer is a best move; a full column never is.

        Raises:
            DataError: Not one column a position.
        """
        columns = np.asarray(outputs)
        if columns.dtype.kind not in "iu" or columns.size != len(samples):
            raise DataError(
                f"task {self.name!r} is scored from one column a position, got {columns.dtype} outputs of "
                f"shape {columns.shape} for {len(samples)} positions"
            )
        columns = columns.reshape(-1)
        outside = np.flatnonzero((columns < 0) | (columns >= COLUMNS))
        if len(outside):
            raise DataError(
                f"sample {samples[outside[0]]} was answered with column {columns[outside[0]]}: columns are 0 "
                f"to {COLUMNS - 1}"
            )
        return float(self.problems.best[samples, columns].mean())

    def encode(self, output: object) -> bytes:
        """A column as one byte."""
        return np.asarray(output, dtype=np.int8).tobytes()

    def decode(self, data: bytes) -> NDArray[np.int8]:
        """The column, shape (1,)."""
        return np.frombuffer(data, dtype=np.int8)

    def learner(self, recipe: Recipe) -> Learner:
        """A small network with a policy and a value, and tree search over many games at once."""
        from gnomon.tasks.training.self_play_learner import SelfPlayLearner

        return SelfPlayLearner(self, recipe)
