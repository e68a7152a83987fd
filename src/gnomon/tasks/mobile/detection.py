"""Object detection: find and name the digits in scenes among plain shapes, as phones find things in photos.

Stand-in for COCO 2017: 256 composed scenes, scored with COCO's mean average precision.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.boxes import BOXES, CLASSES, COLUMNS, MOST_FOUND, decoded
from gnomon.tasks.mobile.scenes import Scenes, compose_scenes
from gnomon.tasks.mobile.shipped import MobileTask
from gnomon.tasks.training.detection_score import FoundBoxes, TrueBoxes, mean_average_precision

MEASURED = 256
SEED = 2017


class MobileDetection(MobileTask):
    """Find and name the digits in a scene; its shapes are to be passed over.

    An input is float32 (3, 96, 96) of 0 to 255. An answer is float32 (360, 15): of each default box its
    offsets, the logit of nothing and the logits of the ten digits, as `boxes` decodes them.
    """

    name = "mobile-detection"
    stem = "detection"
    metric = "mAP"

    @cached_property
    def scenes(self) -> Scenes:
        """All that are measured."""
        return compose_scenes(MEASURED, SEED, held_out=True)

    @cached_property
    def truth(self) -> TrueBoxes:
        """The digits in all scenes."""
        labels = self.scenes.labels
        image, place = np.nonzero((labels >= 0) & (labels < CLASSES))
        boxes = self.scenes.boxes[image, place].astype(np.float64)
        return TrueBoxes(image, labels[image, place], boxes, np.zeros(len(image), dtype=bool))

    def __len__(self) -> int:
        return MEASURED

    def source(self) -> DataSource:
        """Real digits in made-up scenes."""
        digest = hashlib.sha256(self.scenes.images.tobytes())
        digest.update(self.scenes.boxes.tobytes() + self.scenes.labels.tobytes())
        name = f"stand-in for COCO 2017: {MEASURED} scenes composed of scikit-learn digits"
        return DataSource(name, official=False, sha256=digest.hexdigest())

    def stored_inputs(self, samples: IndexArray) -> NDArray[np.uint8]:
        """Images, uint8 (n, 3, 96, 96)."""
        return self.scenes.images[samples]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean average precision over overlaps of .50 to .95, 0 to 1."""
        words = "offsets and class logits of default boxes"
        answers = answers_of_shape(self.name, samples, outputs, (BOXES, COLUMNS), words)
        found = decoded(answers)
        image, _ = np.nonzero(found.kept)
        boxes = FoundBoxes(
            image, found.labels[found.kept], found.boxes[found.kept], found.scores[found.kept]
        )
        truth = self.truth.of(np.asarray(samples))
        return mean_average_precision(truth, boxes, most_found=MOST_FOUND)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Offsets and logits, float32 (360, 15)."""
        return np.frombuffer(data, dtype=np.float32).reshape(-1, COLUMNS)
