"""Results handed from one person to another: run folders with their result file in one zip, and back.

What comes in is not believed: a zip is unpacked inside bounds, every run is recomputed from its raw
samples, and the result file is held against what was recomputed. A bare result file is kept as a claim
and called one.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from pyarrow import ArrowException
from pyarrow.parquet import read_metadata

from gnomon.core.errors import DataError, RunFolderError, UsageError, described
from gnomon.core.files import write_atomically
from gnomon.core.run import ASIDE_FOLDER, LOCK_FILE, RUN_FILE, Run
from gnomon.loadgen.samples import SAMPLES_FILE
from gnomon.results.check import check
from gnomon.results.mobile_file import (
    LARGEST_FILE,
    read_result_file,
    result_bytes,
    result_file_of,
)
from gnomon.results.mobile_format import Entry, ExtendedResult
from gnomon.results.mobile_history import IMPORTED_FOLDER, STATE_FOLDER
from gnomon.results.mobile_rows import CHECKED, CLAIMED
from gnomon.suites.mobile import SUITE

RESULT_FILE = "result.json"
RUNS_FOLDER = "runs"
MOST_FILES = 10_000
MOST_BYTES = 2 << 30
MOST_ROWS = 1 << 26
"""Of raw samples in all: a few kilobytes of Parquet can hold more than fits the memory."""
MOST_PARTS = 6
LEFT_OUT = (LOCK_FILE, "report.html")
"""Of no worth elsewhere. A report is made again from the run: one that comes in could hold any script."""
SAME = 1e-9
"""Figures that differ by less were rounded on the way."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
"""A file or folder name that means the same everywhere, and hides nothing."""

