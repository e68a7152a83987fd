"""Mobile tasks on photographs that a person brings: listed by name, given to a model one like the other."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import IndexArray
from gnomon.tasks.mobile.brought import BroughtTask
from gnomon.tasks.mobile.images_on_disk import Pixels, list_files, normalised


class PhotographTask(BroughtTask):
    """A task whose samples are the files of a folder, in the order of their names.

    Attributes:
        endings: Of these files.
    """

    endings: tuple[str, ...]

    @cached_property
    def files(self) -> list[Path]:
        """Of the photographs, by name.

        Raises:
            DataError: There are none.
        """
        return list_files(Path(self.layout.inputs), self.endings)

    @property
    def names(self) -> list[str]:
        """Of these files."""
        return [file.name for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Photographs as a model takes them, float32 (n, 3, image_height, image_width), normalised."""
        shown = [self.shown(self.files[sample]) for sample in samples]
        return normalised(shown, self.layout.mean, self.layout.divisor)

    @abstractmethod
    def shown(self, file: Path) -> Pixels:
        """What a model sees of a photograph, (image_height, image_width, 3) of 0 to 255.

        Raises:
            DataError: It cannot be read, or has another size than it must.
        """
