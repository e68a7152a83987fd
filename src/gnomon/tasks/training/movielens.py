"""MovieLens as the field trains on it: ratings as interactions, each user's latest held out.

Reads GroupLens' own files: `ratings.csv` (ml-20m, ml-25m, ml-latest) and `ratings.dat` (ml-1m, ml-10m), in a
folder or in the archive they are published in.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, described
from gnomon.core.task import DataSource
from gnomon.tasks.training.interactions import (
    NEGATIVES,
    Interactions,
    InteractionTask,
    with_candidates,
)
from gnomon.timetotrain.task import Learner, Recipe

FEWEST_RATINGS = 20
"""Users of fewer are left out."""
OTHERS = 999
"""Candidates beside the one held out."""
DATA_SEED = 0
ML_20M_ZIP_MD5 = "cd245b17a1ae2cc31bb14903e1204af3"
"""Of ml-20m.zip: https://files.grouplens.org/datasets/movielens/ml-20m.zip.md5"""
NAMES = ("ratings.csv", "ratings.dat")


class Ratings(NamedTuple):
    """Who rated what, and when; int64 (n,) each."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times_s: NDArray[np.int64]


class TrainingMovieLens(InteractionTask):
    """Recommend movies to MovieLens' users, as MLPerf Training v0.5 does on ml-20m.

    Each user's latest rating is held out and ranked among 999 movies that the user never rated. See
    `InteractionTask` for inputs and answers.

    Args:
        path: `ml-20m.zip`, the folder that it unpacks to, or its ratings file. Only the archive as published
            is taken for the field's data set.
    """

    name = "training-movielens"
    needs = (
        "MovieLens 20M (ml-20m.zip from https://grouplens.org/datasets/movielens/20m/, or its folder or "
        "ratings.csv; ml-1m's ratings.dat will do to try it)"
    )

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data PATH")
        self._path = Path(path)

    @cached_property
    def data(self) -> Interactions:
        """The ratings as interactions: a reformatting that is the same every time, done once a process."""
        text, where = _ratings_text(self._path)
        try:
            return interactions_of(read_ratings(text), OTHERS)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None

    @property
    def shape(self) -> tuple[int, int]:
        """How many users and movies there are: 138,493 and 26,744 of ml-20m."""
        return self.data.users, self.data.items

    @property
    def training_size(self) -> int:  # type: ignore[override]
        """Pairs of an epoch, rated and drawn: 99,308,850 of ml-20m."""
        return len(self.data.pairs) * (1 + NEGATIVES)

    def source(self) -> DataSource:
        """Official only if it is ml-20m.zip as published, byte for byte."""
        published = False
        if zipfile.is_zipfile(self._path):
            with self._path.open("rb") as stream:
                digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
            published = digest.hexdigest() == ML_20M_ZIP_MD5
        data = self.data
        rated = len(data.pairs) + data.users
        name = "MovieLens 20M" if published else f"{rated:,} ratings in {self._path.name}"
        return DataSource(name, official=published, sha256=data.sha256)

    def learner(self, recipe: Recipe) -> Learner:
        """NeuMF as in MLPerf Training v0.5: 64 factors, layers of 256, 256, 128 and 64."""
        from gnomon.tasks.training.ncf_learner import NcfLearner, NeuMfConfig

        return NcfLearner(self, recipe, NeuMfConfig(factors=64, layers=(256, 256, 128, 64)))


def _ratings_text(path: Path) -> tuple[bytes, str]:
    """The ratings file's bytes, and where they are.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    mend = "give ml-20m.zip, the folder it unpacks to, or its ratings.csv"
    try:
        if path.is_dir():
            found = [path / name for name in NAMES if (path / name).is_file()]
            if not found:
                raise DataError(f"{path} has neither {NAMES[0]} nor {NAMES[1]}: {mend}")
            return found[0].read_bytes(), str(found[0])
        if not zipfile.is_zipfile(path):
            return path.read_bytes(), str(path)
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.rpartition("/")[2] in NAMES:
                    return archive.read(member), f"{path}, {member}"
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: {mend}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({described(error)}): {mend}") from None
    raise DataError(f"{path} holds neither {NAMES[0]} nor {NAMES[1]}: {mend}")


