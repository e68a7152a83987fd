"""Answers that came from a browser, held against their model once more: what is on record is not believed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gnomon.core.errors import GnomonError
from gnomon.core.protocol import measurement_folder
from gnomon.core.run import Run
from gnomon.core.task import Task
from gnomon.loadgen.accuracy_log import read_accuracy_log
from gnomon.loadgen.agreement import FARTHEST, agreement_on_record
from gnomon.loadgen.judge import ACCURACY, ACCURACY_LOG

MEASURED_ELSEWHERE = "session"
"""Entry of the record of a run that a page measured."""


def against_model(run: Run, task: Task) -> Iterator[str]:
    """Where the record of a run measured elsewhere says something else of its answers than the model.

    Raises:
        GnomonError: The model or the answers are not those that the record is about.
    """
    from gnomon.systems.held_against import held_against_model  # few runs need ONNX Runtime for it

    stored = run.record["measurements"].get(ACCURACY)
    if MEASURED_ELSEWHERE not in run.record or not stored or not stored["result"]:
        return
    said = agreement_on_record(stored)
    precision = run.record["system"]["description"].get("precision")
    if said is None or precision not in FARTHEST:
        yield f"{ACCURACY}: the answers were made elsewhere, and never held against a model"
        return
    entries = read_accuracy_log(measurement_folder(run, ACCURACY) / ACCURACY_LOG)
    samples = np.asarray([entry.sample_index for entry in entries], dtype=np.int64)
    found = held_against_model(
        task, precision, samples, [task.decode(entry.data) for entry in entries]
    )
    if found.model_sha256 != said.model_sha256:
        raise GnomonError(
            f"this run was measured with another {precision} model (sha256 {said.model_sha256[:12]}) than "
            f"task {task.name!r} has here ({found.model_sha256[:12]}): install the version it was made with, "
            f"gnomon {run.record['gnomon_version']}"
        )
    # How far off is a matter of the processor, too; which side of the limit, and of what, is not.
    if (said.apart, said.samples, said.limit) != (found.apart, found.samples, found.limit):
        yield (
            f"{ACCURACY}: the record says that {said.apart} of {said.samples} answers are off by more than "
            f"{said.limit:g}, the answers and the model say {found.apart} of {found.samples} by more than "
            f"{found.limit:g}"
        )
