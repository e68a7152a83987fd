"""The run folder: everything a stranger needs to believe, or doubt, a number.

    RUN/
      run.json             what was asked, the machine, results, verdict (written whole, atomically)
      lock                 held while the run goes on; a free lock on a running run means it was killed
      MEASUREMENT/         one folder a measurement (`server`, `accuracy`): logs and raw samples
      unfinished/          what tests had left that were measured anew when the run was resumed
      report.html

`RunWriter` makes one while a run goes on; `Run` reads one back, in whatever state it was left.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from gnomon.core.errors import RunFolderError, UsageError, described
from gnomon.core.files import write_atomically
from gnomon.core.verdict import Check, Verdict

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
LOCK_FILE = "lock"
ASIDE_FOLDER = "unfinished"

_HELD: WeakSet[IO[bytes]] = WeakSet()


def _let_go() -> None:
    """A forked child holds no lock: it may outlive the run, which would then never read as aborted."""
    for lock in list(_HELD):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True)
class Run:
    """A run as it stands on disk.

    Attributes:
        path: The run folder.
        record: The whole of `run.json`.
        status: `complete`, `aborted` (stopped by a person, a fault or a kill) or `running`.
    """

    path: Path
    record: dict[str, Any] = field(repr=False)
    status: str

    @property
    def id(self) -> str:
        """The folder's name as it was made."""
        return str(self.record["id"])

    @property
    def verdict(self) -> Verdict:
        """The verdict; a run that did not complete is never valid."""
        stored = self.record.get("verdict")
        verdict = Verdict.from_json(stored) if stored else Verdict(self.record["rules"], ())
        if self.status == "complete":
            return verdict
        if any(check.name == "completed" for check in verdict.failures):
            return verdict
        reason = self.record.get("aborted_because") or "the process was killed"
        unfinished = Check(
            "completed", False, self.status, "complete", f"{reason}: run it again", ""
        )
        return replace(verdict, checks=(unfinished, *verdict.checks))

    @property
    def measurements(self) -> dict[str, dict[str, Any]]:
        """By name: settings, result and faults of each measurement, as stored."""
        return dict(self.record.get("measurements", {}))

    @property
    def result(self) -> dict[str, dict[str, Any]]:
        """By measurement name: the figures."""
        return {
            name: stored["result"]
            for name, stored in self.measurements.items()
            if stored.get("result") is not None
        }

    @property
    def samples(self) -> dict[str, Any]:
        """By measurement name: the raw samples, as the protocol reads them from the folder."""
        from gnomon.core.registry import PROTOCOLS

        protocol = PROTOCOLS.load(self.record["protocol"])
        return {name: protocol.read_samples(self, name) for name in self.measurements}

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Read a run folder, finished or not.

        Raises:
            RunFolderError: There is no run there, or it was made by a newer version.
        """
        path = Path(path)
        if path.name == RUN_FILE:
            path = path.parent
        record = _read_record(path / RUN_FILE)
        if record["status"] == "running" and not _is_locked(path / LOCK_FILE):
            record = _read_record(path / RUN_FILE)  # it may have ended since
            if record["status"] == "running":
                return cls(path, record, "aborted")
        return cls(path, record, record["status"])


class RunWriter:
    """A run in progress. Use as a context manager: leaving it by an exception marks it aborted.

    `create` starts a new one, `reopen` goes on with one that did not come to its end.
    """

    def __init__(self, path: Path, record: dict[str, Any], lock: IO[bytes]) -> None:
        self.path = path
        self.record = record
        self._lock = lock
        _HELD.add(lock)

    @classmethod
    def create(cls, out: Path | str, name: str, record: Mapping[str, Any]) -> RunWriter:
        """Make the folder of a new run.

        Args:
            out: Where run folders go; made if missing.
            name: Goes into the folder's name.
            record: What is known before the start: benchmark, system, rules, options, environment.

        Raises:
            RunFolderError: `out` cannot be written.
        """
        started = datetime.now(UTC)
        plain_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")  # a system may be a lambda
        # Milliseconds, so that names sort in the order of starting.
        when = f"{started:%Y%m%dT%H%M%S}.{started.microsecond // 1000:03d}Z"
        run_id = f"{when}-{plain_name}-{secrets.token_hex(4)}"
        path = Path(out) / run_id
        whole = {
            "schema_version": SCHEMA_VERSION,
            "id": run_id,
            "status": "running",
            "started_at": started.isoformat(timespec="milliseconds"),
            **record,
            "measurements": {},
        }
        try:
            path.mkdir(parents=True)
            lock = (path / LOCK_FILE).open("wb")
        except OSError as error:
            raise RunFolderError(
                f"cannot write to {out}: {error.strerror}; choose another folder with --out"
            ) from None
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer = cls(path, whole, lock)
        try:
            writer.save()
        except BaseException:
            lock.close()
            raise
        return writer

    @classmethod
    def reopen(cls, run: Run) -> RunWriter:
        """Go on with a run that was aborted; what it measured stays on record.

        Raises:
            UsageError: It is complete, or still running.
            RunFolderError: Its folder cannot be written.
        """
        try:
            lock = (run.path / LOCK_FILE).open("ab")
        except OSError as error:
            raise RunFolderError(f"cannot write to {run.path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UsageError(_STILL_RUNNING.format(run.id)) from None
        try:
            # With the lock held nobody else writes: what stands there now is what is gone on with.
            record = _read_record(run.path / RUN_FILE)
            if record["status"] == "complete":
                raise UsageError(_COMPLETE.format(run.id))
            stop = {
                "resumed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "aborted_because": record.pop("aborted_because", "the process was killed"),
            }
            for key in ("finished_at", "verdict"):
                record.pop(key, None)
            record |= {"status": "running", "resumed": [*record.get("resumed", []), stop]}
            writer = cls(run.path, record, lock)
            writer.save()
        except BaseException:
            lock.close()
            raise
        return writer

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        try:
            if self.record["status"] == "running":
                if kind is KeyboardInterrupt:
                    self.abort("interrupted")
                else:
                    self.abort("stopped" if error is None else described(error))
        finally:
            self._lock.close()

    def measurement_path(self, name: str) -> Path:
        """The folder of one measurement, made if missing."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def set_aside(self, name: str) -> None:
        """Take an unfinished measurement off the record and keep what it left, out of the way."""
        left = self.path / name
        if left.exists():
            aside = self.path / ASIDE_FOLDER
            aside.mkdir(exist_ok=True)
            left.rename(aside / f"{name}-{len(list(aside.iterdir())) + 1}")
        self.record["measurements"].pop(name, None)
        self.save()

    def record_measurement(self, name: str, stored: Mapping[str, Any]) -> None:
        """Put a measurement's settings, result and faults on record."""
        self.record["measurements"][name] = dict(stored)
        self.save()

    def complete(self, verdict: Verdict) -> Run:
        """Finish the run with its verdict."""
        return self._finish("complete", verdict)

    def abort(self, reason: str, verdict: Verdict | None = None) -> Run:
        """End the run early, keeping what there is."""
        self.record["aborted_because"] = reason
        return self._finish("aborted", verdict)

    def _finish(self, status: str, verdict: Verdict | None) -> Run:
        self.record["status"] = status
        self.record["finished_at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        if verdict is not None:
            self.record["verdict"] = verdict.to_json()
        self.save()
        return Run(self.path, self.record, status)

    def release(self) -> None:
        """Let go of the folder and leave the run as it stands: `reopen` goes on with it."""
        self._lock.close()

    def save(self) -> None:
        """Write `run.json` whole."""
        text = json.dumps(self.record, indent=2, ensure_ascii=False) + "\n"
        try:
            write_atomically(self.path / RUN_FILE, text.encode())
        except OSError as error:
            raise RunFolderError(
                f"cannot write {self.path / RUN_FILE}: {error.strerror}; make room or choose another "
                f"folder with --out"
            ) from None


_COMPLETE = "run {} is complete: there is nothing to resume"
_STILL_RUNNING = "run {} is still running: wait for it, or stop it first"


def require_unfinished(run: Run) -> None:
    """Refuse to resume a run that is complete or still going on.

    Raises:
        UsageError: It is.
    """
    if run.status == "complete":
        raise UsageError(_COMPLETE.format(run.id))
    if run.status == "running":
        raise UsageError(_STILL_RUNNING.format(run.id))


def find_runs(out: Path | str) -> list[Path]:
    """The run folders under `out`, oldest first."""
    return sorted(path.parent for path in Path(out).glob(f"*/{RUN_FILE}"))


def _read_record(path: Path) -> dict[str, Any]:
    """A `run.json`, with a version and a status that can be read."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, status = record["schema_version"], record["status"]
        if not (isinstance(version, int) and isinstance(status, str)):
            raise ValueError
    except FileNotFoundError:
        raise RunFolderError(f"{path.parent} holds no {path.name}: not a run folder") from None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise RunFolderError(f"{path} is damaged: not a run record") from None
    if version > SCHEMA_VERSION:
        raise RunFolderError(
            f"{path} has schema version {version}, this is gnomon for version "
            f"{SCHEMA_VERSION}: upgrade gnomon"
        )
    return record


def _is_locked(path: Path) -> bool:
    """Whether some process holds the lock, that is, still runs."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
