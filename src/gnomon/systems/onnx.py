"""ONNX Runtime: a model file, a session, a batch of inputs looked up by sample index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.loadgen.system import InputTable, SynchronousSystem

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)
DEFAULT_BATCH_SIZE = 64
"""Offline digits on one core: 64 is within 3 % of the best rate and keeps a batch under a millisecond."""
SEVERITY_ERROR = 3
WARM_UP_CALLS = 10
MOST_READY = 1 << 14
"""Inputs kept ready as batches of one; any others are looked up."""


class OnnxSystem(SynchronousSystem):
    """A model in ONNX Runtime, in this process."""

    name = "onnx"

    def __init__(
        self,
        *,
        model: Path | str | None = None,
        threads: int = 1,
        providers: Sequence[str] | str = DEFAULT_PROVIDERS,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Describe the session; it is made when the task is known.

        Args:
            model: A model file; default: the task's reference model.
            threads: Threads within one call.
            providers: Execution providers in order of preference. One that is asked for and not used is
                an error, never a silent fall-back.
            batch_size: The most samples in one call.

        Raises:
            SettingsError: A value is out of range.
            UnknownNameError: A provider that this ONNX Runtime does not have.
        """
        for name, value in (("threads", threads), ("batch_size", batch_size)):
            if not isinstance(value, int) or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}")
        available = onnxruntime.get_available_providers()
        self._providers = providers.split(",") if isinstance(providers, str) else list(providers)
        for provider in self._providers:
            if provider not in available:
                raise UnknownNameError("ONNX Runtime provider", provider, available)
        self.max_batch_size = batch_size
        self._path = Path(model) if model is not None else None
        self._threads = threads
        self._session: onnxruntime.InferenceSession | None = None
        self._digest = ""

    def describe(self) -> dict[str, Any]:
        """Model, version, provider and threads."""
        described: dict[str, Any] = {
            "onnxruntime": onnxruntime.__version__,
            "threads": self._threads,
            "batch_size": self.max_batch_size,
            "providers": self._providers,
        }
        if self._session is not None and self._path is not None:
            described |= {
                "model": self._path.name,
                "model_sha256": self._digest,
                "providers": self._session.get_providers(),
            }
        return described

    def load(self, task: Task, samples: IndexArray) -> None:
        """Make the session on the first call, look up the inputs, warm up."""
        if self._session is None:
            self._path = self._path or task.model("onnx")
            self._session = self._open(self._path)
            self._digest = hashlib.sha256(self._path.read_bytes()).hexdigest()
        self._inputs = InputTable(task, samples)
        first = samples[:1]
        self._require_fit(task, self._inputs[first])
        run = self._session.run
        names, feed = [self._session.get_outputs()[0].name], self._session.get_inputs()[0].name
        inputs = self._inputs
        # Looking up one small input costs more than 1 % of a small model: single ones lie ready.
        ready = {
            sample: {feed: inputs[np.array([sample])]}
            for sample in np.unique(samples)[:MOST_READY].tolist()
        }

        def predict(samples: IndexArray) -> Outputs:
            try:  # cheaper than asking first: of a small model's time, len() alone is 1 %
                fed = ready[samples.item()]
            except (ValueError, KeyError):  # a batch, or one that does not lie ready
                fed = {feed: inputs[samples]}
            outputs: Outputs = run(names, fed)[0]
            return outputs

        # The loop that is timed calls this closure, not a method with five look-ups.
        self.predict = predict  # type: ignore[method-assign]
        for size in {1, min(self.max_batch_size, len(samples))}:
            for _ in range(WARM_UP_CALLS):
                predict(samples[:size])

    def predict(self, samples: IndexArray) -> Outputs:
        """Scores of these samples; `load` puts the real function here."""
        raise SettingsError("the ONNX system was asked to predict before it was loaded")

    def close(self) -> None:
        """Let go of the session."""
        self._session = None

    def _open(self, path: Path) -> onnxruntime.InferenceSession:
        if not path.is_file():
            raise DataError(f"model {path} is missing: give a file with --model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SEVERITY_ERROR
        try:
            session = onnxruntime.InferenceSession(path, options, providers=self._providers)
        except Exception as error:
            raise DataError(
                f"model {path} is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can "
                f"load: {_first_line(error)}"
            ) from None
        missing = [name for name in self._providers if name not in session.get_providers()]
        if missing:
            raise SettingsError(
                f"ONNX Runtime did not use {', '.join(missing)} but {session.get_providers()[0]}: its "
                f"libraries or device are missing"
            )
        if len(session.get_inputs()) != 1:
            names = ", ".join(given.name for given in session.get_inputs())
            raise DataError(f"model {path} has inputs {names}; a model with one input is needed")
        return session

    def _require_fit(self, task: Task, batch: Any) -> None:
        """Refuse a model that does not take what the task gives, before the clock starts."""
        assert self._session is not None
        wanted = self._session.get_inputs()[0]
        given = np.asarray(batch)
        shape = [size if isinstance(size, int) else None for size in wanted.shape]
        fits = len(shape) == given.ndim and all(
            size in (None, found) for size, found in zip(shape[1:], given.shape[1:], strict=True)
        )
        if not fits or shape[0] not in (None, 1):
            raise DataError(
                f"model {self._path} takes {wanted.name} of shape {wanted.shape}, task {task.name!r} "
                f"gives {('n', *given.shape[1:])}: use a model for this task"
            )
        if shape[0] == 1:
            self.max_batch_size = 1  # a model of fixed batch
        try:
            self._session.run(None, {wanted.name: given})
        except Exception as error:
            raise DataError(
                f"model {self._path} cannot run on the inputs of {task.name!r}: {_first_line(error)}"
            ) from None


def _first_line(error: Exception) -> str:
    """ONNX Runtime's messages begin with a code and a class; keep what a person can use."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.removeprefix("[ONNXRuntimeError] : ").strip()[:160]
