"""What a run's record says, held against its own raw samples, seeds, answers, logs and options.

Every function gives the disagreements it finds, each in a line that begins with the measurement's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import GnomonError
from gnomon.core.mllog import six_digits
from gnomon.core.run import Run
from gnomon.loadgen.accuracy_log import read_accuracy_log
from gnomon.loadgen.find_peak import is_probe, probe_name
from gnomon.loadgen.judge import ACCURACY_LOG, JudgedTest
from gnomon.loadgen.log_detail import result_entries
from gnomon.loadgen.options import Planned, as_planned
from gnomon.loadgen.read_logs import read_log_folder
from gnomon.loadgen.samples import SAMPLES_FILE, Samples
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import Mode, Scenario, Settings


def disagreements_of(
    name: str, stored: Mapping[str, Any], judged: JudgedTest, folder: Path
) -> list[str]:
    """Where one measurement's record, samples, seeds, answers and logs do not agree."""
    samples, settings = judged.samples, judged.settings
    found = [
        *_against_schedule(samples, settings),
        *_against_time(samples, settings),
        *_against_record(judged.result, stored["result"]),
    ]
    if stored["result"] is not None:
        if settings.mode is Mode.ACCURACY:
            found += _against_answers(samples, folder)
        found += _against_logs(folder, stored, judged)
    return [f"{name}: {words}" for words in found]


def against_plan(run: Run, planned: Mapping[str, Planned]) -> list[str]:
    """Where the measurements are not those that the run's options ask for."""
    found = []
    recorded = run.measurements
    lists = recorded.get(Scenario.SERVER.value, {}).get("probes")
    for name, stored in recorded.items():
        if is_probe(name):
            listed = lists is None or name in (probe_name(0), *(p["measurement"] for p in lists))
            searched = any(test.seeks_peak for test in planned.values())
            if not (listed and searched):
                found.append(f"{name}: it belongs to no search on record")
        elif name not in planned:
            found.append(f"{name}: the options on record do not ask for it")
        elif not as_planned(planned[name], stored["settings"]):
            found.append(f"{name}: its settings are not those that the options on record give")
    wanted = {path.parent.name for path in run.path.glob(f"*/{SAMPLES_FILE}")}
    if run.status == "complete":
        wanted |= {
            name
            for name, test in planned.items()
            if not (test.seeks_peak and any(map(is_probe, recorded)))
        }
    return found + [f"{name}: it is not on record" for name in sorted(wanted - set(recorded))]


def _against_schedule(samples: Samples, settings: Settings) -> list[str]:
    """Whether the samples are those that the seeds prescribe, at the prescribed times."""
    row = 0
    for order in plan(settings):
        width = order.samples_per_query
        left = len(samples) - row
        count = -(-left // width)  # a killed run may end in the middle of a query
        if order.query_count is not None:
            count = min(count, order.query_count)
        expected = order.samples(0, count).reshape(-1)[:left]
        rows = slice(row, row + len(expected))
        if not np.array_equal(samples.sample_index[rows], expected):
            return ["the recorded samples are not those that its seeds give"]
        arrives = settings.scenario is Scenario.SERVER and settings.mode is Mode.PERFORMANCE
        if arrives and not np.array_equal(samples.scheduled_ns[rows], order.arrivals_ns(0, count)):
            return ["the recorded arrivals are not those that its seeds give"]
        row += len(expected)
    if row < len(samples):
        return ["there are more samples on record than its settings issue"]
    return []


def _against_time(samples: Samples, settings: Settings) -> list[str]:
    """Whether the times can have happened: asked when due, answered when asked, one by one in streams."""
    answered = samples.answered
    if (samples.completed_ns < samples.issued_ns)[answered].any():
        return ["there are answers on record from before they were asked for"]
    if settings.mode is Mode.ACCURACY:
        return []
    if (samples.issued_ns < samples.scheduled_ns).any():
        return ["there are samples on record that were issued before they were due"]
    if settings.scenario.closed_loop:
        width = settings.samples_per_query
        whole = len(samples) // width * width
        issued_ns = samples.issued_ns[:whole:width]
        answered_ns = samples.completed_ns[:whole].reshape(-1, width).max(axis=1)
        if (
            not np.array_equal(samples.scheduled_ns, samples.issued_ns)
            or (issued_ns[1:] < answered_ns[:-1]).any()
        ):
            return ["there are queries on record that did not wait for the one before"]
    return []


def _against_record(result: dict[str, Any] | None, said: dict[str, Any] | None) -> list[str]:
    """Where the stored result says something else than the raw samples."""
    if said is None or result is None:
        return [] if said == result else [f"result {said} on record, {result} recomputed"]
    return [
        f"{key} is {said.get(key)!r} on record but {result.get(key)!r} from the raw samples"
        for key in dict.fromkeys((*said, *result))
        if said.get(key) != result.get(key)
    ]


def _against_answers(samples: Samples, folder: Path) -> list[str]:
    """Whether the accuracy log answers the samples that were issued."""
    answers = read_accuracy_log(folder / ACCURACY_LOG)
    ids = np.array([answer.id for answer in answers], dtype=np.int64)
    indices = np.array([answer.sample_index for answer in answers], dtype=np.int64)
    known = (ids >= 0) & (ids < len(samples))
    if not known.all() or not np.array_equal(samples.sample_index[ids], indices):
        return ["the accuracy log answers other samples than were issued"]
    return []


def _against_logs(folder: Path, stored: Mapping[str, Any], judged: JudgedTest) -> list[str]:
    """Where the field's logs in the folder say something else than the raw samples."""
    try:
        log = read_log_folder(folder)
    except GnomonError as error:
        return [str(error)]
    found = []
    if len(log.errors) != len(stored["faults"]):
        found.append(
            f"the detail log has {len(log.errors)} error(s), run.json {len(stored['faults'])} fault(s)"
        )
    if judged.outcome is not None:
        errors = tuple(fault["message"] for fault in stored["faults"])
        entries = result_entries(judged.settings, judged.outcome, errors)
        found += [
            f"the detail log says {key} {log.metrics.get(key)!r}, the raw samples {six_digits(value)!r}"
            for key, value in entries
            if key in log.metrics and log.metrics[key] != six_digits(value)
        ]
    return found
