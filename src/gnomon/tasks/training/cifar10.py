"""Training on CIFAR-10 (Krizhevsky 2009) in either of its own formats: 60,000 colour images of ten classes.

https://www.cs.toronto.edu/~kriz/cifar.html has both; Python's files are pickles and are read as data only.
"""

from __future__ import annotations

import hashlib
import pickle
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource
from gnomon.tasks.training.image_classification import ImagesInMemory
from gnomon.timetotrain.task import Learner, Recipe

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
CLASSES = 10
IMAGES_A_FILE = 10_000
FORMATS = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}
"""By the name of the folder: how its files' names end."""
FILES = ("test_batch", *(f"data_batch_{number}" for number in range(1, 6)))
MD5 = {
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
"""Of Python's files as published."""


class TrainingCifar10(ImagesInMemory):
    """Classify a 32x32 colour image. An input is float32 (3, 32, 32), normalised by channel.

    Only Python's files are known to be CIFAR-10 by their fingerprints; binary ones are taken at their word
    and never count as official.

    Args:
        path: The folder `cifar-10-batches-bin` or `cifar-10-batches-py`, or the one that it is in.
        images_a_file: As published; fewer for a stand-in.
    """

    name = "training-cifar10"
    classes = CLASSES
    mean = (0.4914 * 255, 0.4822 * 255, 0.4465 * 255)
    deviation = (0.2470 * 255, 0.2435 * 255, 0.2616 * 255)
    needs = (
        "CIFAR-10 as cifar-10-batches-bin or cifar-10-batches-py, unpacked from "
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz or cifar-10-python.tar.gz"
    )

    def __init__(self, path: Path | None = None, images_a_file: int = IMAGES_A_FILE) -> None:
        self._path, self._images_a_file = path, images_a_file
        self.training_size = images_a_file * (len(FILES) - 1)

    def __len__(self) -> int:
        return self._images_a_file

    @cached_property
    def _files(self) -> list[Path]:
        """Of `FILES`, whichever the format.

        Raises:
            DataError: No place was given, or one is missing.
        """
        if self._path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data FOLDER")
        for folder in (self._path, *(self._path / name for name in FORMATS)):
            for ending in FORMATS.values():
                files = [folder / f"{name}{ending}" for name in FILES]
                there = [file.is_file() for file in files]
                if all(there):
                    return files
                if any(there):
                    raise DataError(
                        f"{folder} lacks {files[there.index(False)].name}: unpack CIFAR-10 again"
                    )
        raise DataError(f"{self._path} holds no {FILES[0]}: it must be {self.needs}")

    @cached_property
    def _data(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        read = read_pickled if self._files[0].suffix == "" else read_binary
        parts = [read(file, self._images_a_file) for file in self._files]
        pixels = np.concatenate([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        return pixels.reshape(-1, *SHAPE), labels

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of all images, test batch first, shape (60000, 3, 32, 32), 0 to 255."""
        return self._data[0]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of all images, shape (60000,), 0 to 9."""
        return self._data[1]

    def source(self) -> DataSource:
        """Official if the files are Python's as published, byte for byte."""
        published = all(
            MD5.get(file.name) == hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
            for file in self._files
        )
        name = "CIFAR-10" if published else f"images in CIFAR-10's format in {self._path}"
        return DataSource(name, official=published, sha256=self.fingerprint())

    def learner(self, recipe: Recipe) -> Learner:
        """ResNet-20 with batch normalisation and the augmentation of He et al. 2016, section 4.2.

        Statistics are of a process's share of the batch, as theirs were of a GPU's: two processes do not
        compute quite what one does.
        """
        from gnomon.tasks.training.cifar10_augmentation import shifted_and_mirrored
        from gnomon.tasks.training.image_classification_learner import ImageLearner
        from gnomon.tasks.training.image_classification_resnet import SmallResNet

        def untrained() -> SmallResNet:
            return SmallResNet(3, CLASSES, widths=(16, 32, 64), blocks=3, normalization="batch")

        return ImageLearner(self, recipe, untrained, SHAPE, shifted_and_mirrored)


def read_binary(file: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (count, 3072) and labels (count,) of one file of the binary version.

    A record is one byte of label and 3,072 of pixels: red, green, blue, each row by row.

    Raises:
        DataError: It is not so long, or has a label above 9.
    """
    data = np.fromfile(file, dtype=np.uint8)
    if len(data) != count * (1 + PIXELS):
        raise DataError(
            f"{file} is {len(data)} bytes long, not {count * (1 + PIXELS)} for {count} images: download it "
            f"again"
        )
    records = data.reshape(count, 1 + PIXELS)
    return records[:, 1:], _checked(file, records[:, 0].astype(np.int64))


def read_pickled(file: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """As `read_binary`, of one file of the Python version.

    Raises:
        DataError: It asks for more than arrays, was cut short, or holds something else.
    """
    mend = "download it again from https://www.cs.toronto.edu/~kriz/cifar.html"
    try:
        with file.open("rb") as opened:
            stored = _ArraysOnly(opened, encoding="bytes").load()
        pixels, labels = np.asarray(stored[b"data"]), np.asarray(stored[b"labels"])
    except DataError as error:
        raise DataError(f"{file} {error}: {mend}") from None
    except Exception:  # whatever a damaged pickle makes of itself
        raise DataError(f"{file} is not a batch of CIFAR-10 or was cut short: {mend}") from None
    if pixels.dtype != np.uint8 or pixels.shape != (count, PIXELS) or labels.shape != (count,):
        raise DataError(
            f"{file} holds {pixels.dtype} pixels {pixels.shape} and labels {labels.shape}, not {count} "
            f"images of {PIXELS} bytes: {mend}"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"{file} has labels of type {labels.dtype}, not whole numbers: {mend}")
    return pixels, _checked(file, labels.astype(np.int64))


class _ArraysOnly(pickle.Unpickler):
    """Makes arrays of plain numbers, lists and dictionaries, and calls nothing else."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),  # how Python 3 writes the bytes of an array for Python 2
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may call."""
        if (module, name) not in self.ALLOWED:
            raise DataError(f"asks to call {module}.{name}, which no batch of images does")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _checked(file: Path, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    strange = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if len(strange):
        raise DataError(
            f"{file} has label {labels[strange[0]]} at image {strange[0]}, not 0 to {CLASSES - 1}: "
            f"download it again"
        )
    return labels
