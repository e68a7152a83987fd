"""A training loop of one's own, from a Python file: `--system own-loop -s file=train.py`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.core.files import sha256_of
from gnomon.timetotrain.session import TrainingSession
from gnomon.timetotrain.system import TrainingSystem


class OwnLoop(TrainingSystem):
    """The function of a Python file that takes a session (`gnomon.timetotrain.session`).

    Args:
        file: The Python file.
        function: Its name in there.
    """

    name = "own-loop"

    def __init__(self, file: str, function: str = "train") -> None:
        path = Path(file).absolute()
        if not path.is_file():
            raise DataError(f"there is no file {path}: -s file=PATH names the training loop")
        self._path, self._function = path, str(function)

    def describe(self) -> dict[str, Any]:
        """Which file, and its fingerprint: it is what was measured."""
        return {
            "file": self._path.name,
            "function": self._function,
            "sha256": sha256_of(self._path),
        }

    def train(self, run: TrainingSession) -> None:
        """Run the file, then its function.

        Raises:
            SettingsError: It has no such function, or cannot be run.
        """
        sys.path.insert(0, str(self._path.parent))  # as when it is run as a script
        try:
            found = runpy.run_path(str(self._path)).get(self._function)
        except Exception as error:
            raise SettingsError(f"{self._path.name} cannot be run: {described(error)}") from error
        if not callable(found):
            raise SettingsError(
                f"{self._path.name} has no function {self._function!r}: define "
                f"`def {self._function}(run):`, or name it with -s function=NAME"
            )
        found(run)