_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,
)
"""What comes of reading a zip that is cut short or has other bytes in it."""


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        result: The result file.
        source: `CHECKED` or `CLAIMED`.
        runs: Run folders that are new here.
        known: Runs that were here already, and were left as they are.
        differences: Where the share is not what its raw samples say; if there are any, nothing was kept.
    """

    result: ExtendedResult
    source: str
    runs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def share(runs: Sequence[Run], path: Path) -> Path:
    """Write runs of one session and their result file into a zip, and return its path.

    The same runs give the same bytes.

    Raises:
        UsageError: They make no result file: see `result_file_of`.
        RunFolderError: The zip cannot be written.
    """
    if len({run.id for run in runs}) < len(runs):
        raise UsageError("a run is given twice: name each run once")
    result = result_file_of(runs)
    when = result.meta.creation_date.timetuple()[:6]

    def put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, when)
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, data, zipfile.ZIP_DEFLATED)

    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            put(archive, RESULT_FILE, result_bytes(result))
            for run in runs:
                for inside in _files(run.path):
                    name = f"{RUNS_FOLDER}/{run.id}/{inside.as_posix()}"
                    put(archive, name, (run.path / inside).read_bytes())
        unfinished.replace(path)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror}; choose another file with --output"
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def import_file(file: Path, out: Path) -> Imported:
    """Take in a share, or a bare result file of this package or of the field's app.

    Raises:
        DataError: It is neither, is unsafe to unpack, or cannot be recomputed here.
        RunFolderError: It cannot be kept.
    """
    try:
        if not zipfile.is_zipfile(file):
            return _import_claim(file, out)
        folder = out / STATE_FOLDER / IMPORTED_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unpacking-") as unpacked:
            _unpack(file, Path(unpacked))
            return _import_share(file, Path(unpacked), out)
    except OSError as error:
        raise RunFolderError(f"cannot import {file}: {error.strerror or error}") from None


def _import_claim(file: Path, out: Path) -> Imported:
    result = read_result_file(file)
    folder = out / STATE_FOLDER / IMPORTED_FOLDER
    uuid = _uuid(result, str(file))
    kept, data = folder / f"{uuid}.json", file.read_bytes()
    if (folder / uuid).exists() or (kept.exists() and kept.read_bytes() == data):
        return Imported(result, CLAIMED, known=(uuid,))
    if kept.exists():
        raise DataError(
            f"another result with the uuid {uuid} is here already: if it is the wrong one, remove {kept}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, data)
    return Imported(result, CLAIMED, runs=(uuid,))


def _import_share(file: Path, unpacked: Path, out: Path) -> Imported:
    result = read_result_file(unpacked / RESULT_FILE)
    uuid = _uuid(result, str(file))
    _require_readable(file, unpacked)
    runs = [Run.open(path) for path in sorted((unpacked / RUNS_FOLDER).glob("*"))]
    if not runs:
        raise DataError(f"{file} holds no runs: import its {RESULT_FILE} by itself, as a claim")
    try:
        differences = [*_recomputed(runs), *differences_from(result, result_file_of(runs))]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{file} holds a {RUN_FILE} that is damaged ({described(error)[:120]}): ask for it again"
        ) from None
    if differences:
        return Imported(result, CHECKED, differences=tuple(differences))
    here = _runs_here(out)
    new = [run for run in runs if run.id not in here]
    for run in new:
        target = out / STATE_FOLDER / IMPORTED_FOLDER / uuid / RUNS_FOLDER / run.id
        target.parent.mkdir(parents=True, exist_ok=True)
        run.path.rename(target)
    return Imported(
        result,
        CHECKED,
        tuple(run.id for run in new),
        tuple(run.id for run in runs if run.id in here),
    )


def _require_readable(file: Path, unpacked: Path) -> None:
    """Refuse what is small in a zip and large once it is read.

    Raises:
        DataError: Says what of it.
    """
    for record in unpacked.rglob(RUN_FILE):
        if record.stat().st_size > LARGEST_FILE:
            raise DataError(
                f"{file} holds a {RUN_FILE} of more than {LARGEST_FILE >> 20} MiB: not imported"
            )
    try:
        rows = sum(read_metadata(path).num_rows for path in unpacked.rglob(f"*/{SAMPLES_FILE}"))
    except ArrowException as error:
        raise DataError(
            f"{file} holds samples that are damaged ({described(error)[:120]}): ask for it again"
        ) from None
    if rows > MOST_ROWS:
        raise DataError(f"{file} holds {rows:,} raw samples, more than {MOST_ROWS:,}: not imported")


def _recomputed(runs: Sequence[Run]) -> Iterator[str]:
    """Where the runs say something else than their raw samples."""
    for run in runs:
        _require_mobile(run)
        yield from (f"{run.id}: {words}" for words in check(run.path).disagreements)


def differences_from(said: ExtendedResult, found: ExtendedResult) -> list[str]:
    """Where a result file says something else than the runs, one line a figure.

    Args:
        said: The file as it came.
        found: Made of the runs, `result_file_of`.
    """
    lines: list[str] = []
    if said.environment_info != found.environment_info:
        lines += _apart("environment_info", said.environment_info, found.environment_info)
    mine, theirs = _by_place(found), _by_place(said)
    lines += [
        f"{place}: the runs have it, {RESULT_FILE} does not" for place in mine.keys() - theirs
    ]
    lines += [f"{place}: it is of no run in the share" for place in theirs.keys() - mine]
    for place in mine.keys() & theirs.keys():
        lines += _apart(place, theirs[place], mine[place])
    return sorted(lines)


def _by_place(result: ExtendedResult) -> dict[str, Entry]:
    """Entries by the run and scenario that they are of. What stands twice has a place of its own."""
    found: dict[str, Entry] = {}
    for entry in result.results:
        place = f"{entry.benchmark_id} ({entry.setting('run') or 'of no run'})"
        found[place if place not in found else f"{place}, again"] = entry
    return found


def _apart(place: str, said: Any, found: Any) -> Iterator[str]:
    left, right = said.model_dump(mode="json"), found.model_dump(mode="json")
    for tree in (left, right):
        settings = tree.get("backend_settings", {}).pop("extra_settings", [])
        tree |= {setting["id"]: setting["value"] for setting in settings}
    for path, mine, theirs in _leaves_apart(left, right):
        yield f"{place}: {path} is {mine!r} in {RESULT_FILE}, {theirs!r} from the raw samples"


def _leaves_apart(said: Any, found: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Paths at which two trees differ; what only one version of this package writes is passed over."""
    if isinstance(said, dict) and isinstance(found, dict):
        for key in said.keys() & found.keys():
            yield from _leaves_apart(said[key], found[key], f"{path}.{key}" if path else key)
        return
    numbers = all(isinstance(value, int | float) and value is not True for value in (said, found))
    if numbers and abs(said - found) <= SAME * max(abs(said), abs(found)):
        return
    if said != found:
        yield path, said, found


