"""ONNX Runtime: a model file, a session, a batch of inputs looked up by sample index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.systems.model_file import ModelFileSystem, ModelInputs
from gnomon.systems.onnx_trace import KernelTrace, traced
from gnomon.systems.tensors import require_count

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)
DEFAULT_BATCH_SIZE = 64
"""Offline digits on one core: 64 is within 3 % of the best rate and keeps a batch under a millisecond."""
SEVERITY_FATAL = 4
"""What goes wrong is raised, and told in one line."""


class OnnxSystem(ModelFileSystem):
    """A model in ONNX Runtime, in this process."""

    name = "onnx"
    framework = "ONNX Runtime"
    format = "onnx"
    version = onnxruntime.__version__

    def __init__(
        self,
        *,
        model: Path | str | None = None,
        threads: int = 1,
        providers: Sequence[str] | str = DEFAULT_PROVIDERS,
        precision: str | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Describe the session; it is made when the task is known.

        Args:
            model: A model file; default: the task's reference model.
            threads: Threads within one call.
            providers: Execution providers in order of preference. One that is asked for and not used is
                an error, never a silent fall-back.
            precision: `fp32` (default), `fp16` or `int8`: which of the task's models.
            batch_size: The most samples in one call.

        Raises:
            SettingsError: A value is out of range.
            UnknownNameError: A provider that this ONNX Runtime does not have.
        """
        super().__init__(model=model, threads=threads, precision=precision, batch_size=batch_size)
        available = onnxruntime.get_available_providers()
        self._providers = providers.split(",") if isinstance(providers, str) else list(providers)
        for provider in self._providers:
            if provider not in available:
                raise UnknownNameError("ONNX Runtime provider", provider, available)
        self._session: onnxruntime.InferenceSession | None = None
        self._trace: KernelTrace | None = None

    @property
    def accelerator(self) -> str:
        """The provider that comes first, without its ending."""
        return self._providers[0].removesuffix("ExecutionProvider")

    def describe(self) -> dict[str, Any]:
        """What all systems of model files say, and the providers."""
        used = self._session.get_providers() if self._session is not None else self._providers
        return super().describe() | {"onnxruntime": self.version, "providers": used}

    def close(self) -> None:
        """Let go of the session."""
        self._session = self._trace = None

    def _answering(self, task: Task, samples: IndexArray) -> Callable[[IndexArray], Outputs]:
        assert self._session is not None
        inputs = ModelInputs(task, samples)
        self._require_fit(task, inputs[samples[:1]])
        run, answers = self._session.run, task.model_answers
        feeds = [given.name for given in self._session.get_inputs()]
        ready = inputs.ready(samples, lambda batches: dict(zip(feeds, batches, strict=True)))

        def fed_for(samples: IndexArray) -> dict[str, Any]:
            try:  # cheaper than asking first: of a small model's time, len() alone is 1 %
                return ready[samples.item()]
            except (ValueError, KeyError):  # a batch, or one that does not lie ready
                return dict(zip(feeds, inputs[samples], strict=True))

        if type(task).model_answers is not Task.model_answers:
            return lambda samples: answers(run(None, fed_for(samples)))
        names = [self._session.get_outputs()[0].name]

        def predict(samples: IndexArray) -> Outputs:
            try:  # written out: a call more would be another 1 %
                fed = ready[samples.item()]
            except (ValueError, KeyError):
                fed = fed_for(samples)
            outputs: Outputs = run(names, fed)[0]
            return outputs

        return predict

    def _open(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SEVERITY_FATAL
        if self.precision != "fp32":
            self._trace = traced(options)
        try:
            session = onnxruntime.InferenceSession(path, options, providers=self._providers)
        except Exception as error:
            raise DataError(
                f"model {path} is not an ONNX model that ONNX Runtime {self.version} can "
                f"load: {_first_line(error)}"
            ) from None
        missing = [name for name in self._providers if name not in session.get_providers()]
        if missing:
            raise SettingsError(
                f"ONNX Runtime did not use {', '.join(missing)} but {session.get_providers()[0]}: its "
                f"libraries or device are missing"
            )
        self._session = session

    def _require_fit(self, task: Task, batches: list[Any]) -> None:
        """Refuse a model that does not take what the task gives, before the clock starts."""
        assert self._session is not None
        path, inputs = self._path, self._session.get_inputs()
        require_count(path, task.name, [wanted.name for wanted in inputs], batches)
        for wanted, batch in zip(inputs, batches, strict=True):
            given = np.asarray(batch)
            shape = [size if isinstance(size, int) else None for size in wanted.shape]
            fits = len(shape) == given.ndim and all(
                size in (None, found)
                for size, found in zip(shape[1:], given.shape[1:], strict=True)
            )
            if not fits or shape[0] not in (None, 1):
                raise DataError(
                    f"model {path} takes {wanted.name} of shape {wanted.shape}, task {task.name!r} "
                    f"gives {('n', *given.shape[1:])}: use a model for this task"
                )
            if shape[0] == 1:
                self.max_batch_size = 1  # a model of fixed batch
        fed = {wanted.name: batch for wanted, batch in zip(inputs, batches, strict=True)}
        try:
            self._session.run(None, fed)
        except Exception as error:
            raise DataError(
                f"model {path} cannot run on the inputs of {task.name!r}: {_first_line(error)}"
            ) from None
        if self._trace is not None:
            self.precision_executed = self._trace.precision(self._session)
            self._trace = None


def _first_line(error: Exception) -> str:
    """ONNX Runtime's messages begin with a code and a class; keep what a person can use."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.removeprefix("[ONNXRuntimeError] : ").strip()[:160]
