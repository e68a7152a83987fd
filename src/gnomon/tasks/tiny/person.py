"""Visual wake words, vww01 of MLPerf Tiny: does a picture show a person?

The data that ships is a stand-in, scenes and figures drawn by a script (`tools/tiny_person.py`); the folder
of pictures that the field's training makes of COCO 2014 and its binary files are read as well.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from gnomon.core.errors import DataError, described
from gnomon.core.extras import optional_module
from gnomon.tasks.tiny.images import (
    CHANNELS,
    Pictures,
    PictureTask,
    Pixels,
    binary_pictures,
)
from gnomon.tasks.tiny.sets import LABELS, LabelledFile, is_official, read_labels

SIDE = 96
FOLDERS = ("non_person", "person")
"""In the order of the labels."""


class Person(PictureTask):
    """Tell whether a picture of 96x96 pixels shows a person: label 1 if it does, 0 if not.

    Args:
        path: None for the stand-in; else one of

            - a folder of the field's binary files with their `y_labels.csv`; official if that is the field's;
            - a folder `vw_coco2014_96`: `person` and `non_person` with .jpg files (which needs Pillow). With
              the field's `y_labels.csv` in it the 1,000 pictures that it lists are taken, and official; else
              all are.
    """

    name = "tiny-person"
    model_id = "vww01"
    payload_size = SIDE * SIDE * CHANNELS
    classes = len(FOLDERS)
    side = SIDE

    def read(self, path: Path) -> Pictures:
        """The field's binary files, or pictures in a folder for each label."""
        if all((path / name).is_dir() for name in FOLDERS):
            return _photographs(path)
        if (path / LABELS).is_file():
            return binary_pictures(self, path)
        raise DataError(
            f"{path} holds no pictures with and without persons: it must be a folder with {LABELS} and its "
            f".bin files, or with the folders person and non_person (vw_coco2014_96)"
        )


def _photographs(folder: Path) -> Pictures:
    listed = folder / LABELS
    files = _listed(listed, folder) if listed.is_file() else _all(folder)
    paths = [
        folder / FOLDERS[file.label] / f"{PurePosixPath(file.name).stem}.jpg" for file in files
    ]
    return Pictures(
        f"visual wake words, {len(files)} pictures of {folder.name}",
        is_official("vww01", files),
        np.array([file.label for file in files], dtype=np.int64),
        tuple(file.name for file in files),
        lambda sample: read_jpeg(paths[sample]),
    )


def _listed(path: Path, folder: Path) -> tuple[LabelledFile, ...]:
    """The lines of the field's list, which has `000000343218.bin` for a picture `000000343218.jpg`."""
    files = read_labels(path, len(FOLDERS))
    for file in files:
        name = f"{PurePosixPath(file.name).stem}.jpg"
        if (folder / FOLDERS[file.label] / name).is_file():
            continue
        other = FOLDERS[1 - file.label]
        found = f"it is in {other}" if (folder / other / name).is_file() else "there is none"
        raise DataError(
            f"{path}, line {file.line}: {name} should be in {folder / FOLDERS[file.label]} and {found}: "
            f"pass the list of this data set, or remove it to take all pictures"
        )
    return files


def _all(folder: Path) -> tuple[LabelledFile, ...]:
    files = tuple(
        LabelledFile(path.name, label, line=0)
        for label, name in enumerate(FOLDERS)
        for path in sorted((folder / name).glob("*.jpg"))
    )
    if len({file.label for file in files}) < len(FOLDERS):
        raise DataError(
            f"{folder} has no .jpg files in one of person and non_person: copy it again"
        )
    return files


def read_jpeg(path: Path) -> Pixels:
    """A picture of 96x96 pixels, (96, 96, 3), as Pillow decodes it.

    Raises:
        DataError: It is no picture, or has another size.
        MissingExtraError: Pillow is not installed.
    """
    image = optional_module("PIL.Image", "pillow", "tiny", f"reading {path.name}")
    try:
        with image.open(path) as opened:
            pixels: Pixels = np.asarray(opened.convert("RGB"), dtype=np.uint8)
    except Exception as error:  # a decoder of many formats raises anything
        raise DataError(
            f"picture {path} cannot be read ({described(error)}): copy it again"
        ) from None
    if pixels.shape != (SIDE, SIDE, CHANNELS):
        raise DataError(
            f"picture {path} is {pixels.shape[1]}x{pixels.shape[0]} and the benchmark takes {SIDE}x{SIDE}: "
            f"scale the set first, as the field's training does"
        )
    return pixels
