"""MNIST, EMNIST and whatever else comes as IDX files, dealt out to clients.

Files may be gzipped. The format: http://yann.lecun.com/exdb/mnist/ (MNIST), Cohen et al. 2017 (EMNIST).
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource
from gnomon.fleet.partition import Partition
from gnomon.fleet.task import FederatedTask, Pool

PARTS: Mapping[str, tuple[str, ...]] = {
    "train images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "train labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
"""The names under which MNIST's files go around; EMNIST's begin with a split (`emnist-balanced-train-...`).

EMNIST has `test` in them where MNIST has `t10k`.
"""
UNSIGNED_BYTES = 0x08
GREATEST = 255.0
"""Of a pixel."""

MNIST_MD5: Mapping[str, frozenset[str]] = {
    "train images": frozenset(
        {"f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"}
    ),
    "train labels": frozenset(
        {"d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"}
    ),
    "test images": frozenset(
        {"9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"}
    ),
    "test labels": frozenset(
        {"ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"}
    ),
}
"""MNIST's files as published: gzipped, and unpacked."""


@dataclass(frozen=True)
class IdxFiles:
    """The four files of one data set.

    Attributes:
        files: Of each of `PARTS`.
        prefix: What their names begin with (`emnist-balanced`); empty for MNIST.
    """

    files: Mapping[str, Path]
    prefix: str = ""

    @property
    def transposed(self) -> bool:
        """Whether images are stored column by column, as EMNIST's are."""
        return self.prefix.startswith("emnist")


class FederatedIdx(FederatedTask):
    """Classify an image; MNIST, EMNIST, Fashion-MNIST and others in their format.

    An input is float32 (784,) in 0 to 1 for images of 28x28, row by row from the upper left; an output is the
    scores of all classes. EMNIST's images, which are stored transposed, are turned upright; they are known by
    their files' names. Where labels start at 1 (EMNIST letters), class 0 is label 1.

    The training files are dealt out, the `t10k` or `test` files held out. A tenth of MNIST, as in setup 1 of
    Luo et al. (INFOCOM 2021), is the partition `labels:2,limit=6000`.
    """

    name = "federated-idx"
    default_partition = Partition("labels", 2)
    needs = (
        "MNIST's four files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        "t10k-labels-idx1-ubyte, each as it is or .gz) from https://ossci-datasets.s3.amazonaws.com/mnist/, "
        "or EMNIST's from https://www.nist.gov/itl/products-and-services/emnist-dataset, in one folder"
    )

    def pool(self, clients: int, seed: int) -> Pool:
        """The same images for any number of clients and any seed.

        Raises:
            DataError: A file is missing, cut short, or is not what its name says.
        """
        return self._pool

    def source(self) -> DataSource:
        """Official only if all four files are MNIST's as published, byte for byte."""
        return self._source

    @cached_property
    def _files(self) -> IdxFiles:
        return find_idx(self.place, self.needs)

    @cached_property
    def _source(self) -> DataSource:
        found, digest, published = self._files, hashlib.sha256(), True
        for part, file in found.files.items():
            data = _bytes_of(file)
            digest.update(hashlib.sha256(data).digest())
            published &= hashlib.md5(data, usedforsecurity=False).hexdigest() in MNIST_MD5[part]
        folder = next(iter(found.files.values())).parent.name
        name = "MNIST" if published else f"{found.prefix or 'images'} in {folder}, IDX"
        return DataSource(name, official=published, sha256=digest.hexdigest())

    @cached_property
    def _pool(self) -> Pool:
        found = self._files
        train = _labelled(found, "train")
        test = _labelled(found, "test")
        if train[0].shape[1:] != test[0].shape[1:]:
            raise DataError(
                f"{found.files['test images']} holds images of {_by(test[0])}, and "
                f"{found.files['train images']} of {_by(train[0])}: take both from one data set"
            )
        first, last = int(train[1].min()), int(train[1].max())
        strange = np.flatnonzero((test[1] < first) | (test[1] > last))
        if len(strange):
            raise DataError(
                f"{found.files['test labels']} holds label {test[1][strange[0]]}, which is not among the "
                f"training labels {first} to {last}: take both from one data set"
            )
        first = first if first == 1 else 0
        return Pool(
            features=train[0].reshape(len(train[0]), -1),
            labels=train[1] - first,
            test_features=test[0].reshape(len(test[0]), -1),
            test_labels=test[1] - first,
            classes=last - first + 1,
            source=self._source,
            scale=GREATEST,
        )


