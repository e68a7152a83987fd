"""Semantic segmentation on ADE20K: a folder of photographs and a folder of their maps of classes.

After the field's app (github.com/mlcommons/mobile_app_open, `flutter/cpp/datasets/ade20k.cc` and README.md
there, which says how the photographs and maps are made square beforehand).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.brought import Layout
from gnomon.tasks.mobile.images_on_disk import (
    PICTURES,
    Pixels,
    label_map,
    list_files,
    pixels_of_size,
    require_size,
)
from gnomon.tasks.mobile.photographs import PhotographTask
from gnomon.tasks.mobile.segmentation_score import best_classes, class_maps, mean_iou

MAPS = (".png",)


class MobileAde20k(PhotographTask):
    """Say of each pixel of a photograph what it shows, of 31 classes; 0 is what is none of them.

    An input is float32 (3, 512, 512) of -1 to 1; an answer is a map of classes, uint8 (512, 512). A model may
    give maps of any type, or scores of the classes. Nothing is resized: files must have the model's size.
    Standard is the model of rounds v2.0 on, MOSAIC.
    """

    name = "mobile-ade20k"
    metric = "mIoU"
    endings = PICTURES
    needs = (
        "the 2,000 validation images of ADE20K (ADEChallengeData2016, "
        "https://groups.csail.mit.edu/vision/datasets/ADE20K) of 512x512 pixels in a folder images, "
        "and their maps of 32 classes as grey PNG files of the same names in a folder annotations "
        "(made as in https://github.com/mlcommons/mobile_app_open, flutter/cpp/datasets/README.md)"
    )
    standard = Layout(
        inputs="images",
        truth="annotations",
        image_width=512,
        image_height=512,
        num_classes=31,
        mean=127.5,
        divisor=127.5,
    )
    official_count = 2_000
    official_name = "ADE20K validation"

    @cached_property
    def maps(self) -> list[Path]:
        """Of the maps of classes, in the order of the photographs.

        Raises:
            DataError: They are not those of the photographs.
        """
        maps = list_files(Path(self.layout.truth), MAPS)
        unlike = {file.stem for file in self.files} ^ {file.stem for file in maps}
        if unlike:
            raise DataError(
                f"{self.layout.inputs} and {self.layout.truth} must have files of the same names, only "
                f"one has {min(unlike)}"
            )
        return maps

    @property
    def shape(self) -> tuple[int, int]:
        """Of a photograph and a map: rows, columns."""
        return self.layout.image_height, self.layout.image_width

    def source(self) -> DataSource:
        """Official if there are as many photographs as were published, of the published number of classes."""
        classes = self.layout.num_classes == self.standard.num_classes
        whole = len(self) == self.official_count and classes
        return self.source_of(self.names, self.maps, whole=whole)

    def shown(self, file: Path) -> Pixels:
        """A photograph as it is."""
        return pixels_of_size(file, self.layout.image_width, self.layout.image_height)

    def model_answers(self, outputs: Sequence[Any]) -> NDArray[np.uint8]:
        """Maps, uint8 (n, rows, columns), of maps of any type or of scores (n, classes, rows, columns)."""
        given = np.asarray(outputs[0])
        if given.ndim == 4 and 1 not in (given.shape[1], given.shape[-1]):
            return best_classes(given)
        return class_maps(given).reshape(len(given), *self._answered_shape(given.shape[1:]))

    def _answered_shape(self, found: tuple[int, ...]) -> tuple[int, int]:
        if np.prod(found) != np.prod(self.shape):
            raise DataError(
                f"task {self.name!r} is scored from maps of {self.shape[0]}x{self.shape[1]} classes, "
                f"the model gave shape {found}: use a model for this task, or set image_width and "
                "image_height in task.json"
            )
        return self.shape

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean intersection over union of all classes, present or not.

        Raises:
            DataError: An answer or a map of classes is of another size.
        """
        answers = (class_maps(np.asarray(output)) for output in outputs)
        shaped = (answer.reshape(self._answered_shape(answer.shape)) for answer in answers)
        truths = (self._true(self.maps[sample]) for sample in samples)
        return mean_iou(shaped, truths, self.layout.num_classes)

    def _true(self, file: Path) -> NDArray[np.uint8]:
        labels = label_map(file)
        require_size(file, labels, self.layout.image_width, self.layout.image_height)
        return labels

    def encode(self, output: Any) -> bytes:
        """A map, one byte a pixel."""
        return class_maps(np.asarray(output)).tobytes()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """A map, uint8 (rows, columns)."""
        return np.frombuffer(data, dtype=np.uint8).reshape(self.shape)
