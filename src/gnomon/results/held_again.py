"""Answers that came from a browser, held against their model once more: what is on record is not believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gnomon.core.errors import GnomonError
from gnomon.core.protocol import measurement_folder
from gnomon.core.run import Run
from gnomon.core.task import Task
from gnomon.loadgen.accuracy_log import read_accuracy_log
from gnomon.loadgen.agreement import FARTHEST, Agreement, agreement_on_record
from gnomon.loadgen.judge import ACCURACY, ACCURACY_LOG, conditions_of

BROWSER_FRAMEWORK = "ONNX Runtime Web"
SAME_QUALITY = 1e-3
"""As a share: processors round differently, and so may a model's answers on two of them."""


def against_model(run: Run, task: Task, results: Mapping[str, Any]) -> Iterator[str]:
    """Where the record of a run measured in a browser says something else of its answers than the model.

    Args:
        run: Any run.
        task: Its task.
        results: By measurement, recomputed.

    Raises:
        GnomonError: The record is damaged, or the model is not the one that it is about.
    """
    stored = run.record["measurements"].get(ACCURACY)
    if not results.get(ACCURACY) or not _is_from_browser(run):
        return
    from gnomon.systems.held_against import held_against_model  # few runs need ONNX Runtime for it

    said, described = agreement_on_record(stored), _description(run)
    precision = described.get("precision")
    if said is None or precision not in tuple(FARTHEST):
        yield f"{ACCURACY}: the answers came from a browser, and were never held against a model"
        return
    entries = read_accuracy_log(measurement_folder(run, ACCURACY) / ACCURACY_LOG)
    samples = np.asarray([entry.sample_index for entry in entries], dtype=np.int64)
    answers = [task.decode(entry.data) for entry in entries]
    found = held_against_model(task, str(precision), samples, answers)
    models = {said.model_sha256, str(described.get("model_sha256"))}
    if models != {found.model_sha256}:
        raise GnomonError(
            f"this run was measured with another {precision} model (sha256 "
            f"{' or '.join(sorted(model[:12] for model in models))}) than task {task.name!r} has here "
            f"({found.model_sha256[:12]}): install the version it was made with, gnomon "
            f"{run.record['gnomon_version']}"
        )
    if not _alike(said, found):
        yield f"{ACCURACY}: the record has {_told(said)}; the answers and the model give {_told(found)}"


def _is_from_browser(run: Run) -> bool:
    """Whether anything on record is what only a page has."""
    return (
        "session" in run.record
        or _description(run).get("framework") == BROWSER_FRAMEWORK
        or any(
            (conditions := conditions_of(stored)) is not None and conditions.online is not None
            for stored in run.record["measurements"].values()
        )
    )


def _description(run: Run) -> Mapping[str, Any]:
    """What the system said of itself; nothing if that is no mapping."""
    described = run.record["system"]["description"]
    return described if isinstance(described, Mapping) else {}


def _alike(said: Agreement, found: Agreement) -> bool:
    """The same but for what depends on the processor: how far off, and so nearly the same quality."""
    counts = ("samples", "apart", "limit")
    return (
        all(getattr(said, name) == getattr(found, name) for name in counts)
        and abs(said.farthest - found.farthest) <= found.limit / 2 + SAME_QUALITY * found.farthest
        and abs(said.model_quality - found.model_quality) <= SAME_QUALITY * abs(found.model_quality)
    )


def _told(agreement: Agreement) -> str:
    return (
        f"{agreement.apart} of {agreement.samples} answers off by more than {agreement.limit:g}, the worst "
        f"by {agreement.farthest:.2g}, and a model's quality of {agreement.model_quality:.5g}"
    )
