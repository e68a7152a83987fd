"""Which user took which item, and the ranking task that the field makes of it: hit rate at 10.

A generated set that ships as a few lines, and what sets read from files share: one item a user held out, to
be found among others that the user never took (He et al. 2017, arXiv:1708.05031, section 4.1).
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.timetotrain.task import Learner, Recipe, TrainingTask

RECOMMENDED = 10
NEGATIVES = 4
"""Items a user did not take, drawn anew each epoch for each that was taken."""
TAKEN = 31
"""Items that a generated user takes, one of which is held out."""


@dataclass(frozen=True)
class Interactions:
    """Users, the items they took, and what their recommendations are judged on.

    Attributes:
        users: How many.
        items: How many.
        pairs: User and item of every interaction that is trained on, int32 (n, 2), by user.
        candidates: What is ranked for each user, by item number, int32 (users, m): the item held out and
            others that the user never took.
        held_out: The place of the item held out among the candidates, int32 (users,).
    """

    users: int
    items: int
    pairs: NDArray[np.int32]
    candidates: NDArray[np.int32]
    held_out: NDArray[np.int32]

    @property
    def sha256(self) -> str:
        """Fingerprint of everything."""
        digest = hashlib.sha256(f"{self.users} {self.items}".encode())
        for array in (self.pairs, self.candidates, self.held_out):
            digest.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
        return digest.hexdigest()


class InteractionTask(TrainingTask):
    """Recommend ten items to each user.

    A held-out sample is a user. Its input is int32 (1 + m,): the user's number, and m candidates by item
    number, one of which the user took. An answer is the places of the ten recommended among the candidates,
    uint16 (10,).

    A sample that is trained on is a pair of user and item, taken or drawn: an epoch has every pair taken and
    four drawn for each.
    """

    metric = "HR@10"

    @property
    @abstractmethod
    def data(self) -> Interactions:
        """The users, made or read on first use."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """How many users and items there are."""

    def __len__(self) -> int:
        return self.shape[0]

    def inputs(self, samples: IndexArray) -> NDArray[np.int32]:
        """User and candidates, int32 (n, 1 + m)."""
        users = np.asarray(samples, dtype=np.int32)
        return np.concatenate([users[:, None], self.data.candidates[samples]], axis=1)

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of users whose held-out item is among the ten recommended.

        Raises:
            DataError: Not ten different places among the candidates for each user.
        """
        places = np.asarray(outputs)
        width = self.data.candidates.shape[1]
        if places.shape != (len(samples), RECOMMENDED) or places.dtype.kind not in "iu":
            raise DataError(
                f"{self.name} is scored from {RECOMMENDED} places a user, got {places.dtype} outputs of "
                f"shape {places.shape} for {len(samples)} users"
            )
        ordered = np.sort(places, axis=1)
        fine = (ordered[:, 0] >= 0) & (ordered[:, -1] < width)
        fine &= (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
        if not fine.all():
            worst = int(np.argmin(fine))
            raise DataError(
                f"sample {samples[worst]} was recommended places {places[worst].tolist()}: they must be "
                f"different and among 0 to {width - 1}"
            )
        return float((places == self.data.held_out[samples, None]).any(axis=1).mean())

    def encode(self, output: object) -> bytes:
        """Ten places, two bytes each."""
        return np.asarray(output, dtype=np.uint16).tobytes()

    def decode(self, data: bytes) -> NDArray[np.uint16]:
        """Ten places, uint16 (10,)."""
        return np.frombuffer(data, dtype=np.uint16)

    @abstractmethod
    def learner(self, recipe: Recipe) -> Learner:
        """NeuMF of a size that suits the data."""


class TrainingInteractions(InteractionTask):
    """Recommend to a thousand generated users, who took 31 of 600 items each.

    What a user takes comes from a latent model of rank 8, an item's popularity, and chance. See
    `InteractionTask` for inputs and answers: 100 candidates a user.
    """

    name = "training-interactions"
    shape = (1000, 600)
    threads = 1
    training_size = 1000 * (TAKEN - 1) * (1 + NEGATIVES)

    def prepare(self) -> None:
        """Generate the users."""
        _ = self.data

    @cached_property
    def data(self) -> Interactions:
        """The generated users, the same for every run."""
        return generated_interactions(*self.shape)

    def source(self) -> DataSource:
        """Generated, in place of MovieLens."""
        data = self.data
        name = f"generated interactions, {data.users:,} users and {data.items} items"
        return DataSource(name, official=False, sha256=data.sha256)

    def learner(self, recipe: Recipe) -> Learner:
        """NeuMF with 16 factors."""
        from gnomon.tasks.training.ncf_learner import NcfLearner, NeuMfConfig

        return NcfLearner(self, recipe, NeuMfConfig(factors=16, layers=(32, 32, 16)))


def generated_interactions(
    users: int, items: int, taken: int = TAKEN, others: int = 99, seed: int = 0
) -> Interactions:
    """Users who take what a latent model, popularity and chance make them like best.

    Args:
        users: How many.
        items: How many there are to take.
        taken: Items a user takes; one of them, drawn, is held out.
        others: Candidates beside the one held out.
        seed: Settles everything.
    """
    rng = np.random.default_rng(seed)
    rank = 8
    tastes, traits = rng.standard_normal((users, rank)), rng.standard_normal((items, rank))
    popularity = 0.5 * rng.gumbel(size=items)
    liking = tastes @ traits.T + popularity + rng.gumbel(size=(users, items))
    best = np.argpartition(-liking, taken, axis=1)[:, :taken]
    best.sort(axis=1)
    rows = np.arange(users)
    chosen = rng.integers(0, taken, users)
    kept = np.ones(best.shape, dtype=bool)
    kept[rows, chosen] = False
    pairs = np.stack([np.repeat(rows, taken - 1), best[kept]], axis=1).astype(np.int32)
    keys = rng.random((users, items), dtype=np.float32)
    keys[rows[:, None], best] = 2
    drawn = np.argpartition(keys, others - 1, axis=1)[:, :others].astype(np.int32)
    return with_candidates(users, items, pairs, best[rows, chosen].astype(np.int32), drawn)


def with_candidates(
    users: int,
    items: int,
    pairs: NDArray[np.int32],
    held_out: NDArray[np.int32],
    others: NDArray[np.int32],
) -> Interactions:
    """Interactions with what each user's held-out item is ranked among.

    Args:
        users: How many.
        items: How many.
        pairs: As `Interactions.pairs`, by user.
        held_out: The item held out of each user, int32 (users,).
        others: Different items that each user never took, int32 (users, m - 1).
    """
    candidates = np.concatenate([held_out[:, None], others], axis=1)
    # By item number, so that where the item held out stands says nothing and ties favour nobody.
    candidates.sort(axis=1)
    place = (candidates == held_out[:, None]).argmax(axis=1).astype(np.int32)
    return Interactions(users, items, pairs, candidates, place)
