"""ncnn: a .param file with its .bin beside it, one sample a call, on the CPU or through Vulkan."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.extras import optional_module
from gnomon.core.registry import TASKS
from gnomon.core.task import Task
from gnomon.systems.fixed_batch import Calls, FixedBatchSystem
from gnomon.systems.model_file import native_messages
from gnomon.systems.tensors import Tensor

HALF_PRECISION = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")
"""ncnn's options that fp16 turns on, and fp32 off; their defaults are on."""


class NcnnSystem(FixedBatchSystem):
    """A model in ncnn, in this process."""

    name = "ncnn"
    framework = "ncnn"
    format = "ncnn"
    chosen_while_running = ("fp32", "fp16")

    def __init__(
        self,
        *,
        model: Path | str | None = None,
        threads: int = 1,
        precision: str | None = None,
        vulkan: bool = False,
    ) -> None:
        """Describe the network; it is made when the task is known.

        Args:
            model: A .param file with its .bin beside it; default: the task's reference model.
            threads: Threads within one call.
            precision: `fp32` (default); `fp16`, which lets ncnn store and compute in it where the
                processor can; or `int8`, which is the task's int8 model.
            vulkan: Run on the first GPU that Vulkan finds.

        Raises:
            SettingsError: A value is out of range, or there is no GPU.
            MissingExtraError: ncnn is not installed.
        """
        super().__init__(model=model, threads=threads, precision=precision, batch_size=1)
        self._ncnn: Any = optional_module("ncnn", "ncnn", "ncnn", "the system 'ncnn'")
        self._vulkan = bool(vulkan)
        if self._vulkan:
            with native_messages():
                found = self._ncnn.get_gpu_count()
            if not found:
                raise SettingsError("ncnn finds no GPU through Vulkan here: leave out vulkan")

    @property
    def version(self) -> str:
        """Of the package."""
        return version("ncnn")

    @property
    def accelerator(self) -> str:
        """The CPU, or the GPU's name."""
        if not self._vulkan:
            return "CPU"
        return str(self._ncnn.get_gpu_info(self._ncnn.get_default_gpu_index()).device_name())

    def describe(self) -> dict[str, Any]:
        """What all systems of model files say, and the options that fp16 stands for."""
        on = self.precision == "fp16"
        return super().describe() | dict.fromkeys(HALF_PRECISION, on)

    def model_file(self, task: Task) -> Path:
        """The .param file that is measured on this task.

        Raises:
            DataError: There is none; the message names the tasks that have one.
        """
        try:
            return super().model_file(task)
        except DataError:
            if self._given is not None:
                raise
        having = [
            name for name in TASKS.names() if name.startswith("mobile-") and self._ships(name)
        ]
        known = (
            f"{', '.join(having)} {'do' if len(having) > 1 else 'does'}" if having else "none does"
        )
        raise DataError(
            f"task {task.name!r} ships no {self._format()} model ({known}): pass one with --model FILE.param"
        )

    def _ships(self, task: str) -> bool:
        try:
            TASKS.load(task)().model(self._format())
        except Exception:  # no model, or a task whose data a person brings
            return False
        return True

    def _format(self) -> str:
        return "ncnn-int8" if self.precision == "int8" else "ncnn"

    def _files(self, path: Path) -> Sequence[Path]:
        return (path, path.with_suffix(".bin"))

    def _calls(self, path: Path, samples: int) -> Calls:
        network = self._ncnn.Net()
        network.opt.num_threads = self._threads
        network.opt.use_vulkan_compute = self._vulkan
        for option in HALF_PRECISION:
            setattr(network.opt, option, self.precision == "fp16")
        param, weights = self._files(path)
        with native_messages() as told:
            if network.load_param(str(param)) or network.load_model(str(weights)):
                raise DataError(
                    f"model {param} with {weights.name} is not a model that ncnn {self.version} can "
                    f"load: {told()[:160]}"
                )
        names, fetches = network.input_names(), network.output_names()
        made, open_extractor = self._ncnn.Mat, network.create_extractor

        def prepared(batches: list[NDArray[Any]]) -> list[Any]:
            return [made(batch[0]).clone() for batch in batches]

        def call(matrices: list[Any]) -> list[NDArray[Any]]:
            with open_extractor() as extractor:
                for name, matrix in zip(names, matrices, strict=True):
                    extractor.input(name, matrix)
                found = []
                for name in fetches:
                    failed, matrix = extractor.extract(name)
                    if failed:
                        raise DataError(f"ncnn could not compute {name}: error {failed}")
                    found.append(np.array(matrix)[None])
                return found

        shapes = _input_shapes(param)
        inputs = tuple(Tensor(str(name), shapes.get(name), None) for name in names)
        outputs = tuple(Tensor(str(name), None, None) for name in fetches)
        return Calls(inputs, outputs, prepared, call)

    def _in_single_precision(self, path: Path) -> Calls:
        return NcnnSystem(model=path, threads=self._threads)._calls(path, 1)


def _input_shapes(param: Path) -> dict[str, tuple[int, ...]]:
    """By input, its shape where the .param file tells it: width, height and channels are numbered 0, 1, 2."""
    shapes = {}
    for line in param.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, *words = line.split() or [""]
        if kind == "Input" and len(words) > 4:
            told = dict(word.split("=", 1) for word in words[4:] if "=" in word)
            shapes[words[3]] = tuple(int(told[key]) for key in ("2", "1", "0") if key in told)
    return shapes
