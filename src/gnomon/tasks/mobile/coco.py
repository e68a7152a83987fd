"""Object detection on COCO 2017: a folder of photographs, and their boxes in the app's format or COCO's.

After the field's app (github.com/mlcommons/mobile_app_open, `flutter/cpp/datasets/coco.cc`), whose file of
true boxes is an `ObjectDetectionGroundTruth` of TensorFlow Lite's evaluation stages, in text format. It does
not say which boxes stand for crowds: they count as any other there, and are ignored from COCO's own file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.brought import Layout
from gnomon.tasks.mobile.images_on_disk import PHOTOGRAPHS, Pixels, is_raw, pixels, resized
from gnomon.tasks.mobile.photographs import PhotographTask
from gnomon.tasks.mobile.text_proto import Field, MessageType, Scalar, read_text_proto
from gnomon.tasks.training.coco import read_annotations
from gnomon.tasks.training.detection_score import FoundBoxes, TrueBoxes, mean_average_precision

EDGES = ("normalized_top", "normalized_bottom", "normalized_left", "normalized_right")
BOX = MessageType("BoundingBox", {edge: Field(Scalar.FLOAT, default=0.0) for edge in EDGES})
OBJECT = MessageType(
    "Object",
    {
        "class_id": Field(Scalar.INT32, required=True),
        "bounding_box": Field(BOX, required=True),
        "score": Field(Scalar.FLOAT),
    },
)
IMAGE = MessageType(
    "ObjectDetectionResult",
    {
        "objects": Field(OBJECT, repeated=True),
        "image_name": Field(Scalar.STRING, required=True),
        "image_id": Field(Scalar.INT64),
    },
)
TRUTH = MessageType(
    "ObjectDetectionGroundTruth", {"detection_results": Field(IMAGE, repeated=True)}
)
COLUMNS = 6
"""Of an answer's row: class, score, top, left, bottom and right edge as shares of the photograph."""
NO_CLASS = -1
OUTPUTS = 4


