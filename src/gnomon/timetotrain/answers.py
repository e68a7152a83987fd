"""The answers of a run's evaluations, kept so that every quality can be scored again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.files import write_atomically

ANSWERS_FILE = "answers.npz"
MOST_BYTES = 64 << 20
"""Of a run whose answers are larger, those of its last evaluations are kept."""


def kept_as_array(outputs: Any) -> NDArray[Any]:
    """A model's answers as an array, first axis = sample.

    Raises:
        SystemFault: They are no regular array of numbers.
    """
    if hasattr(outputs, "detach"):  # a tensor
        outputs = outputs.detach().cpu().numpy()
    try:
        array = np.asarray(outputs)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise SystemFault(
            f"the training loop answers with {type(outputs).__name__}s that are no array of numbers: answer "
            f"with one row a sample"
        )
    return array


def write_answers(folder: Path, answers: Mapping[int, NDArray[Any]]) -> None:
    """Write the answers of evaluations by their number, from 1; whole, or not at all if the process is ended.

    Raises:
        OSError: As the file system says it.
    """
    named: dict[str, Any] = {str(number): array for number, array in answers.items()}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **named)
    write_atomically(folder / ANSWERS_FILE, packed.getvalue())


def read_answers(folder: Path) -> dict[int, NDArray[Any]]:
    """The answers that are kept, by number of the evaluation.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / ANSWERS_FILE
    if not path.exists():
        return {}
    try:
        # Opened here: of a file that is no archive, np.load would leave it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {int(name): stored[name] for name in stored.files}
    except Exception as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}") from None


def fingerprint(answers: NDArray[Any]) -> str:
    """Of answers: their type, shape and bytes."""
    whole = np.ascontiguousarray(answers)
    head = f"{whole.dtype.str}{whole.shape}".encode()
    return hashlib.sha256(head + whole.tobytes()).hexdigest()
