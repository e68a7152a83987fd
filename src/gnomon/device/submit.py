"""From a run to the tests of a submission: its conversation as the field logs it, and its results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from gnomon.core.energy import EnergySamples
from gnomon.core.errors import DataError, UsageError
from gnomon.core.protocol import measurement_folder
from gnomon.core.run import Run
from gnomon.core.version import __version__
from gnomon.device.energy_record import read_energy, read_samples
from gnomon.device.logs import (
    Inference,
    Mode,
    SessionLog,
    SessionResults,
    energy_results,
    timed_results,
)
from gnomon.device.options import ACCURACY, ENERGY, PERFORMANCE
from gnomon.device.record import LOG_FILE, read_results, read_windows
from gnomon.device.submission import SubmittedTest, SystemDescription
from gnomon.device.task import TinyTask
from gnomon.device.trace_file import write_trace
from gnomon.device.transcript import (
    Transcript,
    inferences_of_files,
    inferences_of_windows,
    read_transcript,
)

SUBMITTED_AS = {"kws01": "kws", "vww01": "vww", "ic01": "ic", "ic02": "ic2", "ad01": "ad"}


def system_example() -> str:
    """A description to fill in, with the keys of the field's template."""
    named = {
        "Submitter": "YourName",
        "Division": "closed",
        "Status": "available",
        "Board Name": "as it is sold",
        "Processor(s) Name": "as its maker calls it",
    }
    keys = [field.alias or name for name, field in SystemDescription.model_fields.items()]
    return json.dumps({key: named.get(key, "") for key in keys}, indent=2) + "\n"


def read_system(path: Path) -> SystemDescription:
    """A description of a system.

    Raises:
        DataError: The file cannot be read, or lacks something; the message names the key.
    """
    try:
        return SystemDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {place}: {first['msg']}") from None


def tests_of(run: Run, task: TinyTask) -> list[SubmittedTest]:
    """The tests that a run's measurements make up.

    Raises:
        UsageError: The run is not complete, or not of a board's own time, or of a benchmark that is not
            submitted so.
        GnomonError: Its record cannot be read.
    """
    if run.status != "complete":
        raise UsageError(f"run {run.id} is {run.status}: only a complete one can be submitted")
    if task.model_id not in SUBMITTED_AS:
        raise UsageError(
            f"run {run.id} measured {task.model_id}, which is submitted from a sound that is played to the "
            f"board: {', '.join(sorted(SUBMITTED_AS.values()))} can be submitted from runs"
        )
    tests = []
    for name, stored in run.measurements.items():
        if stored["board"]["counts"] != "time":
            raise UsageError(
                f"run {run.id} counted instructions of an emulated board: a submission needs a board's time"
            )
        tests.append(_test(run, task, name, stored))
    return tests


def _test(run: Run, task: TinyTask, name: str, stored: dict[str, Any]) -> SubmittedTest:
    folder = measurement_folder(run, name)
    transcript = read_transcript(folder / LOG_FILE)
    files: dict[str, bytes] = {}
    if name == ACCURACY:
        inferences = inferences_of_files(transcript, list(_inputs(folder, task)))
        results = _accuracy_results(stored["result"])
    else:
        windows = read_windows(folder)
        inferences = inferences_of_windows(transcript, windows)
        if name == ENERGY:
            samples, timestamps_s = read_samples(folder)
            results = energy_results(read_energy(folder, windows))
            files = _trace(samples, timestamps_s)
        else:
            results = timed_results((each.iterations, each.duration_s) for each in windows)
    session = _session(run, name, stored, transcript, inferences)
    return SubmittedTest(SUBMITTED_AS[task.model_id], session, results, files=files)


def _trace(samples: EnergySamples, timestamps_s: Sequence[float]) -> dict[str, bytes]:
    """The trace's files as EEMBC's runner writes them; none of a host's meter, whose samples are uneven."""
    if samples.rate_hz is None:
        return {}
    with TemporaryDirectory() as folder:
        write_trace(Path(folder), samples, tuple(timestamps_s))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _inputs(folder: Path, task: TinyTask) -> Iterator[tuple[str, int]]:
    """File and offset of each input, in the order they were inferred."""
    for each in read_results(folder):
        yield task.file_name(each.sample), each.payload * task.payload_stride


def _accuracy_results(result: dict[str, Any]) -> SessionResults:
    if result["metric"]["name"] == "AUC":
        return SessionResults("accuracy", auc=result["quality"])
    return SessionResults("accuracy", top_1_percent=100 * result["quality"])


def _session(
    run: Run,
    name: str,
    stored: dict[str, Any],
    transcript: Transcript,
    inferences: tuple[Inference, ...],
) -> SessionLog:
    modes: dict[str, Mode] = {PERFORMANCE: "performance", ACCURACY: "accuracy", ENERGY: "energy"}
    board = stored["board"]
    return SessionLog(
        started_at=datetime.fromisoformat(run.record["started_at"]).astimezone(),
        runner=f"Gnomon {__version__}",
        mode=modes[name],
        model_id=board["model_id"],
        profile=board["profile"],
        board=board["name"],
        folder="",
        greeting=transcript.greeting,
        inferences=inferences,
        end_s=transcript.end_s,
    )
