"""Super-resolution on the field's 25 photographs: a folder of small ones and one of the same in full size.

After the field's app (github.com/mlcommons/mobile_app_open, `flutter/cpp/datasets/snu_sr.cc`).
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.brought import Layout
from gnomon.tasks.mobile.image_quality import PEAK, psnr
from gnomon.tasks.mobile.images_on_disk import (
    PICTURES,
    Pixels,
    is_raw,
    list_files,
    pixels,
    pixels_of_size,
)
from gnomon.tasks.mobile.photographs import PhotographTask


class MobileSnuSr(PhotographTask):
    """Make a photograph larger, as close to the true one as can be.

    An input is float32 (3, 540, 960) of 0 to 255; an answer is an image (3, 1080, 1920) of 0 to 255, of any
    whole multiple of the input's size. Standard is the model of rounds v3.0 on, EDSR.
    """

    name = "mobile-snusr"
    metric = "PSNR"
    endings = PICTURES
    unit = "dB"
    needs = (
        "the 25 photographs of the app's super-resolution set, 960x540 pixels in a folder lr and "
        "1920x1080 in a folder hr, as PNG or .rgb8 files in the same order of names "
        "(https://github.com/mlcommons/mobile_models, v3_0 and v3_1/datasets)"
    )
    standard = Layout(
        inputs="lr", truth="hr", image_width=960, image_height=540, mean=0.0, divisor=1.0
    )
    official_count = 25
    official_name = "SNU super-resolution set"

    @cached_property
    def large(self) -> list[Path]:
        """Of the large ones, in the same order.

        Raises:
            DataError: There are not as many.
        """
        large = list_files(Path(self.layout.truth), PICTURES)
        if len(large) != len(self.files):
            raise DataError(
                f"{self.layout.truth} has {len(large)} photographs, {self.layout.inputs} "
                f"{len(self.files)}: both must have the same"
            )
        return large

    @cached_property
    def times(self) -> int:
        """How many times as wide and high an answer is as an input, from the first photograph.

        Raises:
            DataError: No whole number.
        """
        width, height = self.layout.image_width, self.layout.image_height
        first = self.large[0]
        if is_raw(first):  # it says how many pixels it has, not how many in a row
            return max(round(math.sqrt(first.stat().st_size / (3 * width * height))), 1)
        rows, columns, _ = pixels(first).shape
        if columns % width or rows != columns // width * height:
            raise DataError(
                f"{first} has {columns}x{rows} pixels, no whole multiple of {width}x{height}: set "
                "image_width and image_height in task.json to the size of the small photographs"
            )
        return int(columns // width)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an answer: channels, rows, columns."""
        return 3, self.times * self.layout.image_height, self.times * self.layout.image_width

    def source(self) -> DataSource:
        """Official if there are as many photographs as were published."""
        return self.source_of(self.names, self.large, whole=len(self) == self.official_count)

    def shown(self, file: Path) -> Pixels:
        """A small photograph as it is."""
        return pixels_of_size(file, self.layout.image_width, self.layout.image_height)

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean peak signal-to-noise ratio of the photographs, in decibels.

        Raises:
            DataError: An answer is of another size.
        """
        _, rows, columns = self.shape
        ratios = []
        for sample, output in zip(samples, outputs, strict=True):
            answer = grey_values(np.asarray(output))
            if answer.size != np.prod(self.shape):
                raise DataError(
                    f"task {self.name!r} is scored from images of shape {self.shape}, got an output of shape "
                    f"{answer.shape}: use a model for this task"
                )
            true = pixels_of_size(self.large[sample], columns, rows).astype(np.uint8)
            ratios.append(psnr(answer.reshape(self.shape), true.transpose(2, 0, 1)))
        return float(np.mean(ratios))

    def encode(self, output: Any) -> bytes:
        """An image, one byte a value, which is what is scored."""
        return grey_values(np.asarray(output)).tobytes()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """An image, uint8 (3, rows, columns)."""
        return np.frombuffer(data, dtype=np.uint8).reshape(self.shape)


def grey_values(output: NDArray[Any]) -> NDArray[np.uint8]:
    """A model's values as bytes: fractions are cut off, as the app does; what is no number is black.

    Values beyond 0 to 255 are clipped. The app lets them wrap around, which makes a pixel that is too white
    black.
    """
    if output.dtype == np.uint8:
        return output
    whole: NDArray[np.uint8] = np.clip(np.nan_to_num(output), 0, PEAK).astype(np.uint8)
    return whole
