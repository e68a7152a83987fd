"""Semantic segmentation on phones: the class of each pixel in scenes of digits and shapes, 96x96 RGB.

A stand-in for ADE20K. The 256 scenes are composed of digits that no model has seen; nothing but the digits
ships. `tools/mobile_segmentation.py` trains the models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.scenes import CLASSES, SIDE, Scenes, compose_scenes
from gnomon.tasks.mobile.segmentation_score import best_classes, class_maps, mean_iou
from gnomon.tasks.mobile.shipped import MobileTask

SEED = 72
MEASURED = 256


class MobileSegmentation(MobileTask):
    """Say of each pixel which digit or shape it belongs to.

    An input is float32 (3, 96, 96) in 0 to 255; an answer is a map of classes, uint8 (96, 96): 0 for the
    background, else 1 more than the index into `scenes.CLASSES`.
    """

    name = "mobile-segmentation"
    metric = "mIoU"
    stem = "segmentation"

    @cached_property
    def _data(self) -> Scenes:
        return compose_scenes(MEASURED, SEED, held_out=True)

    def __len__(self) -> int:
        return MEASURED

    def source(self) -> DataSource:
        """Real digits in made-up scenes."""
        scenes = self._data
        digest = hashlib.sha256(scenes.images.tobytes() + scenes.label_maps.tobytes()).hexdigest()
        name = f"stand-in: {MEASURED} scenes composed of scikit-learn digits and shapes"
        return DataSource(name, official=False, sha256=digest)

    def stored_inputs(self, samples: IndexArray) -> NDArray[np.uint8]:
        """Scenes, uint8 (n, 3, 96, 96)."""
        return self._data.images[samples]

    def model_answers(self, outputs: Sequence[Any]) -> Outputs:
        """Maps of classes, uint8 (n, 96, 96), of a model that gives maps of any type or scores of classes."""
        given = np.asarray(outputs[0])
        return best_classes(given) if given.ndim == 4 else class_maps(given)

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean intersection over union of all fifteen classes.

        Raises:
            DataError: Not a map of 96x96 a sample.
        """
        maps = answers_of_shape(self.name, samples, outputs, (SIDE, SIDE), "maps of classes")
        return mean_iou(class_maps(maps), self._data.label_maps[samples], len(CLASSES))

    def distances(self, outputs: Outputs, expected: Outputs) -> NDArray[np.float64]:
        """Pixels of another class, as a share of those that are not of an image's commonest class."""
        found, wanted = class_maps(np.asarray(outputs)), class_maps(np.asarray(expected))
        others = (found != wanted).sum(axis=(1, 2))
        commonest = np.asarray([np.bincount(each.ravel()).max() for each in wanted])
        share: NDArray[np.float64] = others / np.maximum(SIDE * SIDE - commonest, 1)
        return share

    def encode(self, output: Any) -> bytes:
        """A map, one byte a pixel."""
        return class_maps(np.asarray(output)).tobytes()

    def decode(self, data: bytes) -> Any:
        """A map, uint8 (96, 96)."""
        return np.frombuffer(data, dtype=np.uint8).reshape(SIDE, SIDE)
