"""Mobile tasks on data that a person brings: where its parts lie, and how the model at hand takes them.

A folder has the layout that the field's app prescribes. A `task.json` in it, or a JSON file in place of the
folder, says what is different: other places, another model's size, offset or normalisation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError

from gnomon.core.errors import DataError, UnknownNameError
from gnomon.core.files import sha256_of
from gnomon.core.spec import Declared, first_of
from gnomon.core.task import DataSource, Task

LAYOUT_FILE = "task.json"


class Layout(Declared):
    """Where inputs and truths lie, and what a model is given.

    Which of these mean something depends on the task: those that its `standard` sets.
    """

    inputs: str = Field(description="folder of images, or file of records")
    truth: str = Field(description="folder or file of what is right")
    image_width: int = Field(default=0, ge=0, description="of the model's input, in pixels")
    image_height: int = Field(default=0, ge=0, description="of the model's input, in pixels")
    offset: int = Field(default=0, ge=0, description="from a model's classes to the truth's")
    num_classes: int = Field(default=0, ge=0, le=255, description="that count, from 1")
    mean: float = Field(default=0.0, description="taken off each pixel of 0 to 255")
    divisor: float = Field(default=1.0, gt=0, description="of what is left")


class BroughtTask(Task):
    """A task of the field's app on its official data, or on any in the same format.

    Attributes:
        needs: What a person must bring, and where it is from.
        standard: The layout, unless a file says otherwise.
        official_count: Samples of the whole official set.
        official_name: Of that set.

    Args:
        path: A folder, or a JSON file of which places are relative to its folder.
    """

    needs: str
    standard: Layout
    official_count: int
    official_name: str

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @cached_property
    def layout(self) -> Layout:
        """Places, absolute or relative to the working directory, and the rest.

        Raises:
            DataError: There is no data, or its file says something that means nothing.
        """
        if self._path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data FOLDER")
        if not self._path.exists():
            raise DataError(f"there is no {self._path}: task {self.name!r} needs {self.needs}")
        folder = self._path if self._path.is_dir() else self._path.parent
        file = self._path / LAYOUT_FILE if self._path.is_dir() else self._path
        layout = read_layout(file, self.standard, self.name) if file.is_file() else self.standard
        for place in (layout.inputs, layout.truth):
            if not (folder / place).exists():
                raise DataError(
                    f"there is no {folder / place}: task {self.name!r} needs {self.needs}, or "
                    f"{LAYOUT_FILE} to say where it is"
                )
        places = {"inputs": str(folder / layout.inputs), "truth": str(folder / layout.truth)}
        return layout.model_copy(update=places)

    def source_of(self, names: Sequence[str], truths: Sequence[Path], *, whole: bool) -> DataSource:
        """The official set if it is whole, else so many samples in its format.

        Its fingerprint is of the inputs' names, the truths' content and how a model is given the inputs.
        """
        settings = self.layout.model_dump(exclude={"inputs", "truth"})
        stated = json.dumps([sorted(settings.items()), list(names)])
        fingerprint = sha256_of(*truths, before=stated.encode())
        name = self.official_name
        if not whole:
            name = f"{len(self)} samples in the format of {name}"
        return DataSource(name, official=whole, sha256=fingerprint)


def read_layout(file: Path, standard: Layout, task: str) -> Layout:
    """The standard layout with what the file says in its place.

    Raises:
        DataError: It is no JSON object, or has a key that the task has no use for, or a value of the wrong
        kind.
    """
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(stated, dict):
        raise DataError(f"{file} must hold one JSON object, such as {{'image_width': 224}}")
    known = standard.model_fields_set
    for key in stated:
        if key not in known:
            unknown = UnknownNameError(f"key in {file}, for task {task!r}:", key, known)
            raise DataError(str(unknown))
    try:
        return Layout.model_validate(standard.model_dump(include=known) | stated, strict=True)
    except ValidationError as error:
        raise DataError(f"{file}: {first_of(error)}") from None
