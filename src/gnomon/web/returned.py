"""What a page sent of a test, as the load protocol takes it: times, faults, answers held against a model."""

from __future__ import annotations

import numpy as np

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.core.task import IndexArray, Outputs
from gnomon.loadgen.agreement import Agreement
from gnomon.loadgen.remote import Returned, scheduled_samples
from gnomon.loadgen.session import Fault, all_finite
from gnomon.loadgen.settings import Mode, Settings
from gnomon.systems.held_against import held_against_model
from gnomon.web.catalogue import Offered
from gnomon.web.upload import Upload

NOT_FINITE = (
    "the model gave NaN or infinity: the device computes wrongly with this provider, try another"
)


def returned_of(offered: Offered, settings: Settings, upload: Upload, precision: str) -> Returned:
    """A test of this benchmark from the bytes of a page.

    Args:
        offered: The benchmark.
        settings: Of the test.
        upload: What was sent.
        precision: Of the model that the page says it ran.

    Raises:
        SettingsError: It is another kind of test, or has another number of rows.
        DataError: The task cannot make answers of the outputs, or score them.
    """
    if upload.kind != settings.mode.value:
        raise SettingsError(
            f"test {upload.test!r} is one of {settings.mode.value}, and {upload.kind} was sent"
        )
    answers = agreement = None
    faults = list(upload.faults)
    if settings.mode is Mode.ACCURACY:
        rows = len(upload.issued_ns)
        samples = scheduled_samples(settings, rows).astype(np.int64)
        if not len(samples) == rows == settings.total_sample_count:
            raise SettingsError(
                f"test {upload.test!r} asks for {settings.total_sample_count} samples, {rows} came back: "
                f"measure it again"
            )
        answers, agreement = _answers(offered, samples, upload, precision)
        # Of answers, which may be classes, nobody could tell.
        if not all_finite(upload.outputs):
            faults.append(Fault("not_finite", NOT_FINITE))
    return Returned(
        issued_ns=upload.issued_ns,
        completed_ns=upload.completed_ns,
        started_at=upload.started_at,
        faults=tuple(faults),
        conditions=upload.conditions,
        answers=answers,
        agreement=agreement,
    )


def _answers(
    offered: Offered, samples: IndexArray, upload: Upload, precision: str
) -> tuple[Outputs, Agreement]:
    """One answer a sample, and how they compare with the model's.

    They are scored once beforehand, so that what cannot be scored never goes on record.
    """
    task = offered.task
    try:
        answers = task.model_answers(list(upload.outputs))
        if len(answers) != len(samples):
            raise DataError(f"{len(answers)} answers for {len(samples)} samples")
        with np.errstate(over="ignore", invalid="ignore"):  # whatever is not of this world is off
            kept = [task.decode(task.encode(answer)) for answer in answers]
        task.score(samples, kept)
    except Exception as error:  # whatever a task makes of arrays that it never expected
        shapes = ", ".join(f"{output.dtype} {output.shape}" for output in upload.outputs)
        raise DataError(
            f"the outputs ({shapes}) are no answers that {task.name!r} can score: {described(error)}"
        ) from error
    return answers, held_against_model(task, precision, samples, kept)
