"""A run as a submission in the field's layout, under an official name if its checkers are to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gnomon.core.errors import RunFolderError, UsageError
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.timetotrain.judge import run_folder
from gnomon.timetotrain.reference_point_files import read_reference_points, write_reference_points
from gnomon.timetotrain.reference_points import under_official_name
from gnomon.timetotrain.run_log import result_file, submission_of, write_run_log
from gnomon.timetotrain.settings import MEASUREMENT, declaration_of, reference_points_path
from gnomon.timetotrain.trace import read_trace

DIVISIONS = ("closed", "open")
STATUSES = ("onprem", "cloud", "research", "preview")


def export_run(
    run: Run,
    output: Path,
    *,
    name: str | None,
    division: str,
    organisation: str,
    platform: str | None,
    status: str,
    more: Mapping[str, Any],
) -> list[Path]:
    """Write results/PLATFORM/NAME/result_N.txt, systems/PLATFORM.json and reference points.

    Args:
        run: A finished one.
        output: Where the submission goes.
        name: Of the benchmark in the logs; None: what the benchmark says, or its own.
        division: `closed` or `open`.
        organisation: Of the submitter.
        platform: Name of the system; None: the one that was measured.
        status: Of the system.
        more: Further keys to log.

    Returns:
        What was written.

    Raises:
        UsageError: The run has no training runs, a value is none of the field's, or results of another run
            are there.
        RunFolderError: The folder cannot be written.
    """
    for value, known in ((division, DIVISIONS), (status, STATUSES)):
        if value not in known:
            raise UsageError(f"{value!r} is none of {', '.join(known)}")
    stored = run.measurements.get(MEASUREMENT)
    if stored is None or not stored["runs"]:
        raise UsageError(f"{run.id} has no finished training runs")
    benchmark = Benchmark.model_validate(run.record["benchmark"])
    declared = declaration_of(benchmark)
    called = name or declared.log_name or benchmark.name
    system = platform or run.record["system"]["name"]
    folder = output / "results" / system / called
    if list(folder.glob("result_*.txt")):
        raise UsageError(f"{folder} has results already: choose another --output or --platform")
    cleared = bool(stored.get("caches_cleared"))
    submission = replace(
        submission_of(benchmark, platform=system, cache_cleared=cleared),
        benchmark=called,
        organisation=organisation,
        division=division,
        status=status,
        more=more,
    )
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, number in enumerate(stored["runs"], start=1):
            trace = read_trace(run_folder(run.path / MEASUREMENT, int(number)))
            path = folder / result_file(place)
            write_run_log(path, trace, submission)
            written.append(path)
        written.append(_write_system(run, output, organisation, division, system, status))
    except OSError as error:
        raise RunFolderError(f"cannot write to {output}: {error.strerror}") from None
    if declared.reference_points:
        points = read_reference_points(reference_points_path(declared.reference_points))
        path = output / f"rcps_{called}.json"
        write_reference_points(path, under_official_name(points, called))
        written.append(path)
    return written


def _write_system(
    run: Run, output: Path, organisation: str, division: str, system: str, status: str
) -> Path:
    """The description of the system, as far as the run knows it."""
    environment = run.record["environment"]
    processor, accelerators = environment.get("cpu", {}), environment.get("accelerators", [])
    path = output / "systems" / f"{system}.json"
    path.parent.mkdir(exist_ok=True)
    description = {
        "submitter": organisation,
        "division": division,
        "status": status,
        "system_name": system,
        "number_of_nodes": str(run.record["options"].get("nodes", 1)),
        "host_processors_per_node": "1",
        "host_processor_model_name": str(processor.get("model") or ""),
        "host_processor_core_count": str(processor.get("physical_cores") or ""),
        "host_memory_capacity": f"{environment.get('memory', {}).get('total_bytes', 0)} bytes",
        "accelerators_per_node": str(len(accelerators)),
        "accelerator_model_name": accelerators[0] if accelerators else "",
        "framework": str(run.record["system"]["description"].get("framework", "")),
        "operating_system": str(environment.get("os", {}).get("distribution", "")),
        "hw_notes": "",
        "sw_notes": f"Gnomon {run.record['gnomon_version']}",
    }
    path.write_text(json.dumps(description, indent=2) + "\n")
    return path
