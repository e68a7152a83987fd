"""Image classification on ImageNet (ILSVRC 2012): a folder of photographs and a text file of their classes.

After the field's app (github.com/mlcommons/mobile_app_open, `flutter/cpp/datasets/imagenet.cc`).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.brought import Layout
from gnomon.tasks.mobile.images_on_disk import PHOTOGRAPHS, Pixels, is_raw, middle, pixels
from gnomon.tasks.mobile.photographs import PhotographTask

NO_CLASS = -1
"""The answer of a model that gave NaN."""


class MobileImageNet(PhotographTask):
    """Name what a photograph shows, of a thousand.

    An input is float32 (3, 224, 224) of -1 to 1, the middle of a photograph; an answer is a score a class,
    after `offset` scores of classes that are none. Raw images (`.rgb8`) must have the model's size already.
    Standard is the model of rounds v0.7 to v3.1, MobileNetEdgeTPU.
    """

    name = "mobile-imagenet"
    metric = "top-1 accuracy"
    endings = PHOTOGRAPHS
    needs = (
        "the 50,000 validation images of ImageNet (ILSVRC 2012, https://image-net.org) in a folder "
        "img, and beside it imagenet_val_full.txt with the class of each, 0 to 999, a line an image "
        "in the order of names"
    )
    standard = Layout(
        inputs="img",
        truth="imagenet_val_full.txt",
        image_width=224,
        image_height=224,
        offset=1,
        mean=127.5,
        divisor=127.5,
    )
    official_count = 50_000
    official_name = "ImageNet (ILSVRC 2012) validation"

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of each photograph, shape (n,).

        Raises:
            DataError: The file holds something else, or of another number of photographs.
        """
        file = Path(self.layout.truth)
        try:
            labels = [int(word) for word in file.read_text(encoding="ascii").split()]
        except (OSError, ValueError) as error:
            raise DataError(f"{file} must hold a whole number a line: {error}") from None
        if len(labels) != len(self.files) or min(labels) < 0:
            raise DataError(
                f"{file} has {len(labels)} classes for the {len(self.files)} photographs in "
                f"{self.layout.inputs}: it must have one for each, of 0 or more"
            )
        return np.array(labels, dtype=np.int64)

    def source(self) -> DataSource:
        """Official if there are as many photographs as were published."""
        whole = len(self.labels) == self.official_count
        return self.source_of(self.names, [Path(self.layout.truth)], whole=whole)

    def shown(self, file: Path) -> Pixels:
        """The middle of a photograph; all of a raw one."""
        width, height = self.layout.image_width, self.layout.image_height
        image = pixels(file, width, height)
        return image if is_raw(file) else middle(image, width, height)

    def named(self, output: Any) -> int:
        """The class of the highest score, of equal ones the first; one whole number is the class itself.

        Raises:
            DataError: There are too few scores.
        """
        scores = np.asarray(output).ravel()
        if scores.size == 1 and scores.dtype.kind in "iu":
            return int(scores[0])
        counted = scores[self.layout.offset :]
        if counted.size <= self.labels.max():
            raise DataError(
                f"task {self.name!r} has class {self.labels.max()}, the model gave {scores.size} "
                f"scores of which the first {self.layout.offset} do not count: use a model for this "
                "task, or set offset in task.json"
            )
        return NO_CLASS if np.isnan(counted).any() else int(counted.argmax())

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of photographs of which the class was named."""
        named = np.array([self.named(output) for output in outputs], dtype=np.int64)
        return float(np.mean(named == self.labels[samples]))

    def encode(self, output: Any) -> bytes:
        """The class alone, as the app logs it: 1,001 scores of 50,000 photographs are 200 MB."""
        return np.array([self.named(output)], dtype=np.int32).tobytes()

    def decode(self, data: bytes) -> NDArray[np.int32]:
        """The class, int32 (1,)."""
        return np.frombuffer(data, dtype=np.int32)
