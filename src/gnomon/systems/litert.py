"""LiteRT, which was TensorFlow Lite: a .tflite model, an interpreter, a delegate that is asked for by name.

The package's newer interface, `CompiledModel`, adds GPUs and NPUs where their drivers are; it falls back to
the CPU without a word if it may, so that what ran would not be known. The interpreter tells.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.core.extras import optional_module
from gnomon.systems.fixed_batch import Calls, FixedBatchSystem
from gnomon.systems.model_file import native_messages
from gnomon.systems.tensors import Tensor

PACKAGE = "ai-edge-litert"
XNNPACK, BUILT_IN = "xnnpack", "none"
DEFAULT_BATCH_SIZE = 16


class LiteRtSystem(FixedBatchSystem):
    """A model in LiteRT, in this process."""

    name = "litert"
    framework = "LiteRT"
    format = "tflite"

    def __init__(
        self,
        *,
        model: Path | str | None = None,
        threads: int = 1,
        precision: str | None = None,
        delegate: str = XNNPACK,
        delegate_options: Mapping[str, Any] | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Describe the interpreter; it is made when the task is known.

        Args:
            model: A model file; default: the task's reference model.
            threads: Threads within one call.
            precision: `fp32` (default), `fp16` or `int8`: which of the task's models.
            delegate: `xnnpack` for its kernels, `none` for LiteRT's own, or the shared library of
                another. One that takes no operator of the model is an error.
            delegate_options: Of such a library: {"name": value}.
            batch_size: The most samples in one call; 1 where the model takes no more.

        Raises:
            SettingsError: A value is out of range, or the delegate's library cannot be loaded.
            MissingExtraError: LiteRT is not installed.
        """
        super().__init__(model=model, threads=threads, precision=precision, batch_size=batch_size)
        self._litert: Any = optional_module(
            "ai_edge_litert.interpreter", PACKAGE, "mobile", "the system 'litert'"
        )
        if delegate_options and delegate in (XNNPACK, BUILT_IN):
            raise SettingsError(f"delegate {delegate!r} takes no delegate_options: leave them out")
        self._delegate, self._delegate_options = str(delegate), dict(delegate_options or {})
        self._delegated_parts: int | None = None
        if delegate not in (XNNPACK, BUILT_IN):
            self._loaded_delegate()  # what cannot be loaded is refused before anything is measured

    @property
    def version(self) -> str:
        """Of the package."""
        return version(PACKAGE)

    @property
    def accelerator(self) -> str:
        """The CPU, or whatever a delegate's library is for."""
        return "CPU" if self._delegate in (XNNPACK, BUILT_IN) else Path(self._delegate).stem

    def describe(self) -> dict[str, Any]:
        """What all systems of model files say, and the delegate with the parts of the model it took."""
        said = super().describe() | {"delegate": self._delegate}
        if self._delegate_options:
            said["delegate_options"] = self._delegate_options
        if self._delegated_parts is not None:
            said["delegated_parts"] = self._delegated_parts
        return said

    def _calls(self, path: Path, samples: int) -> Calls:
        interpreter = self._interpreter(path, samples)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        feeds = [given["index"] for given in inputs]
        fetches = [taken["index"] for taken in outputs]
        feed, invoke, fetch = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
        lock = Lock()  # an interpreter answers one call at a time

        def call(batches: list[NDArray[Any]]) -> list[NDArray[Any]]:
            with lock:
                for index, batch in zip(feeds, batches, strict=True):
                    feed(index, batch)
                invoke()
                return [fetch(index) for index in fetches]

        return Calls(
            tuple(_tensor(given) for given in inputs),
            tuple(_tensor(taken) for taken in outputs),
            list,
            call,
        )

    def _in_single_precision(self, path: Path) -> Calls:
        return LiteRtSystem(model=path, threads=self._threads, delegate=BUILT_IN)._calls(path, 1)

    def _interpreter(self, path: Path, samples: int) -> Any:
        """An interpreter for so many samples in a call."""
        kinds = self._litert.OpResolverType
        with native_messages() as told:
            try:
                made = self._litert.Interpreter(
                    model_path=str(path),
                    num_threads=self._threads,
                    experimental_delegates=self._delegates(),
                    experimental_op_resolver_type=kinds.AUTO
                    if self._delegate == XNNPACK
                    else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                )
                for given in made.get_input_details():
                    if samples != 1:
                        made.resize_tensor_input(given["index"], [samples, *given["shape"][1:]])
                made.allocate_tensors()
            except SettingsError:
                raise
            except Exception as error:
                words = f"{described(error)} {told()}".strip()[:200]
                raise DataError(
                    f"model {path} is not a model that LiteRT {self.version} can load: {words}"
                ) from None
        self._require_used(path, made)
        return made

    def _require_used(self, path: Path, interpreter: Any) -> None:
        """Refuse a delegate that left the whole model to the kernels it stands in for."""
        operators = getattr(interpreter, "_get_ops_details", None)  # the only way to be told
        if operators is None or self._delegate == BUILT_IN:
            return
        self._delegated_parts = sum(each["op_name"] == "DELEGATE" for each in operators())
        if not self._delegated_parts:
            raise SettingsError(
                f"delegate {self._delegate!r} took no operator of model {path}: measure LiteRT's own "
                f"kernels with -s delegate={BUILT_IN}"
            )

    def _delegates(self) -> list[Any]:
        return [] if self._delegate in (XNNPACK, BUILT_IN) else [self._loaded_delegate()]

    def _loaded_delegate(self) -> Any:
        try:
            # Where this fails, LiteRT says so twice, once as a traceback.
            ctypes.CDLL(self._delegate)
            return self._litert.load_delegate(self._delegate, self._delegate_options)
        except Exception as error:
            raise SettingsError(
                f"delegate {self._delegate!r} is neither {XNNPACK!r}, {BUILT_IN!r} nor a library that "
                f"LiteRT can load: {described(error)[:160]}"
            ) from None


def _tensor(details: Mapping[str, Any]) -> Tensor:
    """An input or output as the interpreter tells it."""
    quantization = details["quantization_parameters"]
    scales, zero_points = quantization["scales"], quantization["zero_points"]
    return Tensor(
        str(details["name"]),
        tuple(map(int, details["shape"][1:])),
        np.dtype(details["dtype"]),
        float(scales[0]) if len(scales) else 0.0,
        int(zero_points[0]) if len(zero_points) else 0,
    )
