"""Sessions of pages become run folders: what a page may send next, what it is told, and what goes on record.

One thread at a time works on a session; `session_routes.py` sees to that. Answers are made from what is on
disk: the same request gives the same answer, also from a server that was restarted in between.
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnomon.core.environment import capture
from gnomon.core.errors import GnomonError
from gnomon.core.run import Run
from gnomon.core.verdict import Verdict
from gnomon.core.version import __version__
from gnomon.loadgen.condition_checks import grade
from gnomon.loadgen.judge import ACCURACY, judge_test
from gnomon.loadgen.options import LoadOptions, profile_of
from gnomon.loadgen.remote import Elsewhere, RemoteRun
from gnomon.web.asked import AskedRun
from gnomon.web.catalogue import Catalogue, Offered
from gnomon.web.refusal import Refused
from gnomon.web.returned import returned_of
from gnomon.web.runtime_package import PACKAGE
from gnomon.web.session_state import (
    RunState,
    SessionState,
    TestState,
    load_session,
    save_session,
)
from gnomon.web.upload import Upload
from gnomon.web.witness import witnessed

ENDED = ("complete", "aborted")
MOST_OPEN = 64
"""Runs that are held open at once; others are gone on with when their page comes back."""
LEAST_FREE_BYTES = 1 << 30
"""Nothing is taken onto a disk that has less room: this machine needs some for itself."""


@dataclass
class _Begun:
    """A run in this process, and when it began by the clock that nobody sets."""

    remote: RemoteRun
    began_monotonic_s: float | None


class Campaign:
    """All sessions whose runs go to one folder.

    Attributes:
        catalogue: What can be measured.
        out: Where run folders go.
    """

    def __init__(self, catalogue: Catalogue, out: Path, state_folder: Path) -> None:
        self.catalogue = catalogue
        self.out = out
        self._folder = state_folder
        self._open: OrderedDict[tuple[str, str], _Begun] = OrderedDict()

    def begin(self, session: str, key: str, benchmark: str, asked: AskedRun) -> dict[str, Any]:
        """Begin the run of a benchmark, or say how the one that was begun stands.

        Raises:
            Refused: Another page's session, or other conditions than those it was begun with.
            GnomonError: What is asked for does not exist, or the folder cannot be written.
        """
        state = load_session(self._folder, session)
        if state is None:
            state = SessionState(key_sha256=_sha256(key))
        _require_key(state, key)
        offered = self.catalogue.of(benchmark)
        offered.settings(asked.mode, ACCURACY)
        told = asked.identity()
        found = state.runs.get(benchmark)
        if found is not None:
            if found.asked != told:
                was = ", ".join(found.asked.values())
                raise Refused(
                    409,
                    f"this session measures {benchmark} as {was}: start a new session for others",
                )
            return {"run": found.run, "tests": self._standing_of(found)}
        self._require_room()
        remote = RemoteRun.begin(
            offered.benchmark,
            LoadOptions(rules=asked.mode),
            Elsewhere(PACKAGE, asked.description(offered)),
            self.out,
            extra={
                "session": session,
                "environment": {**capture(), "device": asked.device_told()},
            },
        )
        run = RunState(run=remote.path.name, asked=told, began_at=time.time())
        state.runs[benchmark] = run
        self._open[session, benchmark] = _Begun(remote, time.monotonic())
        save_session(self._folder, session, state)
        return {"run": run.run, "tests": {}}

    def record(
        self, session: str, key: str, benchmark: str, upload: Upload, sha256: str
    ) -> dict[str, Any]:
        """Put a test on record and judge it; the same bytes again give the same answer.

        Args:
            session: Its id.
            key: Of the page.
            benchmark: Whose run it is.
            upload: The test.
            sha256: Of the bytes that it was read from.

        Raises:
            Refused: Unknown, ended, on record with other results, or impossible.
            GnomonError: It does not fit the test, or the folder cannot be written.
        """
        state, run = self._known(session, key, benchmark)
        offered = self.catalogue.of(benchmark)
        name = upload.test
        settings = offered.settings(run.asked["mode"], name)
        if name in self._recorded(run):
            if name not in run.tests or run.tests[name].sha256 != sha256:
                raise Refused(
                    409,
                    f"test {name!r} is on record with other results: a run keeps its first; start a new "
                    f"session to measure again",
                )
            return self._answer(offered, run, name)
        if self._has_ended(run):
            raise Refused(409, f"the run of {benchmark} has ended: start a new session")
        begun = self._opened(session, benchmark, run)
        self._require_room()
        upload, in_sight_s = witnessed(upload, state, run, self._began_monotonic_s(session))
        returned = returned_of(offered, settings, upload, run.asked["precision"])
        run.tests[name] = TestState(
            sha256=sha256, ended_at=upload.ended_at.timestamp(), in_sight_s=in_sight_s
        )
        save_session(self._folder, session, state)  # before the record, which it has to explain
        try:
            begun.remote.record(name, returned)
        except GnomonError:
            del run.tests[name]
            save_session(self._folder, session, state)
            raise
        if begun.remote.recorded >= begun.remote.tests.keys():
            # A page that is closed now has still measured everything; what fails is tried again by `end`.
            with suppress(GnomonError):
                self._close(session, state, benchmark, run, "")
        return self._answer(offered, run, name)

    def end(self, session: str, key: str, benchmark: str, reason: str) -> dict[str, Any]:
        """Close the run with its verdict; where it has one, only say it again.

        Raises:
            Refused: Unknown.
            GnomonError: The folder cannot be read or written.
        """
        state, run = self._known(session, key, benchmark)
        return run.ending or self._close(session, state, benchmark, run, reason)

    def standing(self, session: str, key: str) -> dict[str, Any]:
        """How every run of the session stands.

        Raises:
            Refused: Unknown.
        """
        state = self._session(session, key)
        return {
            "runs": {
                benchmark: {
                    "run": run.run,
                    "tests": self._standing_of(run),
                    "ended": run.ending is not None,
                    "grade": run.ending["grade"] if run.ending else None,
                }
                for benchmark, run in state.runs.items()
            }
        }

    def finished_runs(self, session: str, key: str) -> list[Run]:
        """The runs of the session that have ended.

        Raises:
            Refused: Unknown.
        """
        state = self._session(session, key)
        return [Run.open(self.out / run.run) for run in state.runs.values() if run.ending]

    def close(self) -> None:
        """Let go of every run; each is gone on with when its page comes back."""
        for begun in self._open.values():
            begun.remote.suspend()
        self._open.clear()

    def let_go(self, session: str) -> None:
        """Let go of a session's runs until its page comes back."""
        for place in list(self._open):
            if place[0] == session:
                self._open.pop(place).remote.suspend()

    def idlest(self) -> str | None:
        """The session that was heard of longest ago, if more runs are open than need be."""
        places = list(self._open)
        return places[0][0] if len(places) > MOST_OPEN else None

    def _close(
        self, session: str, state: SessionState, benchmark: str, run: RunState, reason: str
    ) -> dict[str, Any]:
        if self._has_ended(run):  # the server was stopped before it could say so
            verdict = Run.open(self.out / run.run).verdict
        else:
            verdict = self._opened(session, benchmark, run).remote.end(reason)
        self._open.pop((session, benchmark), None)
        run.ending = _ending(run.run, verdict)
        save_session(self._folder, session, state)
        return run.ending

    def _session(self, session: str, key: str) -> SessionState:
        state = load_session(self._folder, session)
        if state is None:
            raise Refused(404, f"no session {session}: begin a run first")
        _require_key(state, key)
        return state

    def _known(self, session: str, key: str, benchmark: str) -> tuple[SessionState, RunState]:
        state = self._session(session, key)
        if benchmark not in state.runs:
            raise Refused(404, f"this session has no run of {benchmark!r}: begin it first")
        return state, state.runs[benchmark]

    def _recorded(self, run: RunState) -> list[str]:
        """The tests that are on record, whatever this server remembers of them."""
        measurements = Run.open(self.out / run.run).measurements
        return [
            name
            for name, stored in measurements.items()
            if stored["result"] is not None or stored["faults"]
        ]

    def _standing_of(self, run: RunState) -> dict[str, str]:
        return dict.fromkeys(self._recorded(run), "recorded")

    def _has_ended(self, run: RunState) -> bool:
        return Run.open(self.out / run.run).record["status"] in ENDED

    def _opened(self, session: str, benchmark: str, run: RunState) -> _Begun:
        """The run, from this process or from disk."""
        place = session, benchmark
        begun = self._open.get(place)
        if begun is None:
            path = self.out / run.run
            made_by = Run.open(path).record["gnomon_version"]
            if made_by != __version__:
                raise Refused(
                    409,
                    f"this run was begun by gnomon {made_by}, and this is {__version__}: start a new session",
                )
            begun = self._open[place] = _Begun(RemoteRun.reopen(path), None)
        self._open.move_to_end(place)
        return begun

    def _answer(self, offered: Offered, run: RunState, name: str) -> dict[str, Any]:
        """What a page is told of a test on record: made from the record, every time."""
        path = self.out / run.run
        opened = Run.open(path)
        profile = profile_of(offered.benchmark, opened.record["rules"])
        judged = judge_test(
            path / name,
            name,
            opened.measurements[name],
            offered.benchmark,
            offered.task,
            profile,
        )
        return {
            "result": judged.result,
            "checks": [asdict(check) for check in judged.checks],
            "grade": grade(Verdict(profile.name, tuple(judged.checks))),
        }

    def _began_monotonic_s(self, session: str) -> dict[str, float]:
        """By benchmark: when its run began, where that was in this process."""
        return {
            benchmark: begun.began_monotonic_s
            for (whose, benchmark), begun in self._open.items()
            if whose == session and begun.began_monotonic_s is not None
        }

    def _require_room(self) -> None:
        """Take nothing more before the disk is full.

        Raises:
            Refused: The page keeps what it has, and sends it again.
        """
        free_bytes = shutil.disk_usage(self.out).free
        if free_bytes < LEAST_FREE_BYTES:
            raise Refused(
                507, f"the server has only {free_bytes >> 20} MiB of room left: make room on it"
            )


def _ending(run: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "run": run,
        "verdict": str(verdict),
        "remark": verdict.remark,
        "grade": grade(verdict),
        "checks": [asdict(check) for check in verdict.checks],
    }


def _require_key(state: SessionState, key: str) -> None:
    if not hmac.compare_digest(state.key_sha256, _sha256(key)):
        raise Refused(403, "this session belongs to another page: start a new one")


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
