"""What the mobile tasks that ship have in common: compact inputs, and one set of weights as many model files.

A browser is sent `stored_inputs` once; a system in this process asks for `inputs`. Both are the same numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import IndexArray, Task

DATA = Path(__file__).parents[2] / "data" / "mobile"
ENDINGS = {"onnx": ".onnx", "tflite": ".tflite", "ncnn": ".ncnn.param"}
"""Of a model's file name, by kind. An ncnn model is two files; the `.ncnn.bin` lies beside it."""


class MobileTask(Task):
    """A mobile task whose data and models ship with the package.

    Attributes:
        stem: How the names of its model files begin.
        browser_batch_size: Samples in one call of the Offline scenario.
    """

    stem: str
    browser_batch_size: int = 16

    @abstractmethod
    def stored_inputs(self, samples: IndexArray) -> NDArray[Any]:
        """Inputs as they travel: uint8 images (n, channels, rows, columns) or int32 tokens."""

    def inputs(self, samples: IndexArray) -> NDArray[Any]:
        """What a model takes: images as float32 of 0 to 255, tokens as int32."""
        stored = self.stored_inputs(samples)
        return stored.astype(np.float32) if stored.dtype == np.uint8 else stored

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The reference model: `onnx`, `tflite` or `ncnn`, with `-fp16` or `-int8` for another precision.

        Raises:
            DataError: None ships in this format.
        """
        kind, _, precision = format.partition("-")
        if kind in ENDINGS:
            name = f"{self.stem}-{precision}" if precision else self.stem
            file = DATA / f"{name}{ENDINGS[kind]}"
            if file.is_file():
                return file
        return super().model(format)
