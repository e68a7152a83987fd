"""Training on COCO 2017 (Lin et al. 2014) in its own format: JSON annotations and folders of photographs.

The paper's light-weight detection benchmark, full size: SSD with ResNet-34 at 300x300.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray
from gnomon.tasks.training.detection import ObjectDetection
from gnomon.tasks.training.detection_score import COCO_THRESHOLDS, TrueBoxes
from gnomon.tasks.training.jpeg_images import opened
from gnomon.tasks.training.ssd_samples import normalised, resized
from gnomon.timetotrain.task import Learner, Recipe

HELD_OUT, TRAINED_ON = "val2017", "train2017"
OFFICIAL = (117_266, 5_000, 860_001, 36_781)
"""Images with boxes to train on, images held out, boxes of each."""


@dataclass(frozen=True)
class Annotations:
    """One JSON file of COCO.

    Attributes:
        files: Names of the images, by growing number.
        sizes: Width and height of each, int64 (n, 2).
        truth: Their boxes, by image.
        names: Of the classes, by growing number.
    """

    files: list[str]
    sizes: NDArray[np.int64]
    truth: TrueBoxes
    names: list[str]

    def boxes_of(self, image: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The boxes of one image, (k, 4) as left, upper edge, width and height, and their classes (k,)."""
        here = slice(*np.searchsorted(self.truth.image, [image, image + 1]))
        return self.truth.box[here], self.truth.label[here]


class TrainingCoco(ObjectDetection):
    """Find and name the objects in a photograph. An input is float32 (3, 300, 300), normalised by channel.

    Official by its counts of images and boxes. As in the field's reference, images without any box are not
    trained on.

    Args:
        path: The folder with `annotations`, `train2017`, `val2017` and the backbone's weights.
    """

    name = "training-coco"
    metric = "mAP"
    most_found = 200
    thresholds = COCO_THRESHOLDS
    needs = (
        "COCO 2017 from https://cocodataset.org: annotations/instances_train2017.json and "
        "instances_val2017.json, train2017, val2017; and resnet34-333f7ec4.pth from "
        "https://download.pytorch.org/models beside them"
    )

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def place(self) -> Path:
        """Where the data is.

        Raises:
            DataError: No place was given.
        """
        if self._path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data FOLDER")
        return self._path

    def _annotation_file(self, part: str) -> Path:
        return self.place / "annotations" / f"instances_{part}.json"

    @cached_property
    def held_out_annotations(self) -> Annotations:
        """Of all held-out images."""
        return read_annotations(self._annotation_file(HELD_OUT))

    @cached_property
    def trained_on_annotations(self) -> Annotations:
        """Of the images that are trained on.

        Raises:
            DataError: As `read_annotations`; or the classes are others than those held out.
        """
        found = read_annotations(self._annotation_file(TRAINED_ON))
        if found.names != self.held_out_annotations.names:
            raise DataError(
                f"{self._annotation_file(TRAINED_ON)} has other categories than "
                f"{self._annotation_file(HELD_OUT).name}: take both from one release"
            )
        return with_boxes(found)

    @property
    def held_out_truth(self) -> TrueBoxes:
        """The true boxes of all held-out images, in pixels of the original."""
        return self.held_out_annotations.truth

    @property
    def classes(self) -> int:
        """How many are told apart: 80."""
        return len(self.held_out_annotations.names)

    def __len__(self) -> int:
        return len(self.held_out_annotations.files)

    @property
    def training_size(self) -> int:  # type: ignore[override]
        """Images of an epoch: 117,266."""
        return len(self.trained_on_annotations.files)

    def source(self) -> DataSource:
        """A fingerprint of the annotations, official if there are as many as were published."""
        trained, held_out = self.trained_on_annotations, self.held_out_annotations
        counts = (
            len(trained.files),
            len(held_out.files),
            len(trained.truth.image),
            len(held_out.truth.image),
        )
        digest = hashlib.sha256()
        for part in (HELD_OUT, TRAINED_ON):
            with self._annotation_file(part).open("rb") as opened_file:
                digest.update(hashlib.file_digest(opened_file, "sha256").digest())
        name = "COCO 2017" if counts == OFFICIAL else f"images in COCO's format in {self.place}"
        return DataSource(name, official=counts == OFFICIAL, sha256=digest.hexdigest())

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Photographs made square, float32 (n, 3, 300, 300)."""
        images = np.stack([resized(self.photograph(int(sample))) for sample in samples])
        return normalised(images)

    def photograph(self, sample: int) -> Any:
        """A sample's picture, as Pillow has it."""
        if sample < len(self):
            return opened(self.place / HELD_OUT / self.held_out_annotations.files[sample])
        file = self.trained_on_annotations.files[sample - len(self)]
        return opened(self.place / TRAINED_ON / file)

    def learner(self, recipe: Recipe) -> Learner:
        """SSD with ResNet-34, as in the field's reference implementation.

        It has batch normalisation over each process's share, as the official one: two processes do not
        compute quite what one does.
        """
        from gnomon.tasks.training.ssd_learner import SsdLearner

        return SsdLearner(self, recipe)


def read_annotations(file: Path) -> Annotations:
    """What a file of COCO's says of its images.

    Raises:
        DataError: It is missing, is no such file, or contradicts itself.
    """
    try:
        with file.open("rb") as stream:
            stored = json.load(stream)
    except FileNotFoundError:
        raise DataError(f"there is no {file}: it must be {TrainingCoco.needs}") from None
    except (OSError, ValueError):
        raise DataError(
            f"{file} cannot be read as JSON or was cut short: download it again"
        ) from None
    try:
        images = sorted(stored["images"], key=lambda image: image["id"])
        categories = sorted(stored["categories"], key=lambda category: category["id"])
        rows = stored["annotations"]
        files = [str(image["file_name"]) for image in images]
        sizes = np.array([(image["width"], image["height"]) for image in images], dtype=np.int64)
        image_ids = np.array([image["id"] for image in images], dtype=np.int64)
        class_ids = np.array([category["id"] for category in categories], dtype=np.int64)
        image = np.array([row["image_id"] for row in rows], dtype=np.int64)
        label = np.array([row["category_id"] for row in rows], dtype=np.int64)
        box = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
        crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=bool)
        names = [str(category["name"]) for category in categories]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{file} is no COCO annotation file ({error!r}): it must have images, categories and annotations "
            f"with bbox"
        ) from None
    for what, used, known in (("image", image, image_ids), ("category", label, class_ids)):
        strange = ~np.isin(used, known)
        if strange.any():
            raise DataError(
                f"{file} has an annotation of {what} {used[strange][0]}, which it does not list: download it "
                f"again"
            )
    if not files:
        raise DataError(f"{file} lists no images: download it again")
    order = np.argsort(image, kind="stable")
    truth = TrueBoxes(
        np.searchsorted(image_ids, image[order]),
        np.searchsorted(class_ids, label[order]),
        box[order],
        crowd[order],
    )
    return Annotations(files, sizes.reshape(-1, 2), truth, names)


def with_boxes(annotations: Annotations) -> Annotations:
    """Without the images that have no box; boxes of no width or height are left out first."""
    truth = annotations.truth
    solid = (truth.box[:, 2:] > 0).all(axis=1)
    truth = TrueBoxes(truth.image[solid], truth.label[solid], truth.box[solid], truth.crowd[solid])
    kept = np.unique(truth.image)
    return Annotations(
        [annotations.files[image] for image in kept],
        annotations.sizes[kept],
        truth.of(kept),
        annotations.names,
    )
