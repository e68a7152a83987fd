"""Image classification, ic01 of MLPerf Tiny, and what visual wake words share with it: pictures with labels.

The data that ships is a stand-in, handwritten digits in colour among clutter (`tools/tiny_images.py`);
CIFAR-10 in either version and the field's binary files are read as well.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.device.task import Results, TinyTask
from gnomon.tasks.clicks.auc import roc_auc
from gnomon.tasks.tiny.sets import (
    CIFAR_CLASSES,
    CIFAR_SIDE,
    LABELS,
    CifarBatch,
    is_official,
    read_binary_set,
    read_cifar10,
    read_labels,
)
from gnomon.tasks.tiny.shipped import read_arrays

DATA = Path(__file__).parents[2] / "data" / "tiny"
CHANNELS = 3

Pixels = NDArray[np.uint8]
"""One picture, (height, width, 3), red first."""


@dataclass(frozen=True)
class Pictures:
    """Pictures with labels, read when they are asked for.

    Attributes:
        name: Of the data set, for people.
        official: Whether it is the set that the field measures on.
        labels: Shape (n,).
        files: Their names.
        read: The picture of a sample.
    """

    name: str
    official: bool
    labels: IndexArray
    files: tuple[str, ...]
    read: Callable[[int], Pixels]


class PictureTask(TinyTask):
    """Tell the class of a square picture.

    An input is int8 (side, side, 3): the pixels less 128, as the model takes them. Over the wire go the
    pixels themselves, and the board subtracts. An output is the classes' probabilities, float32 (classes,).

    Attributes:
        classes: How many there are.
        side: Height and width of a picture, in pixels.
    """

    metric = "top-1 accuracy"
    classes: int
    side: int

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @abstractmethod
    def read(self, path: Path) -> Pictures:
        """The user's data, in whichever of the formats that the task knows.

        Raises:
            DataError: It is none of them, or not what it should be.
        """

    @cached_property
    def pictures(self) -> Pictures:
        """The data in use: the user's, or the stand-in.

        Raises:
            DataError: It is missing, or not what it should be.
        """
        if self._path is not None:
            return self.read(self._path)
        return stand_in(DATA / f"{self.model_id}.npz", self.name, self.classes, self.side)

    def __len__(self) -> int:
        return len(self.pictures.labels)

    @cached_property
    def _source(self) -> DataSource:
        digest = hashlib.sha256()
        for sample in range(len(self)):
            digest.update(self.pictures.read(sample).tobytes())
        digest.update(self.pictures.labels.astype(np.uint8).tobytes())
        return DataSource(self.pictures.name, self.pictures.official, digest.hexdigest())

    def source(self) -> DataSource:
        """Official only if files and labels are the field's own list."""
        return self._source

    def inputs(self, samples: IndexArray) -> NDArray[np.int8]:
        """Pictures less 128, int8 (n, side, side, 3)."""
        asked = np.empty((len(samples), self.side, self.side, CHANNELS), dtype=np.uint8)
        for place, sample in enumerate(samples):
            asked[place] = self.pictures.read(int(sample))
        return (asked ^ np.uint8(128)).view(np.int8)

    def payloads(self, sample: int) -> Sequence[bytes]:
        """One: the pixels row by row, red, green and blue of each in turn."""
        return [self.pictures.read(sample).tobytes()]

    def answer(self, results: Sequence[Results]) -> NDArray[np.float32]:
        """The probabilities as printed.

        Raises:
            SystemFault: There are not as many as there are classes.
        """
        (printed,) = results
        if printed.shape != (self.classes,):
            raise SystemFault(
                f"the board printed {printed.size} results and {self.model_id} has {self.classes} classes: "
                f"flash the firmware of {self.model_id}"
            )
        return printed.astype(np.float32)

    def file_name(self, sample: int) -> str:
        """The sample's file, as the field's list has it."""
        return self.pictures.files[sample]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of pictures whose highest probability is the label's; an answer with NaN is wrong."""
        probabilities = self._checked(samples, outputs)
        finite = ~np.isnan(probabilities).any(axis=1)
        right = (probabilities.argmax(axis=1) == self.pictures.labels[samples]) & finite
        return float(right.mean())

    def auc(self, samples: IndexArray, outputs: Outputs) -> float:
        """The AUC that the field prints beside the accuracy; see `class_auc`."""
        return class_auc(self.pictures.labels[samples], self._checked(samples, outputs))

    def _checked(self, samples: IndexArray, outputs: Outputs) -> NDArray[np.float32]:
        probabilities = np.asarray(outputs, dtype=np.float32)
        if probabilities.shape != (len(samples), self.classes):
            raise DataError(
                f"{self.model_id} is scored from {self.classes} probabilities a picture, got outputs of "
                f"shape {probabilities.shape} for {len(samples)} pictures"
            )
        return probabilities

    def decode(self, data: bytes) -> Any:
        """Probabilities, float32 (classes,)."""
        return np.frombuffer(data, dtype=np.float32)

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The stand-in's own model, as int8 TFLite."""
        return DATA / f"{self.model_id}.tflite" if format == "tflite" else super().model(format)


