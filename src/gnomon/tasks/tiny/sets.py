"""Data sets as the field has them: `.bin` files beside `y_labels.csv`, and CIFAR-10; checked when read.

A sample of the first is a file, whose bytes travel to the board whole or as a window that slides over them.
A set is the field's own if its list of files and labels is; the bytes are not published with the list.
"""

from __future__ import annotations

import csv
import hashlib
import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, described
from gnomon.core.task import IndexArray

LABELS = "y_labels.csv"

OFFICIAL_LISTS = {
    "ad01": (
        "390b1caa48f6c922d3840e69f17e2506cd67ed1540840330fbba5af80a4560cf",  # 248 files
        "bae5f1b3f07d923355b7ccf84c284cf6ebbf430989734fea4b27d766f709d676",  # 72, accepted since v1.2
    ),
    "ic01": ("0607c9f6c62b842e522bd979adf4d00e87ab924a831a30ce747befde002f3016",),  # 200
    "kws01": ("c29dee25f94d56439828dca5c7d6950cd09d71f091d76760cecebd93e87e7a99",),  # 1000
    "vww01": ("474ea118b59e6a0169d1ad13345140d6e7b244058189ba08ce9fdc508fe2261b",),  # 1000
}
"""`list_sha256` of the label files in mlcommons/tiny, benchmark/evaluation/datasets."""


@dataclass(frozen=True)
class LabelledFile:
    """A line of a label file.

    Attributes:
        name: The file, relative to the set's folder.
        label: 0 up to the number of classes.
        line: Where it stands, from 1.
        width_bytes: What one inference takes of the file; 0 for all of it.
        stride_bytes: How far the next inference's window lies behind this one's; 0 if there is one window.
    """

    name: str
    label: int
    line: int
    width_bytes: int = 0
    stride_bytes: int = 0


@dataclass(frozen=True)
class BinarySet:
    """Files of bytes with their labels, all present and of the size that their line asks for."""

    folder: Path
    files: tuple[LabelledFile, ...]

    @cached_property
    def labels(self) -> IndexArray:
        """Shape (files,)."""
        return np.array([file.label for file in self.files], dtype=np.int64)

    def payloads(self, sample: int) -> tuple[bytes, ...]:
        """The sample's bytes, cut into the windows of its inferences.

        Raises:
            DataError: The file went away since the set was read.
        """
        file = self.files[sample]
        path = self.folder / file.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"sample {path} cannot be read: {error.strerror}") from None
        if not file.width_bytes:
            return (content,)
        starts = range(0, len(content) - file.width_bytes + 1, file.stride_bytes or len(content))
        return tuple(content[start : start + file.width_bytes] for start in starts)


def read_binary_set(
    folder: Path, classes: int, payload_size: int, labels: Path | None = None
) -> BinarySet:
    """A set in EEMBC's layout, checked as far as can be without reading the files.

    Args:
        folder: Where the `.bin` files are.
        classes: How many there are; every line of the label file must say the same.
        payload_size: Bytes that one inference takes.
        labels: The label file; `y_labels.csv` in the folder if None.

    Raises:
        DataError: A label file that means nothing or does not fit the files beside it.
    """
    path = labels or folder / LABELS
    files = read_labels(path, classes)
    for file in files:
        where = f"{path}, line {file.line}"
        sample = folder / file.name
        if not sample.is_file():
            raise DataError(
                f"{where}: there is no file {file.name} in {folder}: "
                f"pass the folder that holds the .bin files"
            )
        size = sample.stat().st_size
        width = file.width_bytes or size
        if width != payload_size:
            raise DataError(
                f"{where}: {file.name} gives {width} bytes an inference and the benchmark takes "
                f"{payload_size}: pass the set of this benchmark"
            )
        if size < width or (size - width) % (file.stride_bytes or size):
            raise DataError(
                f"{where}: windows of {width} bytes every {file.stride_bytes} do not fill "
                f"{file.name}, which has {size}: copy it again"
            )
    return BinarySet(folder, files)


