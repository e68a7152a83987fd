"""An int8 model in LiteRT or TensorFlow Lite Micro, fed and read as the field's firmware does it.

What a board does with a payload, and what it prints, depends on the benchmark (mlcommons/tiny,
`reference_submissions/*/submitter_implemented.cpp`); everything is prepared and read outside the window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, MissingExtraError, UnknownNameError, described
from gnomon.core.extras import optional_module

Runtime: TypeAlias = Literal["litert", "tflite-micro"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
PACKAGES: dict[Runtime, str] = {"litert": "ai-edge-litert", "tflite-micro": "tflite-micro"}

PICTURES = ("vww01", "ic01", "ic02")
"""Payloads are unsigned; the board takes 128 off."""
ANOMALIES = ("ad01",)
"""Payloads are float32; the answer is one number, the mean squared error of what comes out."""


@dataclass(frozen=True)
class Quantization:
    """Real value = scale * (stored value - zero point)."""

    scale: float
    zero_point: int

    def dequantized(self, stored: NDArray[np.int8]) -> NDArray[np.float64]:
        """The real values."""
        values: NDArray[np.float64] = self.scale * (stored.astype(np.float64) - self.zero_point)
        return values

    def quantized(self, values: NDArray[np.float32]) -> NDArray[np.int8]:
        """Values to int8, halves away from zero, cut to the range; what is no number becomes 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.nan_to_num(values.astype(np.float64) / self.scale, posinf=1e9, neginf=-1e9)
        rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps) + self.zero_point
        stored: NDArray[np.int8] = np.clip(rounded, -128, 127).astype(np.int8)
        return stored


@dataclass(frozen=True)
class Interpreter:
    """A model in a runtime.

    Attributes:
        shape: Of the input, with a batch of one.
        feed: Puts an int8 input in place, shape `shape`.
        run: Infers so many times on it.
        answer: The int8 output, flat.
    """

    shape: tuple[int, ...]
    input: Quantization
    output: Quantization
    feed: Callable[[NDArray[np.int8]], object]
    run: Callable[[int], object]
    answer: Callable[[], NDArray[np.int8]]


class LoadedModel:
    """A model as the firmware wants it: payloads in, printed numbers out."""

    def __init__(self, model_id: str, interpreter: Interpreter) -> None:
        self._model_id, self._interpreter = model_id, interpreter
        self._size = int(np.prod(interpreter.shape))
        self._floats = np.zeros(self._size, dtype=np.float32)

    @property
    def payload_size(self) -> int:
        """Bytes of one payload."""
        return self._size * 4 if self._model_id in ANOMALIES else self._size

    def load(self, payload: bytes) -> str:
        """Take a payload as input; what is wrong with it, or nothing."""
        if len(payload) != self.payload_size:
            return f"The input has {len(payload)} bytes of {self.payload_size}"
        if self._model_id in ANOMALIES:
            self._floats = np.frombuffer(payload, dtype="<f4")
            stored = self._interpreter.input.quantized(self._floats)
        elif self._model_id in PICTURES:
            stored = (np.frombuffer(payload, dtype=np.uint8) ^ 0x80).view(np.int8)
        else:
            stored = np.frombuffer(payload, dtype=np.int8)
        self._interpreter.feed(stored.reshape(self._interpreter.shape))
        return ""

    def infer(self, count: int) -> None:
        """Infer so many times."""
        self._interpreter.run(count)

    def results(self) -> list[float]:
        """The answer of the last inference, dequantised."""
        values = self._interpreter.output.dequantized(self._interpreter.answer())
        if self._model_id not in ANOMALIES:
            return list(map(float, values))
        with np.errstate(over="ignore", invalid="ignore"):  # a payload may hold anything
            return [float(np.mean((values - self._floats) ** 2))]


def open_model(path: Path, model_id: str, runtime: Runtime, threads: int = 1) -> LoadedModel:
    """A model's file, ready to infer.

    Raises:
        UnknownNameError: There is no such runtime.
        MissingExtraError: The runtime is not installed.
        DataError: The file is missing, or no model of one int8 input and one int8 output.
    """
    if runtime not in RUNTIMES:
        raise UnknownNameError("runtime", runtime, RUNTIMES)
    if not path.is_file():
        raise DataError(f"model {path} is missing")
    opened = _litert(path, threads) if runtime == "litert" else _tflite_micro(path)
    if model_id in ANOMALIES and opened.answer().size != np.prod(opened.shape):
        raise DataError(f"model {path} is no autoencoder, which {model_id} needs")
    return LoadedModel(model_id, opened)


def runtime_version(runtime: Runtime) -> str:
    """The version of the runtime's package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return version(PACKAGES[runtime])
    except ImportError:
        raise MissingExtraError(PACKAGES[runtime], "tiny", f"the host board on {runtime}") from None


def _imported(module: str, runtime: Runtime) -> Any:
    return optional_module(module, PACKAGES[runtime], "tiny", f"the host board on {runtime}")


def _litert(path: Path, threads: int) -> Interpreter:
    module = _imported("ai_edge_litert.interpreter", "litert")
    try:
        made = module.Interpreter(model_path=str(path), num_threads=threads)
        made.allocate_tensors()
    except Exception as error:
        raise DataError(f"model {path} cannot be loaded by LiteRT: {described(error)}") from None
    (given, taken) = _int8_ends(path, made.get_input_details(), made.get_output_details())
    invoke = made.invoke

    def run(count: int) -> None:
        for _ in range(count):
            invoke()

    return Interpreter(
        tuple(map(int, given["shape"])),
        _quantization(given),
        _quantization(taken),
        lambda stored: made.set_tensor(given["index"], stored),
        run,
        lambda: np.asarray(made.get_tensor(taken["index"]), dtype=np.int8).ravel(),
    )


def _tflite_micro(path: Path) -> Interpreter:
    module = _imported("tflite_micro", "tflite-micro")
    try:
        made = module.runtime.Interpreter.from_file(str(path))
    except Exception as error:
        raise DataError(
            f"model {path} cannot be loaded by TensorFlow Lite Micro: {described(error)}"
        ) from None
    (given, taken) = _int8_ends(path, [made.get_input_details(0)], [made.get_output_details(0)])
    shape = tuple(map(int, given["shape"]))
    held = np.zeros(shape, dtype=np.int8)

    def feed(stored: NDArray[np.int8]) -> None:
        held[...] = stored

    def run(count: int) -> None:
        for _ in range(count):
            # Its planner gives the input's memory to later tensors: an inference uses the input up.
            made.set_input(held, 0)
            made.invoke()

    return Interpreter(
        shape,
        _quantization(given),
        _quantization(taken),
        feed,
        run,
        lambda: np.asarray(made.get_output(0), dtype=np.int8).ravel(),
    )


def _int8_ends(path: Path, inputs: list[Any], outputs: list[Any]) -> tuple[Any, Any]:
    """The one input and the one output, both int8."""
    for what, ends in (("input", inputs), ("output", outputs)):
        if len(ends) != 1 or np.dtype(ends[0]["dtype"]) != np.int8:
            types = ", ".join(str(np.dtype(end["dtype"])) for end in ends)
            raise DataError(
                f"model {path} has {what} {types}; boards need one of int8: quantise the model, its "
                f"inputs and outputs included"
            )
    return inputs[0], outputs[0]


def _quantization(details: Any) -> Quantization:
    parameters = details["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    if len(scales) == 0:
        return Quantization(1.0, 0)
    return Quantization(float(scales[0]), int(zero_points[0]))
