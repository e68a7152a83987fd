"""Files of reference convergence points: the field's RCP JSON, read and checked, written, added to.

One file has the points of one benchmark, by name. An error names the file, the point and the key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, described
from gnomon.core.files import write_atomically
from gnomon.timetotrain.reference_points import FEWEST_VALUES, ReferencePoint, Unit

UNIT_KEYS: Mapping[str, Unit] = {"Epochs to converge": "epochs", "samples to converge": "samples"}
_TEXTS = {"Creator": "creator", "When": "when", "Platform": "platform", "Precision": "precision"}


def read_reference_points(path: Path) -> list[ReferencePoint]:
    """All points of one of the field's files, by batch size.

    Source: the field's RCP files (mlcommons/logging, `rcp_checker`).

    Raises:
        DataError: The file cannot be read, or has a point that means nothing; file and key are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {described(error)}") from None
    try:
        content = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no file of reference points: {error}: it must be one JSON object"
        ) from None
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} has no reference point: it must map names to points")
    points = [_point(path, name, record) for name, record in content.items()]
    _refuse_mixture(points, str(path))
    return sorted(points, key=lambda point: point.global_batch_size)


def write_reference_points(path: Path, points: Iterable[ReferencePoint]) -> None:
    """Write a file that `read_reference_points` and the field's checker read.

    Raises:
        DataError: The file cannot be written, or points cannot stand together in one file.
    """
    points = sorted(points, key=lambda point: point.global_batch_size)
    _refuse_mixture(points, str(path))
    content = {point.name: _record(point) for point in points}
    try:
        write_atomically(path, json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {described(error)}") from None


def merge_reference_point(path: Path, point: ReferencePoint, *, replace_same: bool = False) -> None:
    """Add a point to a file, which is made if it is missing.

    Args:
        path: The file.
        point: What to add.
        replace_same: Whether it takes the place of one with its batch size.

    Raises:
        DataError: The file cannot be read or written, is of another benchmark or unit, or has a point
            of this batch size that may not be replaced.
    """
    points = read_reference_points(path) if path.exists() else []
    others = [each for each in points if each.global_batch_size != point.global_batch_size]
    if len(others) < len(points) and not replace_same:
        raise DataError(
            f"{path} has a point for batch size {point.global_batch_size} already: "
            "replace it explicitly or write another file"
        )
    write_reference_points(path, [*others, point])


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"key {key!r} stands there twice")
        content[key] = value
    return content


def _refuse_mixture(points: Sequence[ReferencePoint], where: str) -> None:
    """Points of one file are of one benchmark in one unit, each with a batch size of its own."""
    for key, values in (
        ("Benchmark", {point.benchmark for point in points}),
        ("unit", {point.unit for point in points}),
    ):
        if len(values) > 1:
            raise DataError(
                f"{where} mixes {key} {' and '.join(sorted(values))}: keep them in files of their own"
            )
    seen: dict[int, str] = {}
    for point in points:
        other = seen.setdefault(point.global_batch_size, point.name)
        if other != point.name:
            raise DataError(
                f"{where}: {other} and {point.name} both have BS {point.global_batch_size}: "
                "a batch size may have one point"
            )


def _point(path: Path, name: str, record: Any) -> ReferencePoint:
    where = f"{path}: {name}"
    if not isinstance(record, dict):
        raise DataError(f"{where} must be an object with Benchmark, BS and Epochs to converge")
    benchmark = record.get("Benchmark")
    if not isinstance(benchmark, str) or not benchmark:
        raise DataError(f"{where}: Benchmark must be a name, got {benchmark!r}")
    size = record.get("BS")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise DataError(f"{where}: BS must be a positive whole number, got {size!r}")
    hyperparameters = record.get("Hyperparams")
    if not isinstance(hyperparameters, dict):
        raise DataError(f"{where}: Hyperparams must be an object, got {hyperparameters!r}")
    keys = [key for key in UNIT_KEYS if key in record]
    if len(keys) != 1:
        raise DataError(f"{where} must have one of {' or '.join(UNIT_KEYS)}, it has {len(keys)}")
    texts = {mine: str(record[theirs]) for theirs, mine in _TEXTS.items() if theirs in record}
    values = _numbers(f"{where}: {keys[0]}", record[keys[0]])
    return ReferencePoint(
        name, benchmark, size, values, UNIT_KEYS[keys[0]], hyperparameters, **texts
    )


def _numbers(where: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise DataError(f"{where} must be a list of numbers, got {type(values).__name__}")
    for index, value in enumerate(values):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise DataError(
                f"{where}: value {index} must be a positive number of a run that converged, got {value!r}"
            )
    if len(values) < FEWEST_VALUES:
        raise DataError(
            f"{where} must have at least {FEWEST_VALUES} values, twice the runs of a result as a rule, "
            f"got {len(values)}"
        )
    return tuple(values)


def _record(point: ReferencePoint) -> dict[str, Any]:
    key = next(key for key, unit in UNIT_KEYS.items() if unit == point.unit)
    texts = {theirs: getattr(point, mine) for theirs, mine in _TEXTS.items()}
    return {
        "Benchmark": point.benchmark,
        **{theirs: text for theirs, text in texts.items() if text},
        "BS": point.global_batch_size,
        "Hyperparams": dict(point.hyperparameters),
        key: list(point.to_converge),
    }
