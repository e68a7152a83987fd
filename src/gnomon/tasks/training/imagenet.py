"""Training on ImageNet (ILSVRC 2012): folders `train` and `val` with one folder of JPEG files a class.

The paper's first benchmark, full size. Files stay on disk and are decoded as they are trained on.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray
from gnomon.tasks.training.image_classification import ImageClassification
from gnomon.tasks.training.jpeg_images import middle, opened
from gnomon.timetotrain.task import Learner, Recipe

OFFICIAL = (1_281_167, 50_000, 1000)
"""Images trained on, held out, and classes of ILSVRC 2012."""
MEAN = (123.68, 116.78, 103.94)
"""Of red, green and blue; subtracted, as the field's reference does, and not scaled."""
SIDE = 224
ENDINGS = (".jpeg", ".jpg")


@dataclass(frozen=True)
class ImageFolder:
    """Names of files, held out first, and the class of each: its place among the folders' names.

    Attributes:
        files: Relative to the data's folder.
        labels: Shape (len(files),).
        held_out: How many of them.
        classes: Names of the folders, sorted.
    """

    files: list[str]
    labels: NDArray[np.int64]
    held_out: int
    classes: list[str]


class TrainingImageNet(ImageClassification):
    """Name what a photograph shows, of a thousand. An input is float32 (3, 224, 224) less the mean.

    Official by its counts of images and classes: the files themselves are too many to be read for that.

    Args:
        path: The folder that `train` and `val` are in.
    """

    name = "training-imagenet"
    needs = (
        "ImageNet (ILSVRC 2012) as folders train and val of one folder a class (n01440764 and so on) with "
        "JPEG files, from https://image-net.org"
    )

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def place(self) -> Path:
        """Where the data is.

        Raises:
            DataError: No place was given.
        """
        if self._path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data FOLDER")
        return self._path

    @cached_property
    def listed(self) -> ImageFolder:
        """All files.

        Raises:
            DataError: A folder is missing or empty, or classes differ.
        """
        return list_images(self.place)

    def __len__(self) -> int:
        return self.listed.held_out

    @property
    def training_size(self) -> int:  # type: ignore[override]
        """Images of an epoch: 1,281,167."""
        return len(self.listed.files) - self.listed.held_out

    @property
    def classes(self) -> int:  # type: ignore[override]
        """How many are told apart: 1,000."""
        return len(self.listed.classes)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of all images."""
        return self.listed.labels

    def source(self) -> DataSource:
        """A fingerprint of the files' names, official if there are as many as were published."""
        found = self.listed
        published = (self.training_size, found.held_out, len(found.classes)) == OFFICIAL
        digest = hashlib.sha256("\n".join(found.files).encode()).hexdigest()
        name = "ImageNet (ILSVRC 2012)" if published else f"images in {self.place}"
        return DataSource(name, official=published, sha256=digest)

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """The middle of each image, float32 (n, 3, 224, 224)."""
        images = np.stack([self.evaluated(int(sample)) for sample in samples])
        mean = np.array(MEAN, dtype=np.float32).reshape(3, 1, 1)
        centred: NDArray[np.float32] = images.transpose(0, 3, 1, 2) - mean
        return centred

    def evaluated(self, sample: int) -> NDArray[np.uint8]:
        """What of an image is evaluated on, (224, 224, 3)."""
        return middle(opened(self.place / self.listed.files[sample]), SIDE)

    def learner(self, recipe: Recipe) -> Learner:
        """ResNet-50 v1.5, as in the field's reference implementation.

        It has batch normalisation over each process's share, as the official one: two processes do not
        compute quite what one does.
        """
        from gnomon.tasks.training.imagenet_learner import ImageNetLearner

        return ImageNetLearner(self, recipe)


def list_images(place: Path) -> ImageFolder:
    """The JPEG files of `val` and then of `train`, sorted.

    Raises:
        DataError: A folder is missing or empty, or `val` has a class that `train` has not.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for part in ("val", "train"):
        if not (place / part).is_dir():
            raise DataError(f"{place} has no folder {part}: it must hold train and val")
        folders = sorted(entry.name for entry in os.scandir(place / part) if entry.is_dir())
        found[part] = {
            folder: sorted(
                entry.name
                for entry in os.scandir(place / part / folder)
                if entry.name.lower().endswith(ENDINGS)
            )
            for folder in folders
        }
        if not any(found[part].values()):
            raise DataError(
                f"{place / part} has no folders of {' or '.join(ENDINGS)} files: make one a class"
            )
    classes = sorted(found["train"])
    number = {name: place for place, name in enumerate(classes)}
    unknown = sorted(set(found["val"]) - set(classes))
    if unknown:
        raise DataError(
            f"{place / 'val'} has class {unknown[0]}, which {place / 'train'} has not: both must be sorted "
            f"into the same folders"
        )
    files, labels = [], []
    for part in ("val", "train"):
        for folder, names in found[part].items():
            files += [f"{part}/{folder}/{name}" for name in names]
            labels += [number[folder]] * len(names)
    held_out = sum(len(names) for names in found["val"].values())
    return ImageFolder(files, np.array(labels, dtype=np.int64), held_out, classes)
