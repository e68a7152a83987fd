"""OpenVINO: the same ONNX model as ONNX Runtime's, compiled for a CPU, GPU or NPU at a chosen precision.

What is asked for and what runs are two things here: on a processor with bfloat16 a float model runs in that
unless told otherwise. So fp32 is asked for by name, and what ran is read back and put on record.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.extras import optional_module
from gnomon.systems.executed import over_layers
from gnomon.systems.fixed_batch import Calls, FixedBatchSystem
from gnomon.systems.tensors import Tensor

DEFAULT_BATCH_SIZE = 16
AUTO = "AUTO"
COMPUTE_LAYERS = {
    *("Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"),
    *("RNNSeq", "ScaledDotProductAttention", "ScaledDotProductAttentionWithKVCache"),
}
"""Of the compiled model: those that arithmetic is spent in."""
PRECISION_NAMES = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}
KERNEL_ENDINGS = {"f32", "f16", "bf16", "i8", "u8"}
TELEMETRY = "openvino_telemetry"
_Found = TypeVar("_Found")


class OpenVinoSystem(FixedBatchSystem):
    """A model in OpenVINO, in this process."""

    name = "openvino"
    framework = "OpenVINO"
    format = "onnx"
    chosen_while_running = ("fp32", "fp16")

    def __init__(
        self,
        *,
        model: Path | str | None = None,
        threads: int = 1,
        precision: str | None = None,
        device: str = "CPU",
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Describe the compiled model; it is made when the task is known.

        Args:
            model: A model file, ONNX or .tflite; default: the task's reference model.
            threads: Threads within one call, on the CPU.
            precision: `fp32` (default); `fp16`, which asks for it in running the fp32 model; or `int8`,
                which is the task's int8 model.
            device: `CPU`, `GPU`, `NPU`, or `AUTO` for OpenVINO's own choice.
            batch_size: The most samples in one call; 1 where the model takes no more.

        Raises:
            SettingsError: A value is out of range, or there is no such device.
            MissingExtraError: OpenVINO is not installed.
        """
        super().__init__(model=model, threads=threads, precision=precision, batch_size=batch_size)
        self._openvino = _imported()
        self._core = self._openvino.Core()
        self._device = str(device).upper()
        there = [*_in_passing_thread(lambda: self._core.available_devices), AUTO]
        if self._device not in {*there, *(name.partition(".")[0] for name in there)}:
            raise SettingsError(
                f"OpenVINO finds no device {device} here, only {', '.join(there)}: choose one of these, or "
                f"install its driver"
            )
        self._compiled: Any = None
        self._kernels: list[str] = []

    @property
    def version(self) -> str:
        """Year, release, patch; without the build."""
        return str(self._openvino.__version__).partition("-")[0]

    @property
    def accelerator(self) -> str:
        """Where the model runs, read back while it is open."""
        if self._compiled is None:
            return self._device
        return ", ".join(self._compiled.get_property("EXECUTION_DEVICES"))

    def describe(self) -> dict[str, Any]:
        """What all systems of model files say, the device that was asked for and the kernels that ran."""
        kernels = {"kernels": self._kernels} if self._kernels else {}
        return super().describe() | {"device": self._device} | kernels

    def close(self) -> None:
        """Let go of the model."""
        super().close()
        self._compiled = None

    def _format(self) -> str:
        return "onnx-int8" if self.precision == "int8" else "onnx"

    def _calls(self, path: Path, samples: int) -> Calls:
        try:
            model = self._core.read_model(path)
            model.reshape({given: [samples, *given.partial_shape[1:]] for given in model.inputs})
            compiled = _in_passing_thread(
                lambda: self._core.compile_model(model, self._device, self._configuration())
            )
        except Exception as error:
            words = " ".join(str(error).split())[-200:]
            raise DataError(
                f"model {path} is not a model that OpenVINO {self.version} can load for {self._device} and "
                f"{samples} {'sample' if samples == 1 else 'samples'} a call: {words}"
            ) from None
        if samples == 1:
            self._compiled = compiled
            self.precision_executed, self._kernels = _what_runs(compiled)
        tensor_of, request = self._openvino.Tensor, compiled.create_infer_request()
        feed, infer, fetch = request.set_input_tensor, request.infer, request.get_output_tensor
        outputs = range(len(compiled.outputs))
        lock = Lock()  # a request answers one call at a time

        def prepared(batches: list[NDArray[Any]]) -> list[Any]:
            return [tensor_of(batch, shared_memory=True) for batch in batches]

        def call(tensors: list[Any]) -> list[NDArray[Any]]:
            with lock:
                for place, tensor in enumerate(tensors):
                    feed(place, tensor)
                infer()
                return [fetch(place).data.copy() for place in outputs]

        return Calls(
            tuple(map(_tensor, compiled.inputs)),
            tuple(map(_tensor, compiled.outputs)),
            prepared,
            call,
        )

    def _configuration(self) -> dict[str, Any]:
        hint = "f16" if self.precision == "fp16" else "f32"
        chosen: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": hint,
        }
        threads = {"INFERENCE_NUM_THREADS": self._threads}
        if self._device == "CPU":
            return chosen | threads
        return chosen | ({"DEVICE_PROPERTIES": {"CPU": threads}} if self._device == AUTO else {})


def _imported() -> Any:
    """The package, without its messages home: importing it would send one over the network.

    Raises:
        MissingExtraError: It is not installed.
    """
    silent = "openvino" not in sys.modules and TELEMETRY not in sys.modules
    if silent:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment] # it then uses a stub of its own
    try:
        return optional_module("openvino", "openvino", "openvino", "the system 'openvino'")
    finally:
        if silent:
            del sys.modules[TELEMETRY]


def _in_passing_thread(work: Callable[[], _Found]) -> _Found:
    """Do what may load a plugin in a thread that ends with it.

    The CPU plugin gives the thread that loads it another stack for signals, and unmaps that from whichever
    thread it is let go in. Were the first the main thread and the second another, as garbage collection
    will have it, the next signal, Ctrl-C say, would end the process.
    """
    with ThreadPoolExecutor(1) as passing:
        return passing.submit(work).result()


def _what_runs(compiled: Any) -> tuple[str, list[str]]:
    """Precision and kernels of the layers that matter, as the compiled model tells."""
    layers = [operator.get_rt_info() for operator in compiled.get_runtime_model().get_ordered_ops()]
    told = [
        {key: str(_plain(layer[key])) for key in ("layerType", "runtimePrecision", "primitiveType")}
        for layer in layers
        if "layerType" in layer
    ]
    counted = [layer for layer in told if layer["layerType"] in COMPUTE_LAYERS] or told
    kernels = sorted({layer["primitiveType"] for layer in counted})
    return over_layers([_precision_of(layer) for layer in counted]), kernels


def _precision_of(layer: Mapping[str, str]) -> str:
    """What a layer computes in: its kernel's name ends with that."""
    kernel = layer["primitiveType"].rpartition("_")[2].lower()
    told = kernel if kernel in KERNEL_ENDINGS else layer["runtimePrecision"]
    return PRECISION_NAMES.get(told, told)


def _plain(value: Any) -> Any:
    """A value of the runtime's information, which some releases wrap."""
    return getattr(value, "value", value)


def _tensor(port: Any) -> Tensor:
    """An input or output of a compiled model."""
    shape = port.get_partial_shape()
    sizes = tuple(None if size.is_dynamic else int(size.get_length()) for size in list(shape)[1:])
    name = next(iter(sorted(port.get_names())), "")
    return Tensor(str(name), sizes, np.dtype(port.get_element_type().to_dtype()))