def read_ratings(text: bytes) -> Ratings:
    """Parse `userId,movieId,rating,timestamp` under its header, or `1::1193::5::978300760` without.

    Raises:
        DataError: A line that is neither; the message has its number where it can be known.
    """
    from pyarrow import ArrowInvalid, csv, float64, int64

    first = text[: text.find(b"\n") + 1 or None]
    doubled = b"::" in first
    if not text.strip():
        raise DataError("no ratings: the file is empty")
    names = ["userId", "movieId", "rating", "timestamp"]
    if not doubled and first.strip().decode("latin-1").split(",") != names:
        raise DataError(f"line 1 must be {','.join(names)}, got {first[:60]!r}")
    if doubled:
        text = text.replace(b"::", b",")
    types = dict(zip(names, (int64(), int64(), float64(), int64()), strict=True))
    try:
        table = csv.read_csv(
            io.BytesIO(text),
            read_options=csv.ReadOptions(column_names=names, skip_rows=0 if doubled else 1),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except ArrowInvalid as error:
        raise DataError(f"a line is no rating ({described(error)}): download it again") from None
    if not table.num_rows:
        raise DataError("no ratings: the file has only its header")
    users, items, times_s = (table[name].to_numpy() for name in ("userId", "movieId", "timestamp"))
    return Ratings(users, items, times_s)


def interactions_of(ratings: Ratings, others: int) -> Interactions:
    """Ratings as the field takes them: who rated at least 20, numbered anew, the latest of each held out.

    Of ratings at the same second the last in the file is held out.

    Raises:
        DataError: No user rated enough, a movie is rated twice by one, or too few are left to rank.
    """
    _, who, counts = np.unique(ratings.users, return_inverse=True, return_counts=True)
    kept = counts[who] >= FEWEST_RATINGS
    if not kept.any():
        raise DataError(f"no user has {FEWEST_RATINGS} ratings or more: give the whole data set")
    known, users = np.unique(ratings.users[kept], return_inverse=True)
    movies, items = np.unique(ratings.items[kept], return_inverse=True)
    order = np.lexsort((np.arange(len(users)), ratings.times_s[kept], users))
    users, items = users[order], items[order]
    keys = np.sort(users * len(movies) + items)
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        user, item = divmod(int(keys[twice[0]]), len(movies))
        raise DataError(f"user {known[user]} rated movie {movies[item]} twice: download it again")
    last = np.r_[users[1:] != users[:-1], True]
    pairs = np.stack([users[~last], items[~last]], axis=1).astype(np.int32)
    held_out = items[last].astype(np.int32)
    drawn = _draw_never_rated(len(movies), users, items, others)
    return with_candidates(len(known), len(movies), pairs, held_out, drawn)


def _draw_never_rated(
    items: int, rated_by: NDArray[np.int64], rated: NDArray[np.int64], others: int
) -> NDArray[np.int32]:
    """For each user `others` different items without a rating, int32 (users, others).

    Args:
        items: How many.
        rated_by: Users of all ratings, in order.
        rated: Their items.
        others: How many to draw.

    Raises:
        DataError: A user left fewer than `others` items.
    """
    counts = np.bincount(rated_by)
    if items - counts.max() < others:
        raise DataError(
            f"a user rated {counts.max()} of {items} movies, which leaves not {others} others to rank: "
            f"give the whole data set"
        )
    rng = np.random.default_rng(DATA_SEED)
    latest = np.empty(items, np.int32)
    drawn = np.empty((len(counts), others), np.int32)
    for user, own in enumerate(np.split(rated, np.cumsum(counts)[:-1])):
        # An item is kept where it stands last in a random sequence, and -1 stands at none. What is read of
        # `latest` was written for this user: a table of this size stays in the cache.
        length, new = others, np.empty(0, np.int64)
        while len(new) < others:
            length *= 2
            sequence = rng.integers(0, items, length)
            latest[sequence] = np.arange(length, dtype=np.int32)
            latest[own] = -1
            new = sequence[latest[sequence] == np.arange(length)]
        drawn[user] = new[:others]
    return drawn
