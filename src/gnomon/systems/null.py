"""The null system: answers nothing, at once. It measures the load generator itself."""

from __future__ import annotations

import numpy as np

from gnomon.core.errors import SettingsError
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.loadgen.system import SynchronousSystem


class NullSystem(SynchronousSystem):
    """Hands the indices back as its answers."""

    name = "null"

    def __init__(self, max_batch_size: int = 1 << 16) -> None:
        if not isinstance(max_batch_size, int) or max_batch_size < 1:
            raise SettingsError(
                f"max_batch_size must be a whole number of at least 1, got {max_batch_size!r}"
            )
        self.max_batch_size = max_batch_size

    def load(self, task: Task, samples: IndexArray) -> None:
        """Nothing to load."""

    def predict(self, samples: IndexArray) -> Outputs:
        """The indices themselves."""
        return np.asarray(samples)
