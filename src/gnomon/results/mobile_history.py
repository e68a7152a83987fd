"""The history of mobile results: an index over run folders and imported result files.

The index is `OUT/.mobile/history.sqlite3`. It holds nothing that is not elsewhere: it is made again from
run folders and from `OUT/.mobile/imported/` whenever it is missing, of another version or damaged. Two
processes may use it.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from gnomon.core.errors import GnomonError, RunFolderError, SettingsError, UnknownNameError
from gnomon.core.run import RUN_FILE, Run
from gnomon.results.mobile_file import read_result_file
from gnomon.results.mobile_rows import CHECKED, MEASURED, ResultRow, rows_of_claim, rows_of_run
from gnomon.suites.mobile import SUITE

STATE_FOLDER = ".mobile"
IMPORTED_FOLDER = "imported"
DATABASE = "history.sqlite3"
VERSION = 1
"""Of the tables; an index of another version is made again."""
BUSY_S = 20.0
COLUMNS = tuple(field.name for field in fields(ResultRow))
SORTED_BY = (
    "started_at",
    "device",
    "platform",
    "framework",
    "benchmark",
    "p90_ns",
    "throughput",
    "quality",
    "grade",
)
HIGHEST_FIRST = ("started_at", "throughput", "quality", "grade")
"""Of these columns, those that a reader wants from the highest down."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLITE_ERROR: a table or column that should be there is not."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Wanted:
    """Which rows. What is empty asks for nothing; text is a part of the value, in any case.

    Attributes:
        device: Part of the device's name.
        framework: Part of what ran the model, browser included.
        task: Part of the benchmark's name or title.
        platform: The platform.
        since: First day, `YYYY-MM-DD`, in UTC.
        until: Last day, the same.
    """

    device: str = ""
    framework: str = ""
    task: str = ""
    platform: str = ""
    since: str = ""
    until: str = ""


