"""Training logs of every dialect, read into one form.

v0.5 wrote `:::MLPv0.5.0 ...`, v0.6 `:::MLL ...`, every round since `:::MLLOG {json}`; anything may stand
before and between. Big files are read by several processes. What looks like an entry and is none is
counted, and the first is quoted with its line number.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import Counter
from collections.abc import Collection, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from gnomon.core.environment import processors
from gnomon.core.errors import DataError
from gnomon.timetotrain.logs.entries import (
    POINT_IN_TIME,
    Dialect,
    LogEntry,
    TrainingLog,
    event_type_of,
)
from gnomon.timetotrain.logs.older import (
    DECODER,
    LINE_END,
    TOKEN,
    ends_at,
    v05_entry,
    v06_entry,
)

PIECE_BYTES = 32 << 20
BLOCK_BYTES = 256 << 10
WORTH_A_PROCESS_BYTES = 64 << 20
QUOTED_CHARACTERS = 120

_MLLOG_REST, _MLL_REST, _V05_REST = "LOG ", "L ", "Pv0.5.0 "


_Work: TypeAlias = tuple[Path, int, int, frozenset[str] | None]
"""A stretch of a file, and the keys to keep of it."""


@dataclass
class _Piece:
    """What one stretch of a file holds; lines count from 1 within it."""

    entries: list[tuple[Any, ...]] = field(default_factory=list)
    dialects: Counter[Dialect] = field(default_factory=Counter)
    line_ends: int = 0
    malformed: int = 0
    first_malformed: tuple[int, str] = (0, "")
    named: str = ""


def read_log(
    path: Path | str, keys: Collection[str] | None = None, workers: int | None = None
) -> TrainingLog:
    """Read a training log of any dialect.

    Args:
        path: The file; read as latin-1, whatever it holds.
        keys: The keys to keep, after translation. The others are parsed all the same, so that what is
            malformed is noticed, but not kept. None keeps everything.
        workers: Processes to read with; None: one a core for big files, and this one alone for small ones.

    Raises:
        DataError: The file cannot be read.
    """
    (log,) = read_logs([path], keys, workers)
    if isinstance(log, DataError):
        raise log
    return log


def read_logs(
    paths: Iterable[Path | str],
    keys: Collection[str] | None = None,
    workers: int | None = None,
) -> list[TrainingLog | DataError]:
    """Read many training logs, big ones in pieces, by the same processes.

    Args:
        paths: The files.
        keys: As in `read_log`.
        workers: As in `read_log`; None goes by the size of all files together.

    Returns:
        One log a file, in their order; the error in its place where a file cannot be read.
    """
    kept = None if keys is None else frozenset(keys)
    files = [_cut(Path(path)) for path in paths]
    if workers is None:
        total = sum(
            stretches[-1][1] for _, stretches in files if not isinstance(stretches, DataError)
        )
        workers = max(1, min(processors(), total // WORTH_A_PROCESS_BYTES))
    work = [
        (path, start, stop, kept)
        for path, stretches in files
        if not isinstance(stretches, DataError)
        for start, stop in stretches
    ]
    pieces = iter(_read_pieces(work, workers))
    return [
        stretches
        if isinstance(stretches, DataError)
        else _log_of(path, list(itertools.islice(pieces, len(stretches))))
        for path, stretches in files
    ]


def _read_pieces(work: list[_Work], workers: int) -> list[_Piece | DataError]:
    if workers > 1 and len(work) > 1:
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                return [job.result() for job in [pool.submit(_read_piece, *one) for one in work]]
        except BrokenProcessPool:
            pass  # a script without a main guard, or no memory for more processes: this one reads
    return [_read_piece(*one) for one in work]


def _log_of(path: Path, pieces: list[_Piece | DataError]) -> TrainingLog | DataError:
    whole = [piece for piece in pieces if isinstance(piece, _Piece)]
    if len(whole) == len(pieces):
        return _joined(path, whole)
    return next(piece for piece in pieces if isinstance(piece, DataError))


def parse_text(
    text: str, path: Path | str = "", keys: Collection[str] | None = None
) -> TrainingLog:
    """Like `read_log`, from text that is at hand."""
    piece = _Piece()
    _scan(text, None if keys is None else frozenset(keys), piece)
    return _joined(Path(path), [piece])


def _cut(path: Path) -> tuple[Path, list[tuple[int, int]] | DataError]:
    """Where to cut a file: (start, stop) in bytes, every cut after a line end."""
    cuts = [0]
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while cuts[-1] + PIECE_BYTES < size:
                file.seek(cuts[-1] + PIECE_BYTES)
                file.readline()
                cuts.append(file.tell())
    except OSError as error:
        return path, _unreadable(path, error)
    if cuts[-1] != size or len(cuts) == 1:
        cuts.append(size)
    return path, list(itertools.pairwise(cuts))


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}")


def _read_piece(
    path: Path, start: int, stop: int, keys: frozenset[str] | None
) -> _Piece | DataError:
    piece = _Piece()
    try:
        with path.open("rb") as file:
            file.seek(start)
            # Blocks of whole lines that fit a cache; the cost of a JSON error grows with the text before it.
            while (left := stop - file.tell()) > 0:
                block = file.read(min(BLOCK_BYTES, left))
                if not block:
                    break  # the file was cut short meanwhile
                if len(block) < left:
                    block += file.readline()
                _scan(block.decode("latin-1"), keys, piece)
    except OSError as error:
        return _unreadable(path, error)
    return piece


def _joined(path: Path, pieces: list[_Piece]) -> TrainingLog:
    entries: list[LogEntry] = []
    dialects: Counter[Dialect] = Counter()
    lines = malformed = 0
    first_malformed = named = ""
    for piece in pieces:
        entries += [
            LogEntry(key, value, time_ms, event, metadata, line + lines, dialect, logged)
            for key, value, time_ms, event, metadata, line, dialect, logged in piece.entries
        ]
        dialects += piece.dialects
        if piece.malformed and not malformed:
            line, quoted = piece.first_malformed
            first_malformed = f"line {line + lines}: {quoted}"
        malformed += piece.malformed
        lines += piece.line_ends
        named = named or piece.named
    return TrainingLog(
        path, tuple(entries), dict(dialects), lines, malformed, first_malformed, named
    )


def _scan(text: str, keys: frozenset[str] | None, piece: _Piece) -> None:
    """All entries in whole lines. The common dialect is parsed in place: this loop is what reading costs."""
    keep = piece.entries.append
    parse, find = DECODER.raw_decode, text.find
    dialect = Dialect.MLLOG
    counted_to = place = mllog_count = 0
    line = piece.line_ends
    while (at := find(TOKEN, place)) >= 0:
        place = at + len(TOKEN)
        if not text.startswith(_MLLOG_REST, place):
            line += text.count("\n", counted_to, at)
            counted_to = at
            place = _scan_older(text, at, line + 1, keys, piece)
            continue
        try:
            record, end = parse(text, place + len(_MLLOG_REST))
            key, value, metadata = record["key"], record["value"], record["metadata"]
            time_ms = float(record["time_ms"])
            whole = end == len(text) or text[end] == "\n" or ends_at(text, end)
            if not whole or find("\n", at, end) >= 0 or not isinstance(key, str):
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            line += text.count("\n", counted_to, at)
            counted_to = at
            _note_malformed(piece, text, at, line + 1)
            continue
        place = end
        mllog_count += 1
        if keys is None or key in keys:
            line += text.count("\n", counted_to, at)
            counted_to = at
            if not isinstance(metadata, dict):
                metadata = {}
            event = record.get("event_type", POINT_IN_TIME)
            keep((key, value, time_ms, event, metadata, line + 1, dialect, key))
    piece.line_ends = line + text.count("\n", counted_to)
    if mllog_count:
        piece.dialects[dialect] += mllog_count


def _scan_older(text: str, at: int, line: int, keys: frozenset[str] | None, piece: _Piece) -> int:
    """One entry of v0.6 or v0.5 at `at`, or none; where to look on from."""
    after = at + len(TOKEN)
    if text.startswith(_V05_REST, after):
        parsed, end = v05_entry(text, at)
    elif text.startswith(_MLL_REST, after):
        parsed, end = v06_entry(text, at)
    elif text.startswith(("LOG", "L", "Pv"), after):
        parsed, end = None, after
    else:
        return after  # a word that happens to begin like the token
    if parsed is None:
        _note_malformed(piece, text, at, line)
        return after
    key, value, time_s, metadata, dialect, logged, named = parsed
    piece.dialects[dialect] += 1
    piece.named = piece.named or named
    if keys is None or key in keys:
        event = event_type_of(key)
        piece.entries.append((key, value, time_s * 1e3, event, metadata, line, dialect, logged))
    return end


def _note_malformed(piece: _Piece, text: str, at: int, line: int) -> None:
    piece.malformed += 1
    if piece.malformed == 1:
        end = LINE_END.search(text, at)
        stop = min(end.start() if end else len(text), at + QUOTED_CHARACTERS)
        piece.first_malformed = (line, text[at:stop])