def find_idx(place: Path, needs: str = "") -> IdxFiles:
    """The four files in a folder; of a folder with several data sets, `FOLDER/emnist-balanced`.

    Raises:
        DataError: One is missing, or it is not clear which are meant.
    """
    folder, prefix = (place, None) if place.is_dir() else (place.parent, place.name)
    if not folder.is_dir():
        raise DataError(f"there is no folder {place}: it must hold {needs or 'IDX files'}")
    names = {path.name.removesuffix(".gz"): path for path in sorted(folder.iterdir(), reverse=True)}
    found: dict[str, dict[str, Path]] = {}
    for part, endings in PARTS.items():
        for ending in (*endings, *(ending.replace("t10k", "test") for ending in endings)):
            for name, path in names.items():
                if name.endswith(ending):
                    found.setdefault(name.removesuffix(ending).rstrip("-"), {})[part] = path
    if prefix is not None:
        found = {prefix: found[prefix]} if prefix in found else {}
    if not found:
        what = f"{place.name}-train-images-idx3-ubyte and the like" if prefix else needs
        raise DataError(f"{folder} holds no IDX files: it must hold {what or 'them'}")
    if len(found) > 1:
        several = ", ".join(name or "one without prefix" for name in sorted(found))
        one = max(found)  # not the one without prefix
        raise DataError(
            f"{folder} holds several data sets ({several}): say which one, as in --data {folder / one}"
        )
    prefix, files = next(iter(found.items()))
    missing = [part for part in PARTS if part not in files]
    if missing:
        name = f"{prefix}-{PARTS[missing[0]][0]}" if prefix else PARTS[missing[0]][0]
        raise DataError(
            f"{folder} lacks the {missing[0]} ({name}, or .gz): put it beside the others"
        )
    return IdxFiles({part: files[part] for part in PARTS}, prefix)


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, read-only.

    Args:
        file: Gzipped if its name ends in `.gz`.
        dimensions: How many it must have: 3 for images, 1 for labels.

    Raises:
        DataError: It is missing, cut short, longer than it says, or holds something else.
    """
    data = _bytes_of(file)
    if file.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise DataError(f"{file} is not gzipped or was cut short: download it again") from None
    kind = "images" if dimensions == 3 else "labels"
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{file} is no IDX file (its first two bytes must be 0): download it again")
    if data[2] != UNSIGNED_BYTES or data[3] != dimensions:
        raise DataError(
            f"{file} holds no {kind}: its type is {data[2]:#04x} with {data[3]} dimensions, not "
            f"{UNSIGNED_BYTES:#04x} with {dimensions}"
        )
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise DataError(f"{file} was cut short within its header: download it again")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = header + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        problem = "was cut short" if len(data) < expected else "is longer than its header says"
        raise DataError(
            f"{file} {problem}: {len(data)} bytes for {'x'.join(map(str, shape))} {kind}, which take "
            f"{expected}: download it again"
        )
    if shape[0] == 0 or expected == header:
        raise DataError(f"{file} holds no {kind}: it says {'x'.join(map(str, shape))}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _labelled(found: IdxFiles, which: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images, shape (n, height, width), upright, and labels, shape (n,)."""
    image_file, label_file = found.files[f"{which} images"], found.files[f"{which} labels"]
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{label_file} holds {len(labels)} labels for the {len(images)} images of {image_file.name}: "
            f"take both from one data set"
        )
    if found.transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return images, labels.astype(np.int64)


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None


def _by(images: NDArray[np.uint8]) -> str:
    return f"{images.shape[1]}x{images.shape[2]}"
