"""Sessions of pages become run folders: what a page may send next, what it is told, and what goes on record.

One thread at a time works on a session; `session_routes.py` sees to that. Answers are made from what is on
disk: the same request gives the same answer, also from a server that was restarted in between.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnomon.core.environment import capture
from gnomon.core.files import write_atomically
from gnomon.core.run import Run
from gnomon.core.verdict import Verdict
from gnomon.core.version import __version__
from gnomon.loadgen.condition_checks import grade
from gnomon.loadgen.judge import ACCURACY, judge_test
from gnomon.loadgen.options import LoadOptions, profile_of
from gnomon.loadgen.remote import Elsewhere, RemoteRun
from gnomon.loadgen.settings import NS_PER_S
from gnomon.web.asked import AskedRun
from gnomon.web.catalogue import Catalogue, Offered
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

WITNESS_FILE = "witness.json"
ENDED = ("complete", "aborted")
MOST_OPEN = 64
"""Runs that are held open at once; others are gone on with when their page comes back."""
SLACK_NS = 2 * NS_PER_S
"""A page's clock, and the way from it, may be so much off before a test is called impossible."""


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is refused, with the status of HTTP that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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
        self._witness(session, run)
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
        _require_possible(run, begun, upload)
        returned = returned_of(offered, settings, upload)
        run.tests[name] = TestState(
            sha256=sha256, arrived_at=time.time(), duration_ns=upload.duration_ns
        )
        save_session(self._folder, session, state)  # before the record, which it has to explain
        begun.remote.record(name, returned)
        self._witness(session, run, name, upload)
        return self._answer(offered, run, name)

    def end(self, session: str, key: str, benchmark: str, reason: str) -> dict[str, Any]:
        """Close the run with its verdict; a second time it only says it again.

        Raises:
            Refused: Unknown.
            GnomonError: The folder cannot be read or written.
        """
        state, run = self._known(session, key, benchmark)
        if run.ending is None:
            if self._has_ended(run):  # the server was stopped before it could say so
                verdict = Run.open(self.out / run.run).verdict
            else:
                verdict = self._opened(session, benchmark, run).remote.end(reason)
            self._open.pop((session, benchmark), None)
            run.ending = _ending(run.run, verdict)
            save_session(self._folder, session, state)
        return run.ending

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

    def _witness(
        self, session: str, run: RunState, test: str = "", upload: Upload | None = None
    ) -> None:
        """Put beside the run what this machine's clock saw of it."""
        path = self.out / run.run / WITNESS_FILE
        told: dict[str, Any] = {"session": session, "began_at": run.began_at, "tests": {}}
        if path.exists():
            told = json.loads(path.read_bytes())
        if upload is not None:
            told["tests"][test] = {
                **run.tests[test].model_dump(),
                "warm_up_calls": upload.warm_up_calls,
            }
        write_atomically(path, (json.dumps(told, indent=2) + "\n").encode())


def _require_possible(run: RunState, begun: _Begun, upload: Upload) -> None:
    """Refuse tests that say they lasted longer than there was time, of a page that was there all along."""
    if not upload.conditions.online:
        return
    passed_s = time.time() - run.began_at
    if begun.began_monotonic_s is not None:  # this machine's clock may have been set
        passed_s = max(passed_s, time.monotonic() - begun.began_monotonic_s)
    claimed_ns = upload.duration_ns + sum(
        test.duration_ns for name, test in run.tests.items() if name != upload.test
    )
    if claimed_ns > passed_s * NS_PER_S + SLACK_NS:
        raise Refused(
            422,
            f"the tests are said to have lasted {claimed_ns / NS_PER_S:.1f} s, and the run began "
            f"{passed_s:.1f} s ago: that cannot be; measure again in a new session",
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
