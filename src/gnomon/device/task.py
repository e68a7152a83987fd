"""What the device protocol asks of a task: bytes for the wire, and answers from what comes back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError
from gnomon.core.task import Task

Results = NDArray[np.float64]
"""What a board printed for one inference (`m-results-[...]`), shape (outputs,)."""


class TinyTask(Task):
    """A task whose samples travel to a board as bytes.

    A sample (a file of the field's data sets) is one payload, or several windows of it, each inferred on its
    own: anomaly detection slides over a recording.

    Attributes:
        model_id: How boards name their model: `kws01`, `vww01`, `ic01`, `ad01`, `sww01`.
        payload_size: Bytes of one payload.
        payload_stride: Bytes of the sample's file from the start of one payload to that of the next.
    """

    model_id: str
    payload_size: int
    payload_stride: int = 0

    @abstractmethod
    def payloads(self, sample: int) -> Sequence[bytes]:
        """What `db load` sends for this sample, one entry an inference, each `payload_size` bytes."""

    @abstractmethod
    def answer(self, results: Sequence[Results]) -> Any:
        """The sample's output, as `score` takes it, from what the board printed for each payload."""

    @abstractmethod
    def file_name(self, sample: int) -> str:
        """The sample's file in the field's data set, or a name in that manner, for logs."""


def require_tiny(task: Task) -> TinyTask:
    """A task that can travel to a board.

    Raises:
        SettingsError: It cannot.
    """
    if isinstance(task, TinyTask):
        return task
    raise SettingsError(f"task {task.name!r} cannot be sent to a board: it is no TinyTask")