def read_labels(path: Path, classes: int) -> tuple[LabelledFile, ...]:
    """The lines of a label file, `file,n_classes,label` or `file,n_classes,label,width_bytes,stride_bytes`.

    Raises:
        DataError: The file is missing, is empty, or has a line that means nothing; the message names it.
    """
    try:
        with path.open(encoding="utf-8", newline="") as opened:
            lines = list(_fields(opened))
    except FileNotFoundError:
        raise DataError(
            f"label file {path} is missing: a set is a folder of files with {LABELS}"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(
            f"label file {path} cannot be read as text: it holds lines file,n_classes,label"
        ) from None
    if not lines:
        raise DataError(f"label file {path} is empty: it holds lines file,n_classes,label")
    files = tuple(_labelled(path, line, fields, classes) for line, fields in lines)
    first: dict[str, int] = {}
    for file in files:
        if first.setdefault(file.name, file.line) != file.line:
            raise DataError(
                f"{path}, line {file.line}: {file.name} stands in line {first[file.name]} already: "
                f"remove one of them"
            )
    return files


def _fields(opened: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(opened)
    for row in reader:
        fields = [field.strip() for field in row]
        if any(fields):
            yield reader.line_num, fields


def _labelled(path: Path, line: int, fields: Sequence[str], classes: int) -> LabelledFile:
    where = f"{path}, line {line}"
    name, *rest = fields
    if len(rest) not in (2, 4) or not all(text.isascii() and text.isdigit() for text in rest):
        raise DataError(
            f"{where}: {','.join(fields)!r} is not file,n_classes,label or "
            f"file,n_classes,label,width_bytes,stride_bytes"
        )
    told, label, *window = (int(text) for text in rest)
    if told != classes:
        raise DataError(
            f"{where}: {told} classes and the benchmark has {classes}: "
            f"pass the set of this benchmark"
        )
    if label >= classes:
        raise DataError(f"{where}: label {label} is not below {classes}, the number of classes")
    inside = PurePosixPath(name)
    if not name or "\0" in name or inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{where}: {name!r} is not the name of a file in the set's folder")
    if window and not all(window):
        raise DataError(f"{where}: width_bytes and stride_bytes must be positive")
    return LabelledFile(name, label, line, *window)


def list_sha256(files: Iterable[LabelledFile]) -> str:
    """Fingerprint of names and labels, whatever their order, spacing and folders."""
    lines = sorted(f"{PurePosixPath(file.name).name},{file.label}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_official(model_id: str, files: Iterable[LabelledFile]) -> bool:
    """Whether these are the names and labels of the set that the field's rules name for this model."""
    return list_sha256(files) in OFFICIAL_LISTS.get(model_id, ())


CIFAR_SIDE, CIFAR_CLASSES = 32, 10
CIFAR_BYTES = 3 * CIFAR_SIDE * CIFAR_SIDE


@dataclass(frozen=True)
class CifarBatch:
    """Images of one file of CIFAR-10 (A. Krizhevsky, 2009).

    Attributes:
        images: Shape (n, 32, 32, 3), red first.
        labels: Shape (n,), 0 to 9.
        names: File names (`cat_s_000907.png`); none in the binary version.
    """

    images: NDArray[np.uint8]
    labels: IndexArray
    names: tuple[str, ...]


def read_cifar10(path: Path) -> CifarBatch:
    """A batch of CIFAR-10: `data_batch_1.bin` or another of the binary version, or a file of the python one.

    Raises:
        DataError: It is missing, cut short, or not a batch of CIFAR-10.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"CIFAR-10 batch {path} cannot be read: {error.strerror}") from None
    if path.suffix == ".bin":
        if not content or len(content) % (1 + CIFAR_BYTES):
            raise DataError(
                f"CIFAR-10 batch {path} has {len(content)} bytes, not a number of records of "
                f"{1 + CIFAR_BYTES}: unpack it again"
            )
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + CIFAR_BYTES)
        return _cifar_batch(path, records[:, 1:], records[:, 0], ())
    try:
        stored = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        planes, labels = stored[b"data"].array(), np.asarray(stored[b"labels"])
        names = tuple(name.decode() for name in stored.get(b"filenames", ()))
    except Exception as error:  # a damaged pickle raises anything
        raise DataError(
            f"{path} is no batch of CIFAR-10's python version ({described(error)}): unpack it again"
        ) from None
    return _cifar_batch(path, planes, labels, names)


def _cifar_batch(
    path: Path, planes: NDArray[Any], labels: NDArray[Any], names: tuple[str, ...]
) -> CifarBatch:
    """From planes of red, green and blue, (n, 3072)."""
    count = len(planes) if planes.ndim else 0
    if (
        not count
        or planes.dtype != np.uint8
        or planes.shape != (count, CIFAR_BYTES)
        or labels.shape != (count,)
        or labels.dtype.kind not in "iu"
        or len(names) not in (0, count)
    ):
        raise DataError(
            f"{path} holds {planes.dtype} pixels of shape {planes.shape}, labels of shape {labels.shape} and "
            f"{len(names)} names, which is no batch of CIFAR-10"
        )
    if labels.min() < 0 or labels.max() >= CIFAR_CLASSES:
        wrong = int(np.argmax((labels < 0) | (labels >= CIFAR_CLASSES)))
        raise DataError(
            f"{path}, image {wrong}: label {labels[wrong]} is not below {CIFAR_CLASSES}: unpack it again"
        )
    images = planes.reshape(count, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)
    return CifarBatch(np.ascontiguousarray(images), labels.astype(np.int64), names)


class _Stored:
    """Stands for whatever NumPy would have made: keeps what it was called with, and the state given after."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> NDArray[np.uint8]:
        """The state as an array: a version, the shape, the type, whether in Fortran's order, the bytes."""
        _, shape, kind, fortran, content = self.state
        if kind.arguments[0] not in ("u1", b"u1") or fortran:
            raise ValueError("its data is no array of bytes")
        return np.frombuffer(content, dtype=np.uint8).reshape(shape)


class _PlainUnpickler(pickle.Unpickler):
    """Loads containers, numbers, bytes and text, and calls nothing that a pickle could do harm with.

    CIFAR-10's files were pickled by Python 2, whose NumPy lived in other modules than today's.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode("latin-1")
        if module.partition(".")[0] == "numpy" and name in ("ndarray", "dtype", "_reconstruct"):
            return _Stored
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