class MobileCoco(PhotographTask):
    """Find and name the objects in a photograph.

    An input is float32 (3, 320, 320) of -1 to 1, the whole photograph made square. A model gives edges (top,
    left, bottom, right as shares), classes, scores and the number found; an answer is float32 (rows, 6), see
    `COLUMNS`, of class -1 beyond that number. Standard is the model of rounds v1.0 on, SSD-MobileDet, whose
    class 0 is COCO's 1.
    """

    name = "mobile-coco"
    metric = "mAP"
    endings = PHOTOGRAPHS
    needs = (
        "the 5,000 validation images of COCO 2017 (https://cocodataset.org) in a folder img, and "
        "beside it coco_val_full.pbtxt (https://github.com/mlcommons/mobile_models, v1_0/assets) or, "
        "named in task.json, COCO's instances_val2017.json"
    )
    standard = Layout(
        inputs="img",
        truth="coco_val_full.pbtxt",
        image_width=320,
        image_height=320,
        offset=1,
        mean=127.5,
        divisor=127.5,
    )
    official_count = 5_000
    official_name = "COCO 2017 validation"
    official_boxes = range(36_335, 36_782)
    """36,781 are published, 446 of them crowds; the app's file lacks some that reach beyond an image."""

    @cached_property
    def truth(self) -> TrueBoxes:
        """True boxes in shares of the photographs, of COCO's classes; an unnamed photograph has none.

        Raises:
            DataError: The file cannot be read, or names none of the photographs.
        """
        file = Path(self.layout.truth)
        if file.suffix == ".json":
            names, boxes = boxes_of_annotations(file)
        else:
            names, boxes = boxes_of_text(file)
        place = {f"{one.stem}.jpg": number for number, one in enumerate(self.files)}
        number = np.array([place.get(f"{Path(name).stem}.jpg", -1) for name in names] or [-1])
        if (number < 0).all():
            raise DataError(
                f"{file} names none of the photographs in {self.layout.inputs}: take both from one release"
            )
        image = number[boxes.image]
        here = image >= 0
        return TrueBoxes(image[here], boxes.label[here], boxes.box[here], boxes.crowd[here])

    def source(self) -> DataSource:
        """Official if there are as many photographs as were published, and boxes."""
        boxes = len(self.truth.image)
        whole = boxes in self.official_boxes and len(self) == self.official_count
        return self.source_of(self.names, [Path(self.layout.truth)], whole=whole)

    def shown(self, file: Path) -> Pixels:
        """The whole photograph, made square."""
        width, height = self.layout.image_width, self.layout.image_height
        image = pixels(file, width, height)
        return image if is_raw(file) else resized(image, width, height)

    def model_answers(self, outputs: Sequence[Any]) -> NDArray[np.float32]:
        """What was found, float32 (n, rows, 6), from edges, classes, scores and counts.

        Args:
            outputs: Shapes (n, rows, 4), (n, rows), (n, rows) and (n,).

        Raises:
            DataError: The outputs are not these four.
        """
        arrays = [np.asarray(output) for output in outputs]
        shapes = [array.shape for array in arrays]
        edges = shapes[0]
        if (
            len(arrays) != OUTPUTS
            or len(edges) != 3
            or edges[2] != 4
            or shapes[1:3] != [edges[:2]] * 2
        ):
            raise DataError(
                f"task {self.name!r} needs a model with outputs of edges (n, rows, 4), classes (n, "
                f"rows), scores (n, rows) and counts (n,), got {shapes}: use a model that ends in "
                "SSD's post-processing"
            )
        found = np.empty((*edges[:2], COLUMNS), dtype=np.float32)
        there = np.arange(edges[1]) < arrays[3].reshape(-1, 1)
        found[..., 0] = np.where(there, arrays[1] + self.layout.offset, NO_CLASS)
        found[..., 1] = arrays[2]
        found[..., 2:] = arrays[0]
        return found

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean average precision over these photographs, as COCO defines it; rows with NaN are left out.

        Raises:
            DataError: An answer is no rows of six numbers.
        """
        rows = [np.asarray(output, dtype=np.float64) for output in outputs]
        if any(one.size % COLUMNS for one in rows):
            raise DataError(
                f"task {self.name!r} is scored from rows of {COLUMNS} numbers, got an answer of shape "
                f"{next(one.shape for one in rows if one.size % COLUMNS)}"
            )
        tables = [one.reshape(-1, COLUMNS) for one in rows]
        image = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        whole = np.concatenate([np.empty((0, COLUMNS)), *tables])
        found = np.isfinite(whole).all(axis=1) & (whole[:, 0] >= 0)
        image, whole = image[found], whole[found]
        top, left, bottom, right = whole[:, 2:].T
        box = np.column_stack([left, top, right - left, bottom - top])
        # A box turned inside out covers nothing, rather than a negative area.
        box[:, 2:] = np.maximum(box[:, 2:], 0)
        boxes = FoundBoxes(image, whole[:, 0].astype(np.int64), box, whole[:, 1])
        return mean_average_precision(self.truth.of(np.asarray(samples)), boxes)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """What was found, float32 (rows, 6)."""
        return np.frombuffer(data, dtype=np.float32).reshape(-1, COLUMNS)


def boxes_of_text(file: Path) -> tuple[list[str], TrueBoxes]:
    """Names of photographs and their boxes, from the app's file of true boxes.

    Raises:
        DataError: A line of it means nothing, or it has no photographs.
    """
    images = read_text_proto(file, TRUTH)["detection_results"]
    if not images:
        raise DataError(f"{file} has no detection_results: download it again")
    rows = [
        (number, one["class_id"], *(one["bounding_box"][edge] for edge in EDGES))
        for number, image in enumerate(images)
        for one in image["objects"]
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, COLUMNS)
    image, label, top, bottom, left, right = table.T
    box = np.column_stack([left, top, right - left, bottom - top])
    truth = TrueBoxes(
        image.astype(np.int64), label.astype(np.int64), box, np.zeros(len(rows), dtype=bool)
    )
    return [image["image_name"] for image in images], truth


def boxes_of_annotations(file: Path) -> tuple[list[str], TrueBoxes]:
    """Names of photographs and their boxes, from a file of COCO's own.

    Raises:
        DataError: It cannot be read, or contradicts itself.
    """
    found = read_annotations(file)
    # There, classes are counted without gaps; models answer with COCO's own numbers.
    stored = json.loads(file.read_text(encoding="utf-8"))["categories"]
    numbers = np.array(sorted(category["id"] for category in stored), dtype=np.int64)
    truth = found.truth
    shares = truth.box / np.tile(found.sizes, 2)[truth.image]
    return found.files, TrueBoxes(truth.image, numbers[truth.label], shares, truth.crowd)
