"""Super-resolution on phones: from 48x48 to 96x96 RGB, measured against the scene that was made smaller.

A stand-in for the 25 images of the field's set. The 100 scenes are composed of digits that no model has seen;
nothing but the digits ships. `tools/mobile_super_resolution.py` trains the models.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.image_quality import eight_bit, psnr
from gnomon.tasks.mobile.scenes import SIDE, compose_scenes
from gnomon.tasks.mobile.shipped import MobileTask

SEED = 73
MEASURED = 100
SHAPE = (3, SIDE, SIDE)


class MobileSuperResolution(MobileTask):
    """Make an image twice as large, as close to the true one as can be.

    An input is float32 (3, 48, 48) in 0 to 255; an answer is an image (3, 96, 96) of 0 to 255.
    """

    name = "mobile-super-resolution"
    metric = "PSNR"
    unit = "dB"
    stem = "super-resolution"
    browser_batch_size = 1

    @cached_property
    def _true(self) -> NDArray[np.uint8]:
        return compose_scenes(MEASURED, SEED, held_out=True).images

    def __len__(self) -> int:
        return MEASURED

    def source(self) -> DataSource:
        """Real digits in made-up scenes."""
        digest = hashlib.sha256(self._true.tobytes()).hexdigest()
        name = f"stand-in: {MEASURED} scenes composed of scikit-learn digits, made smaller"
        return DataSource(name, official=False, sha256=digest)

    def stored_inputs(self, samples: IndexArray) -> NDArray[np.uint8]:
        """Scenes of half the size, uint8 (n, 3, 48, 48)."""
        return halved(self._true[samples])

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean peak signal-to-noise ratio of the images, in decibels; what is no number counts as black.

        Raises:
            DataError: Not an image of 3x96x96 a sample.
        """
        answers = answers_of_shape(self.name, samples, outputs, SHAPE, "images")
        pairs = zip(answers, self._true[samples], strict=True)
        return float(np.mean([psnr(answer, truth) for answer, truth in pairs]))

    def encode(self, output: Any) -> bytes:
        """An image, one byte a value, which is what is scored."""
        return eight_bit(np.asarray(output)).tobytes()

    def decode(self, data: bytes) -> Any:
        """An image, uint8 (3, 96, 96)."""
        return np.frombuffer(data, dtype=np.uint8).reshape(SHAPE)


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (..., rows, columns) of half the size: the mean of each two by two values, rounded."""
    wide = images.astype(np.uint16)
    total = (
        wide[..., ::2, ::2] + wide[..., 1::2, ::2] + wide[..., ::2, 1::2] + wide[..., 1::2, 1::2]
    )
    smaller: NDArray[np.uint8] = ((total + 2) // 4).astype(np.uint8)
    return smaller