class History:
    """The results under one folder of runs."""

    def __init__(self, out: Path | str) -> None:
        self.out = Path(out)
        self.imported = self.out / STATE_FOLDER / IMPORTED_FOLDER
        self._path = self.out / STATE_FOLDER / DATABASE

    def refresh(self) -> tuple[str, ...]:
        """Look at what is new, changed or gone on disk.

        Returns:
            What could not be read, and whether the index had to be made again: one line each.

        Raises:
            RunFolderError: The index cannot be written.
        """
        notes: list[str] = []
        self._healed(lambda: self._index(notes), notes)
        return tuple(dict.fromkeys(notes))

    def rows(
        self,
        wanted: Wanted | None = None,
        *,
        sort: str = "started_at",
        descending: bool = True,
        limit: int = -1,
    ) -> list[ResultRow]:
        """The rows that are wanted, in order; what has no value comes last.

        Raises:
            UnknownNameError: `sort` is none of `SORTED_BY`.
            SettingsError: A day that is none.
        """
        if sort not in SORTED_BY:
            raise UnknownNameError("column", sort, SORTED_BY)
        where, values = _conditions(wanted or Wanted())
        order = "DESC" if descending else "ASC"
        return self._select(
            f"{where} ORDER BY {sort} IS NULL, {sort} {order}, started_at DESC, benchmark, "
            f"scenario DESC LIMIT ?",
            [*values, limit],
        )

    def of(self, name: str) -> list[ResultRow]:
        """The rows of a run, a session or a device, by its whole name; newest first."""
        return self._select(
            "WHERE run = ? OR session = ? OR device = ? ORDER BY started_at DESC, benchmark, scenario DESC",
            [name, name, name],
        )

    def run_folder(self, run: str) -> Path | None:
        """The folder of a run that is in the history."""
        rows = self._select("WHERE run = ? AND folder != '' LIMIT 1", [run])
        return self.out / rows[0].folder if rows else None

    def values(self, column: str) -> list[str]:
        """What stands in a column, each value once."""
        if column not in COLUMNS:
            raise UnknownNameError("column", column, COLUMNS)
        statement = f"SELECT DISTINCT {column} FROM results ORDER BY 1"
        found = self._healed(lambda: self._with(lambda db: db.execute(statement).fetchall()), [])
        return [value for (value,) in found]

    def _select(self, clauses: str, values: list[Any]) -> list[ResultRow]:
        statement = f"SELECT {', '.join(COLUMNS)} FROM results {clauses}"
        found = self._healed(
            lambda: self._with(lambda db: db.execute(statement, values).fetchall()), []
        )
        rows = (dict(zip(COLUMNS, row, strict=True)) for row in found)
        return [ResultRow(**row | {"official": bool(row["official"])}) for row in rows]

    def _index(self, notes: list[str]) -> None:
        """Bring the index up to what is on disk."""
        stamps = {path: _stamp(self.out / path) for path in self._sources()}
        known: dict[str, str] = self._with(
            lambda db: dict(db.execute("SELECT path, stamp FROM sources").fetchall())
        )
        made: dict[str, list[ResultRow]] = {}
        for path, stamp in stamps.items():
            if stamp == known.get(path):
                continue
            try:
                made[path], settled = self._read(path)
            except GnomonError as error:
                notes.append(str(error))
                made[path], settled = [], False
            if not settled:  # it is looked at again next time
                stamps[path] = ""
        gone = known.keys() - stamps.keys()
        if made or gone:
            self._with(lambda db: _replace(db, made, stamps, gone))

    def _sources(self) -> Iterator[str]:
        """Every file that rows are made from, relative to the folder of runs."""
        for pattern in (
            f"*/{RUN_FILE}",
            f"{STATE_FOLDER}/{IMPORTED_FOLDER}/*/runs/*/{RUN_FILE}",
            f"{STATE_FOLDER}/{IMPORTED_FOLDER}/*.json",
        ):
            for path in self.out.glob(pattern):
                yield path.relative_to(self.out).as_posix()

    def _read(self, path: str) -> tuple[list[ResultRow], bool]:
        """The rows of one file, and whether it will not change by itself."""
        whole = self.out / path
        if whole.name != RUN_FILE:
            return list(rows_of_claim(read_result_file(whole))), True
        run = Run.open(whole)
        source = CHECKED if path.startswith(STATE_FOLDER) else MEASURED
        try:
            if run.record["benchmark"]["suite"] != SUITE or run.record["protocol"] != "load":
                return [], True
            folder = whole.parent.relative_to(self.out).as_posix()
            return list(rows_of_run(run, source, folder)), run.status != "running"
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            raise RunFolderError(f"{whole} is damaged: left out of the history") from None

    def _healed(self, act: Callable[[], Found], notes: list[str]) -> Found:
        """Do something with the index; if it is damaged, make it again first."""
        try:
            return act()
        except _Damaged:
            self._start_again()
            notes.append(f"the history {self._path} was damaged: it is made again from the runs")
        try:
            self._index(notes)
            return act()
        except _Damaged as error:
            raise RunFolderError(str(error)) from None

    def _with(self, act: Callable[[sqlite3.Connection], Found]) -> Found:
        try:
            with self._connected() as db:
                return act(db)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            kind = _Damaged if code in _DAMAGED else RunFolderError
            raise kind(
                f"the history {self._path} cannot be used ({error}): see that its folder can be written and "
                f"that no other program holds it"
            ) from None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        if not self.out.is_dir():  # nothing was measured: looking leaves nothing behind
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
                _make_tables(db)
                yield db
            return
        try:
            self._path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot write {self._path.parent}: {error.strerror}") from None
        with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as db:
            if db.execute("PRAGMA user_version").fetchone() != (VERSION,):
                with self._alone():
                    _make_tables(db)
            yield db

    def _start_again(self) -> None:
        """Do away with a damaged index, unless another process has done so."""
        with self._alone():
            try:
                with closing(sqlite3.connect(self._path, timeout=BUSY_S)) as db:
                    sound = db.execute("PRAGMA quick_check").fetchone() == ("ok",)
                    db.execute(f"SELECT {', '.join(COLUMNS)} FROM results LIMIT 1")
                    db.execute("SELECT path, stamp FROM sources LIMIT 1")
            except sqlite3.Error:
                sound = False
            if not sound:
                for ending in ("", "-wal", "-shm"):
                    self._path.with_name(DATABASE + ending).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process makes the tables."""
        with self._path.with_name("history.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """The index is no database, or not with our tables."""


def _make_tables(db: sqlite3.Connection) -> None:
    """Start with no rows: whatever older version was there is made again from the runs."""
    if db.execute("PRAGMA user_version").fetchone() == (VERSION,):
        return  # another process was first
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(
        f"""
        BEGIN IMMEDIATE;
        DROP TABLE IF EXISTS results;
        DROP TABLE IF EXISTS sources;
        CREATE TABLE sources (path TEXT PRIMARY KEY, stamp TEXT NOT NULL);
        CREATE TABLE results (path TEXT NOT NULL, {", ".join(COLUMNS)});
        CREATE INDEX results_by_path ON results (path);
        PRAGMA user_version = {VERSION};
        COMMIT;
        """
    )


def _replace(
    db: sqlite3.Connection,
    made: Mapping[str, Sequence[ResultRow]],
    stamps: Mapping[str, str],
    gone: Iterable[str],
) -> None:
    """Put the rows of these files in the place of those they had, all at once."""
    marks = ", ".join("?" * (len(COLUMNS) + 1))
    db.execute("BEGIN IMMEDIATE")
    try:
        for path in (*gone, *made):
            db.execute("DELETE FROM results WHERE path = ?", [path])
            db.execute("DELETE FROM sources WHERE path = ?", [path])
        for path, rows in made.items():
            db.execute("INSERT INTO sources VALUES (?, ?)", [path, stamps[path]])
            db.executemany(
                f"INSERT INTO results VALUES ({marks})", [(path, *astuple(row)) for row in rows]
            )
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _stamp(path: Path) -> str:
    """What changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def _conditions(wanted: Wanted) -> tuple[str, list[str]]:
    """The clause of a statement, and its values."""
    clauses, values = [], []
    for columns, text in (
        (("device",), wanted.device),
        (("framework", "browser"), wanted.framework),
        (("benchmark", "title"), wanted.task),
    ):
        if text:
            place = " || ' ' || ".join(columns)
            clauses.append(f"instr(lower({place}), lower(?)) > 0")
            values.append(text)
    if wanted.platform:
        clauses.append("platform = lower(?)")
        values.append(wanted.platform)
    if wanted.since:
        clauses.append("started_at >= ?")
        values.append(_day("since", wanted.since).isoformat())
    if wanted.until:
        clauses.append("started_at < ?")
        values.append((_day("until", wanted.until) + timedelta(days=1)).isoformat())
    return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--{name} {text!r} is no day: write it as 2026-01-31") from None