def _require_mobile(run: Run) -> None:
    """Refuse what a share has no business with, before anything of it is run through.

    Raises:
        DataError: Says what it is instead.
    """
    record = run.record
    suite, protocol = record["benchmark"]["suite"], record["protocol"]
    data_path, same = record.get("data_path"), run.id == run.path.name
    here = data_path is None or Path(str(data_path)).is_dir() or Path(str(data_path)).is_file()
    if suite != SUITE or protocol != "load":
        raise DataError(
            f"{run.path.name} is no run of a mobile benchmark: a share holds nothing else"
        )
    if not same:
        raise DataError(f"{run.path.name} calls itself {run.id!r}: ask for the share again")
    if not here:
        raise DataError(
            f"{run.id} was measured on data at {data_path}, which is not here: put the same data there, or "
            f"import its {RESULT_FILE} by itself, as a claim"
        )


def _runs_here(out: Path) -> set[str]:
    patterns = (f"*/{RUN_FILE}", f"{STATE_FOLDER}/{IMPORTED_FOLDER}/*/{RUNS_FOLDER}/*/{RUN_FILE}")
    return {path.parent.name for pattern in patterns for path in out.glob(pattern)}


def _uuid(result: ExtendedResult, name: str) -> str:
    """The file's uuid, which becomes part of a path."""
    try:
        return str(UUID(result.meta.uuid))
    except ValueError:
        raise DataError(
            f"{name}: meta.uuid is no UUID: not a result file of the mobile app"
        ) from None


def _files(folder: Path) -> Iterator[Path]:
    """What is worth sharing of a run, relative to its folder."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        unwanted = path.name in LEFT_OUT or inside.parts[0] == ASIDE_FOLDER
        if path.is_file() and not path.is_symlink() and not unwanted:
            yield inside


def _unpack(file: Path, target: Path) -> None:
    """Unpack a share, refusing what no share has: paths that lead out, links, and more than fits.

    Raises:
        DataError: Says which entry.
    """
    left = MOST_BYTES
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES:
                raise DataError(
                    f"{file} has {len(entries)} entries, more than any share: not unpacked"
                )
            for entry in entries:
                inside = _safe_path(file, entry)
                if inside is None:
                    continue
                path = target / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, path.open("xb") as copy:
                    while chunk := source.read(1 << 20):
                        left -= len(chunk)
                        if left < 0:
                            raise DataError(
                                f"{file} holds more than {MOST_BYTES >> 30} GiB: not unpacked"
                            )
                        copy.write(chunk)
    except FileExistsError:
        raise DataError(
            f"{file} holds one file twice: it was not made by gnomon mobile share"
        ) from None
    except _DAMAGED as error:
        raise DataError(f"{file} is damaged: {error}; ask for it again") from None


def _safe_path(file: Path, entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where an entry goes; None for a folder, and for what is left out.

    Raises:
        DataError: It has no place in a share.
    """
    if entry.is_dir():
        return None
    path = PurePosixPath(entry.filename)
    whole = entry.filename == path.as_posix() and all(map(_PART.fullmatch, path.parts))
    placed = path.as_posix() == RESULT_FILE or (
        path.parts[:1] == (RUNS_FOLDER,) and 3 <= len(path.parts) <= MOST_PARTS
    )
    mode = entry.external_attr >> 16
    plain = not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG)
    readable = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not (whole and placed and plain and readable) or entry.flag_bits & 1:
        raise DataError(
            f"{file} holds {entry.filename[:80]!r}, which no share has: gnomon mobile share did not make it"
        )
    return None if path.name in LEFT_OUT else path
