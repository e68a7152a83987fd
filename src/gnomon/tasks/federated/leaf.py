"""LEAF's data sets (Caldas et al., 2018), as its scripts write them: JSON, with the clients they come with.

Those whose features are numbers: FEMNIST, Synthetic, and what others publish in the same format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource
from gnomon.fleet.partition import Partition
from gnomon.fleet.task import FederatedTask, Pool

PREPARED = "prepare it with LEAF's preprocess.sh -s niid --sf 1.0 -t sample"
FOLDERS = ("train", "test")


class FederatedLeaf(FederatedTask):
    """Classify vectors of numbers that belong to the clients of a LEAF data set.

    An input is float32 (784,) for FEMNIST, (60,) for Synthetic; an output is the scores of all classes. All
    clients' test samples together are held out. Fewer clients than there are: some are drawn by the seed.
    """

    name = "federated-leaf"
    default_partition = Partition("natural")
    needs = (
        "a data set of LEAF (https://github.com/TalwalkarLab/leaf) whose features are numbers: a folder with "
        f"train/*.json and test/*.json; {PREPARED}"
    )

    def pool(self, clients: int, seed: int) -> Pool:
        """The same samples for any number of clients and any seed.

        Raises:
            DataError: A file is missing, malformed, or holds text.
        """
        return self._pool

    def source(self) -> DataSource:
        """Never official: LEAF draws its samples anew, so there is no published file to compare with."""
        return self._source

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        place = self.place
        if not place.is_dir():
            raise DataError(f"there is no folder {place}: it must be {self.needs}")
        files = {which: sorted((place / which).glob("*.json")) for which in FOLDERS}
        for which, some in files.items():
            if not some:
                raise DataError(f"{place / which} holds no .json file: {PREPARED}")
        return files

    @cached_property
    def _source(self) -> DataSource:
        digest = hashlib.sha256()
        for which, files in self._files.items():
            for file in files:
                digest.update(f"{which}/{file.name}\0".encode())
                digest.update(hashlib.sha256(_bytes_of(file)).digest())
        return DataSource(f"{self.place.name}, LEAF", official=False, sha256=digest.hexdigest())

    @cached_property
    def _pool(self) -> Pool:
        numbers: dict[str, int] = {}
        train = [user for file in self._files["train"] for user in read_leaf(file)]
        test = [user for file in self._files["test"] for user in read_leaf(file)]
        for which, users in zip(FOLDERS, (train, test), strict=True):
            if not users:
                raise DataError(f"{self.place / which} holds no samples: {PREPARED}")
        width = train[0].features.shape[1]
        for user in (*train, *test):
            if user.features.shape[1] != width:
                raise DataError(
                    f"{user.where} has samples of {user.features.shape[1]} numbers, {train[0].where} of "
                    f"{width}: take all files from one data set"
                )
        owners = [numbers.setdefault(user.name, len(numbers)) for user in train]
        labels = np.concatenate([user.labels for user in train])
        test_labels = np.concatenate([user.labels for user in test])
        return Pool(
            features=np.concatenate([user.features for user in train]),
            labels=labels,
            test_features=np.concatenate([user.features for user in test]),
            test_labels=test_labels,
            classes=int(max(labels.max(), test_labels.max())) + 1,
            source=self._source,
            natural=np.repeat(owners, [len(user.labels) for user in train]),
        )


@dataclass(frozen=True, eq=False)
class User:
    """One user's samples in one file.

    Attributes:
        name: The user's.
        where: File and user, for messages.
        features: float32, shape (n, width).
        labels: int64, shape (n,).
    """

    name: str
    where: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def read_leaf(file: Path) -> Iterator[User]:
    """The users in a file of LEAF that have samples, in the file's order.

    Raises:
        DataError: It is missing or malformed, or its features are not numbers.
    """
    try:
        stored = json.loads(_bytes_of(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON or was cut short ({error}): {PREPARED}") from None
    users = _member(stored, "users", list, file)
    data = _member(stored, "user_data", dict, file)
    counts = _member(stored, "num_samples", list, file)
    if len(counts) != len(users):
        raise DataError(f"{file} names {len(users)} users, but num_samples has {len(counts)}")
    if not len(users) == len(set(map(str, users))) == len(data):
        raise DataError(
            f"{file} must name each user in user_data once, and names {len(users)} for {len(data)}"
        )
    for user, count in zip(map(str, users), counts, strict=True):
        samples = _member(data, user, dict, file, "user_data")
        where = f"user_data[{user!r}]"
        features = _member(samples, "x", list, file, where)
        labels = _member(samples, "y", list, file, where)
        if not len(features) == len(labels) == count:
            raise DataError(
                f"{file}: {where} has {len(features)} x and {len(labels)} y, and num_samples says {count}"
            )
        if features:
            yield User(
                user,
                f"{file}: {where}",
                _vectors(features, f"{file}: {where}['x']"),
                _classes(labels, f"{file}: {where}['y']"),
            )


def _member(stored: Any, key: str, kind: type, file: Path, where: str = "") -> Any:
    value = stored.get(key) if isinstance(stored, dict) else None
    if not isinstance(value, kind):
        name = f"{where}[{key!r}]" if where else repr(key)
        what = "a list" if kind is list else "an object"
        raise DataError(f"{file}: {name} must be {what}, and is {_kind_of(value)}: {PREPARED}")
    return value


def _vectors(values: list[Any], where: str) -> NDArray[np.float32]:
    if any(isinstance(value, str) or _holds_text(value) for value in values):
        raise DataError(
            f"{where} holds text (sentences, or names of images): only data sets whose features are numbers "
            f"can be used, such as FEMNIST or Synthetic"
        )
    try:
        vectors = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where} must hold lists of numbers, all of one length") from None
    if vectors.ndim < 2 or vectors[0].size == 0:
        raise DataError(f"{where} must hold a list of numbers for each sample")
    if not np.isfinite(vectors).all():
        sample = int(np.argmax(~np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1)))
        raise DataError(f"{where}[{sample}] holds a number that is not finite")
    return vectors.reshape(len(vectors), -1)


def _classes(values: list[Any], where: str) -> NDArray[np.int64]:
    """Class numbers; LEAF's Synthetic writes them as floats."""
    for sample, value in enumerate(values):
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
        if not whole or not 0 <= value < 2**31:
            raise DataError(f"{where}[{sample}] must be a class number from 0, and is {value!r}")
    return np.asarray(values).astype(np.int64)


def _holds_text(value: Any) -> bool:
    """Whether a sample's first number is text; anything later is found when they become an array."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, str)


def _kind_of(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__} {str(value)[:20]!r}"


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
