"""The data files that ship, read with errors that name the file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError


def read_arrays(path: Path, shapes: Mapping[str, tuple[int | str, ...]]) -> list[NDArray[Any]]:
    """The arrays of a shipped data file, in the order of `shapes`.

    Args:
        path: An `.npz` file.
        shapes: The shape that each must have; a word stands for any length but 0, the same wherever it is.

    Raises:
        DataError: The file is missing, or is not what it should be.
    """
    mend = "reinstall gnomon, or make it with the script in tools/"
    try:
        # Opened here: NumPy leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = [stored[name] for name in shapes]
    except FileNotFoundError:
        raise DataError(f"data set {path} is missing: {mend}") from None
    except KeyError as error:
        raise DataError(f"data set {path} has no array {error}: {mend}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise DataError(f"data set {path} cannot be read or was cut short: {mend}") from None
    lengths: dict[int | str, int] = {}
    for array, (name, shape) in zip(arrays, shapes.items(), strict=True):
        expected = [
            lengths.setdefault(axis, length or -1) if isinstance(axis, str) else axis
            for axis, length in zip(shape, array.shape, strict=False)
        ]
        if expected != list(array.shape) or len(shape) != array.ndim:
            raise DataError(f"data set {path} holds {name} of shape {array.shape}: {mend}")
    return arrays
