"""What systems that run a model file share: which file, its inputs by sample, warm-up, what goes on record.

The module of a framework says how it opens a file and how it is called; the rest is here, the same for all,
so that their results can stand in one table.
"""

from __future__ import annotations

import os
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.files import sha256_of
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.loadgen.judge import OWN_PRECISION
from gnomon.loadgen.system import InputTable, SynchronousSystem

PRECISIONS = ("fp32", "fp16", "int8")
WARM_UP_CALLS = 10
MOST_READY = 1 << 14
"""Inputs kept ready as batches of one; any others are looked up."""

Fed = TypeVar("Fed")


class ModelFileSystem(SynchronousSystem):
    """A model file, run by a framework in this process.

    Attributes:
        framework: The framework's name, as people write it.
        format: What the task's models for it are called.
        chosen_while_running: Precisions that the framework gives a model of a person's own.
        precision_executed: What the open model is really computed in; empty where that cannot be told.
    """

    framework: str
    format: str
    chosen_while_running: tuple[str, ...] = ()
    precision_executed: str = ""

    def __init__(
        self, *, model: Path | str | None, threads: int, precision: str | None, batch_size: int
    ) -> None:
        """Note what is asked for; the file is opened when the task is known.

        Args:
            model: A model file; default: the task's reference model.
            threads: Threads within one call.
            precision: `fp32`, `fp16` or `int8`: which of the task's models.
            batch_size: The most samples in one call.

        Raises:
            SettingsError: A value is out of range.
        """
        for name, value in (("threads", threads), ("batch_size", batch_size)):
            if not isinstance(value, int) or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}")
        if precision is not None and precision not in PRECISIONS:
            raise SettingsError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}"
            )
        if model is not None and precision not in (None, *self.chosen_while_running):
            raise SettingsError(
                f"a model of your own has its precision in {self.framework}: leave out {precision}"
            )
        self.max_batch_size = batch_size
        self.precision = precision or ("fp32" if model is None else OWN_PRECISION)
        self._given = Path(model) if model is not None else None
        self._threads = threads
        self._path: Path | None = None
        self._digest = ""

    @property
    @abstractmethod
    def version(self) -> str:
        """Of the framework."""

    @property
    @abstractmethod
    def accelerator(self) -> str:
        """What the model runs on: `CPU`, `CUDA`, ..."""

    def describe(self) -> dict[str, Any]:
        """Framework, precision, threads; once the model is open also what that settles."""
        described: dict[str, Any] = {
            "framework": self.framework,
            "version": self.version,
            "precision": self.precision,
            "threads": self._threads,
        }
        if self._path is None:
            return described
        executed = self.precision_executed
        return described | {
            **({"precision_executed": executed} if executed else {}),
            "accelerator": self.accelerator,
            "batch_size": self.max_batch_size,
            "model": self._path.name,
            "model_sha256": self._digest,
        }

    def model_file(self, task: Task) -> Path:
        """The file that is measured on this task.

        Raises:
            DataError: There is none.
        """
        path = self._given or task.model(self._format())
        for file in self._files(path):
            if not file.is_file():
                raise DataError(self._missing(file))
        return path

    def _missing(self, file: Path) -> str:
        """Why this file of the model cannot be opened, and what to do."""
        if self._given is None:
            return f"model {file} is missing: give a file with --model"
        if file.exists():
            return f"model {file} is a folder, the file is missing: give a file with --model"
        if file != self._given:
            return f"model {file} is missing: {self.framework} needs it with {self._given}"
        return f"model {file} is missing: give a file with --model that exists, this one does not"

    def load(self, task: Task, samples: IndexArray) -> None:
        """Open the model on the first call, bring the inputs into its form, warm up."""
        if self._path is None:
            path = self.model_file(task)
            self._open(path)
            self._path, self._digest = path, sha256_of(*self._files(path))
        # The loop that is timed calls this closure, not a method with five look-ups.
        self.predict = self._answering(task, samples)  # type: ignore[method-assign, assignment]
        for size in {1, min(self.max_batch_size, len(samples))}:
            for _ in range(WARM_UP_CALLS):
                self.predict(samples[:size])

    def predict(self, samples: IndexArray) -> Outputs:
        """Answers to these samples; `load` puts the real function here."""
        raise SettingsError(
            f"the {self.framework} system was asked to predict before it was loaded"
        )

    @abstractmethod
    def _open(self, path: Path) -> None:
        """Open the file and hold what came of it."""

    @abstractmethod
    def _answering(self, task: Task, samples: IndexArray) -> Callable[[IndexArray], Outputs]:
        """The function that is timed, with these samples' inputs lying ready."""

    def _format(self) -> str:
        """What `Task.model` is asked for."""
        return self.format if self.precision == "fp32" else f"{self.format}-{self.precision}"

    def _files(self, path: Path) -> Sequence[Path]:
        """All files of the model."""
        return (path,)


class ModelInputs(InputTable):
    """A model's inputs as it takes them, held in memory and looked up by sample: a batch for each."""

    def __init__(
        self,
        task: Task,
        samples: IndexArray,
        arranged: Callable[[list[Any]], list[Any]] = lambda batches: batches,
    ) -> None:
        super().__init__(task, samples)
        self._inputs = arranged(task.model_inputs(self._inputs))

    def __getitem__(self, samples: IndexArray) -> list[Any]:
        """The inputs of these samples, one batch for each input of the model."""
        rows = samples if self._rows is None else self._rows[samples]
        return [
            batch[rows] if isinstance(batch, np.ndarray) else [batch[row] for row in rows]
            for batch in self._inputs
        ]

    def ready(self, samples: IndexArray, prepared: Callable[[list[Any]], Fed]) -> dict[int, Fed]:
        """By sample, what a call takes of it alone.

        Looking up one small input costs more than 1 % of a small model: single ones lie ready.
        """
        return {
            sample: prepared(self[np.array([sample])])
            for sample in np.unique(samples)[:MOST_READY].tolist()
        }


@contextmanager
def native_messages() -> Iterator[Callable[[], str]]:
    """Keep what native code says on standard error off the terminal meanwhile; gives it when asked.

    Frameworks greet there, and also say there what is wrong with a file.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        terminal = os.dup(2)
        os.dup2(kept.fileno(), 2)

        def told() -> str:
            kept.seek(0)
            return " ".join(kept.read().decode(errors="replace").split())

        try:
            yield told
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
