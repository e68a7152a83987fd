"""The `Task` interface: what is solved, on which data, and how well. It knows nothing about time.

A task hands out inputs by sample index and scores outputs by sample index; whether those travel to a
model in this process, a server, a board on a serial line or a browser is the system's business.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, UsageError
from gnomon.core.registry import TASKS

IndexArray: TypeAlias = NDArray[np.int64]
"""Sample indices into a task's data set, shape (n,)."""

Outputs: TypeAlias = Sequence[Any] | NDArray[Any]
"""One answer a sample, in the order asked for; the first axis of an array is the sample."""


@dataclass(frozen=True)
class DataSource:
    """Where a task's data comes from, shown wherever its results are.

    Attributes:
        name: The data set (`scikit-learn digits`).
        official: Whether it is the data set the field's specification names. Stand-in data can never
            give a result that is worded as comparable with published ones.
        sha256: Fingerprint of the data in use, so that a result can be recomputed on the same data.
    """

    name: str
    official: bool
    sha256: str


class Task(ABC):
    """A data set, a metric and a reference model.

    A whole task can be this small:

        class Parity(Task):
            name = "parity"
            metric = "accuracy"

            def __len__(self): return 100
            def source(self): return DataSource("integers below 100", official=False, sha256="-")
            def inputs(self, samples): return samples
            def score(self, samples, outputs):
                return float(np.mean(samples % 2 == np.asarray(outputs).ravel()))
            def decode(self, data): return np.frombuffer(data, dtype=np.int64)
    """

    name: str
    metric: str
    unit: str = ""

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples that are measured."""

    @abstractmethod
    def source(self) -> DataSource:
        """Where the data comes from, with its fingerprint."""

    @abstractmethod
    def inputs(self, samples: IndexArray) -> Any:
        """The inputs of these samples, first axis (or list position) = sample.

        Called before the clock starts, for all samples that a measurement may ask for.
        """

    @abstractmethod
    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """The quality of these outputs: `outputs[i]` answers sample `samples[i]`."""

    def model_inputs(self, inputs: Any) -> list[Any]:
        """The inputs of a model with these samples, one batch for each input, in the model's order.

        Override it where a model takes several: of token ids, mask and segments, say.
        """
        return [inputs]

    def model_answers(self, outputs: Sequence[Any]) -> Outputs:
        """One answer a sample from what a model gave, one batch for each output, in the model's order.

        Override it where an answer is made of several.
        """
        answers: Outputs = outputs[0]
        return answers

    def distances(self, outputs: Outputs, expected: Outputs) -> NDArray[np.float64]:
        """How far each output is from what is expected of the same sample, float64 (n,).

        0 is the same; 1 is as far off as an output without any content, the mean of what is expected. Here
        the root mean square of the differences over the standard deviation of the expected values. Override
        it where values are not amounts.
        """
        found = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)
        wanted = np.asarray(expected, dtype=np.float64).reshape(len(expected), -1)
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.sqrt(((found - wanted) ** 2).mean(axis=1))
        least = np.finfo(np.float32).tiny
        distances: NDArray[np.float64] = off / np.maximum(wanted.std(axis=1), least)
        return distances

    def encode(self, output: Any) -> bytes:
        """One output as the bytes that go into the accuracy log; floats of any precision as float32."""
        return np.ascontiguousarray(single_precision(np.asarray(output))).tobytes()

    def decode(self, data: bytes) -> Any:
        """The inverse of `encode`, for scoring from a log. Override it with the output's type."""
        return np.frombuffer(data, dtype=np.float32)

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The reference model's file in this format.

        Formats are `onnx`, `tflite`, `ncnn`; of a precision other than float32 with that at the end:
        `onnx-int8`, `tflite-fp16`.

        Raises:
            DataError: There is none.
        """
        raise DataError(
            f"task {self.name!r} ships no {format} model: pass one with --model "
            f"FILE.{format.partition('-')[0]}"
        )


def make_task(name: str, data: Path | str | None = None) -> Task:
    """The task of this name, on its own data or on the user's.

    Args:
        name: Registered name.
        data: A file or folder of the user's, for a task whose constructor takes a `path`.

    Raises:
        UsageError: There is no such task, or it takes no data.
    """
    made = TASKS.load(name)
    if data is None:
        task: Task = made()
        return task
    if "path" not in inspect.signature(made).parameters:
        raise UsageError(f"task {name!r} has its own data and takes no other: leave out --data")
    own: Task = made(path=Path(data))
    return own


def single_precision(outputs: NDArray[Any]) -> NDArray[Any]:
    """Floats as float32, which `Task.decode` expects whatever precision a system answers in."""
    return outputs.astype(np.float32, copy=False) if outputs.dtype.kind == "f" else outputs