class Images(PictureTask):
    """Tell which of ten things a picture of 32x32 pixels shows.

    Args:
        path: None for the stand-in; else one of

            - a folder of the field's binary files with their `y_labels.csv`; official if that is the field's;
            - CIFAR-10's python version unpacked (it has a `test_batch`), or one batch of it. With the field's
              `y_labels.csv` in the folder the 200 images that it lists are taken, and official; else all are;
            - CIFAR-10's binary version unpacked (it has a `test_batch.bin`), or one batch of it. It holds no
              file names, so that no list can be applied.
    """

    name = "tiny-images"
    model_id = "ic01"
    payload_size = CIFAR_SIDE * CIFAR_SIDE * CHANNELS
    classes = CIFAR_CLASSES
    side = CIFAR_SIDE

    def read(self, path: Path) -> Pictures:
        """The field's binary files, or CIFAR-10, or a batch of it."""
        if path.is_file():
            return _batch(path, read_cifar10(path))
        if (path / "test_batch").is_file():
            found = read_cifar10(path / "test_batch")
            return _listed(path, found) if (path / LABELS).is_file() else _batch(path, found)
        if (path / LABELS).is_file():
            return binary_pictures(self, path)
        if (path / "test_batch.bin").is_file():
            return _batch(path, read_cifar10(path / "test_batch.bin"))
        raise DataError(
            f"{path} holds no images: it must be a folder with {LABELS} and its .bin files, or CIFAR-10 "
            f"unpacked, with test_batch or test_batch.bin"
        )


def binary_pictures(task: PictureTask, folder: Path) -> Pictures:
    """The field's binary files: a picture each, pixels row by row."""
    found = read_binary_set(folder, task.classes, task.payload_size)
    shape = (task.side, task.side, CHANNELS)

    def read(sample: int) -> Pixels:
        return np.frombuffer(found.payloads(sample)[0], dtype=np.uint8).reshape(shape)

    names = tuple(file.name for file in found.files)
    official = is_official(task.model_id, found.files)
    return Pictures(f"binary files in {folder.name}", official, found.labels, names, read)


def _batch(path: Path, batch: CifarBatch) -> Pictures:
    names = batch.names or tuple(f"{path.name}_{place:05d}" for place in range(len(batch.labels)))
    name = f"CIFAR-10, all of {path.name}"
    return Pictures(name, False, batch.labels, names, lambda sample: batch.images[sample])


def _listed(folder: Path, batch: CifarBatch) -> Pictures:
    """The images that the field's list names: it has `cat_s_000001.bin` for CIFAR-10's `cat_s_000001.png`."""
    path = folder / LABELS
    files = read_labels(path, CIFAR_CLASSES)
    places = {PurePosixPath(name).stem: place for place, name in enumerate(batch.names)}
    for file in files:
        place = places.get(PurePosixPath(file.name).stem)
        if place is None:
            raise DataError(
                f"{path}, line {file.line}: test_batch holds no image {file.name}: "
                f"pass the list of this data set, or remove it to take all images"
            )
        if batch.labels[place] != file.label:
            raise DataError(
                f"{path}, line {file.line}: {file.name} has label {file.label} and in test_batch "
                f"{batch.labels[place]}: pass the list of this data set"
            )
    chosen = [places[PurePosixPath(file.name).stem] for file in files]
    return Pictures(
        f"CIFAR-10, the {len(files)} test images that {path.name} lists",
        is_official("ic01", files),
        batch.labels[chosen],
        tuple(file.name for file in files),
        lambda sample: batch.images[chosen[sample]],
    )


def stand_in(path: Path, name: str, classes: int, side: int) -> Pictures:
    """Data that ships: pictures as differences from the pixel to the left, and their labels."""
    shapes = {"differences": ("n", side, side, CHANNELS), "labels": ("n",)}
    differences, labels = read_arrays(path, shapes)
    if differences.dtype != np.uint8 or labels.dtype != np.uint8 or labels.max() >= classes:
        raise DataError(f"data set {path} holds other values than pictures do: reinstall gnomon")
    images = np.cumsum(differences, axis=2, dtype=np.uint8)
    files = tuple(f"stand_in_{place:06d}_{label}.bin" for place, label in enumerate(labels))
    return Pictures(
        f"stand-in for {name}, {len(images)} pictures",
        False,
        labels.astype(np.int64),
        files,
        lambda sample: images[sample],
    )


def class_auc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The area under the ROC curve that the field's runner prints: one class against the rest, averaged.

    Each sample's probabilities are scaled to sum to 1 first. Of two classes only the second counts, which is
    the same as the average. scikit-learn's `roc_auc_score(..., multi_class="ovr")` agrees to rounding.

    Args:
        labels: Shape (n,).
        probabilities: Shape (n, classes).

    Returns:
        0 to 1; NaN where it means nothing: a class without samples, probabilities that are NaN or sum to 0.
    """
    truth = np.asarray(labels)
    scores = np.asarray(probabilities, dtype=np.float64)
    sums = scores.sum(axis=1, keepdims=True)
    classes = scores.shape[1]
    if not np.all(sums > 0) or len(np.unique(truth)) < classes:
        return math.nan
    scores = scores / sums
    counted = [1] if classes == 2 else range(classes)
    return math.fsum(roc_auc(scores[:, k], truth == k) for k in counted) / len(counted)
