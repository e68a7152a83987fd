"""Systems whose models take a fixed number of samples in a call: one call for a sample, another for a batch.

Samples that do not fill a batch are padded to one if they fill half of it, and else go one by one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.systems.executed import in_single_precision
from gnomon.systems.model_file import ModelFileSystem, ModelInputs
from gnomon.systems.tensors import Fitted, Tensor, fitted

COMPARED = 8
"""Samples whose answers show which precision ran: those of one alone may be near by chance."""
MOST_APART = 0.05
"""A batch's answers are its samples' own if they differ by no larger share: kernels may round otherwise."""


@dataclass(frozen=True)
class Calls:
    """A model that is open for so many samples at a time.

    Attributes:
        inputs, outputs: Of the model, in its order.
        prepared: From a batch for each input to what `call` takes; untimed where samples lie ready.
        call: From that to a batch for each output. It may be called from several threads.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    prepared: Callable[[list[NDArray[Any]]], Any]
    call: Callable[[Any], list[NDArray[Any]]]


class FixedBatchSystem(ModelFileSystem):
    """A model file of a framework whose calls have a fixed number of samples."""

    _single: Calls | None = None
    _whole: Calls | None = None
    _looked_into_half = False

    @abstractmethod
    def _calls(self, path: Path, samples: int) -> Calls:
        """Open the model for so many samples in a call.

        Raises:
            DataError: It is no model that the framework can load.
            Exception: Whatever the framework raises where a model takes one sample alone.
        """

    def _in_single_precision(self, path: Path) -> Calls | None:
        """The same model on kernels that compute in single precision; None where there are none to ask.

        Raises:
            Exception: Whatever the framework raises where they cannot load it.
        """
        return None

    def close(self) -> None:
        """Let go of the model."""
        self._single = self._whole = None

    def _open(self, path: Path) -> None:
        self._single = self._calls(path, 1)
        if self.max_batch_size > 1:
            try:
                self._whole = self._calls(path, self.max_batch_size)
            except Exception:  # a model for one sample at a time: it is what the file says
                self.max_batch_size = 1

    def _answering(self, task: Task, samples: IndexArray) -> Callable[[IndexArray], Outputs]:
        single = self._single
        assert single is not None
        one = samples[:1]
        given = [np.asarray(batch) for batch in task.model_inputs(task.inputs(one))]
        fit = fitted(self._path, task.name, single.inputs, single.outputs, given)
        inputs = ModelInputs(task, samples, fit.stored)
        try:
            single.call(single.prepared(inputs[one]))
        except Exception as error:
            words = " ".join(str(error).split())[:160]
            raise DataError(
                f"model {self._path} cannot run on the inputs of {task.name!r}: {words}"
            ) from None
        if self.precision == "fp16" and not self.precision_executed and not self._looked_into_half:
            self._looked_into_half = True  # once, also where nothing can be told
            few = np.unique(samples)[:COMPARED, None]
            self.precision_executed = self._what_half_came_to(single, [inputs[row] for row in few])
        if self._whole and not _alike(single, self._whole, inputs, samples, self.max_batch_size):
            self._whole, self.max_batch_size = None, 1
        return _predicting(task, inputs, samples, fit, single, self._whole, self.max_batch_size)

    def _what_half_came_to(self, asked: Calls, inputs: list[list[NDArray[Any]]]) -> str:
        """`fp32` where half precision was asked for and single is what ran; else nothing is claimed."""
        assert self._path is not None
        try:
            sure = self._in_single_precision(self._path)
            if sure is None:
                return ""
            same = all(
                in_single_precision(
                    asked.call(asked.prepared(batches)), sure.call(sure.prepared(batches))
                )
                for batches in inputs
            )
        except Exception:  # the other kernels cannot run it: no reason not to measure these
            return ""
        return "fp32" if same else ""


def _predicting(
    task: Task,
    inputs: ModelInputs,
    samples: IndexArray,
    fit: Fitted,
    single: Calls,
    whole: Calls | None,
    size: int,
) -> Callable[[IndexArray], Outputs]:
    """The function that is timed; `size` samples fill a batch."""
    ready = inputs.ready(samples, single.prepared)
    call, answers, meant = single.call, task.model_answers, fit.meant

    def predict(samples: IndexArray) -> Outputs:
        try:  # cheaper than asking first
            fed = ready[samples.item()]
        except (ValueError, KeyError):  # a batch, or one that does not lie ready
            return answers(meant(_in_parts(inputs, samples, single, whole, size)))
        return answers(meant(call(fed)))

    return predict


def _in_parts(
    inputs: ModelInputs, samples: IndexArray, single: Calls, whole: Calls | None, size: int
) -> list[NDArray[Any]]:
    """One batch for each output, of any number of samples."""
    parts = []
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        if whole is not None and 2 * len(part) >= size:
            filled = np.pad(part, (0, size - len(part)), mode="edge")
            found = whole.call(whole.prepared(inputs[filled]))
            parts.append([batch[: len(part)] for batch in found])
        else:
            parts += [
                single.call(single.prepared(inputs[part[place : place + 1]]))
                for place in range(len(part))
            ]
    if len(parts) == 1:
        return parts[0]
    return [np.concatenate(batches) for batches in zip(*parts, strict=True)]


def _alike(
    single: Calls, whole: Calls, inputs: ModelInputs, samples: IndexArray, size: int
) -> bool:
    """Whether a batch's answers are those of its samples alone.

    A model that was made for one sample can take more and still answer for the first one only.
    """
    few = np.resize(np.unique(samples)[:2], size)
    try:
        together = whole.call(whole.prepared(inputs[few]))
    except Exception:  # the framework's own way of saying that it takes one sample alone
        return False
    alone = [single.call(single.prepared(inputs[few[place : place + 1]])) for place in range(2)]
    for number, batch in enumerate(together):
        expected = np.concatenate([outputs[number] for outputs in alone])
        if len(batch) != size or batch.shape[1:] != expected.shape[1:]:
            return False
        apart = np.abs(batch[:2].astype(np.float64) - expected).mean()
        if not apart <= MOST_APART * np.abs(expected.astype(np.float64)).mean():
            return False
    return True
