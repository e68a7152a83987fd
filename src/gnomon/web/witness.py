"""What this machine saw of a test that a page measured in its sight: whether so much time has passed at all.

`campaign.py` asks before a test goes on record. What is seen goes there as `Conditions.witness`, which
`loadgen/condition_checks.py` judges.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gnomon.loadgen.condition_checks import SLACK_S
from gnomon.loadgen.conditions import Witness
from gnomon.web.refusal import Refused
from gnomon.web.session_state import RunState, SessionState, TestState
from gnomon.web.upload import Upload


def witnessed(
    upload: Upload, state: SessionState, run: RunState, began_monotonic_s: Mapping[str, float]
) -> tuple[Upload, float | None]:
    """A test with what this machine saw of it, and what it claims of the time that passed in its sight.

    Args:
        upload: The test.
        state: Its session.
        run: Its run in the session.
        began_monotonic_s: By benchmark: when runs of the session began by the clock that nobody sets; those
            that began in this process.

    Raises:
        Refused: It claims more than passed.
    """
    told = upload.conditions
    if told is None:
        return upload, None
    others = [
        test
        for each in state.runs.values()
        for name, test in each.tests.items()
        if (each.run, name) != (run.run, upload.test)
    ]
    told = told.model_copy(update={"cooldown_s": _rested_s(upload, others)})
    if not told.online:
        return replace(upload, conditions=told), None
    before_s = [test.in_sight_s for test in others if test.in_sight_s is not None]
    # The rest before the first one may have been before the server was told of anything.
    own_s = upload.duration_s + (told.cooldown_s or 0.0 if before_s else 0.0)
    witness = Witness(
        claimed_s=sum(before_s) + own_s, passed_s=_passed_s(state, run, began_monotonic_s)
    )
    if witness.claimed_s > witness.passed_s + SLACK_S:
        raise Refused(
            422,
            f"the tests and the rest between them are said to have lasted {witness.claimed_s:.1f} s, "
            f"and {witness.passed_s:.1f} s have passed: that cannot be; measure again in a new session",
        )
    told = told.model_copy(update={"witness": witness})
    return replace(upload, conditions=told), own_s


def _rested_s(upload: Upload, others: Sequence[TestState]) -> float | None:
    """The rest before a test: never more than the page's own times leave since the tests before it."""
    assert upload.conditions is not None
    told_s = upload.conditions.cooldown_s
    if not others:
        return told_s
    room_s = upload.started_at.timestamp() - max(test.ended_at for test in others)
    return max(0.0, min(room_s, told_s or 0.0))  # whoever says that it was the first has not rested


def _passed_s(state: SessionState, run: RunState, began_monotonic_s: Mapping[str, float]) -> float:
    """Since the first run of the session began that has a test in sight, as `run` is about to have."""
    seen = {
        benchmark: each
        for benchmark, each in state.runs.items()
        if each is run or any(test.in_sight_s is not None for test in each.tests.values())
    }
    first = min(seen, key=lambda benchmark: seen[benchmark].began_at)
    passed_s = time.time() - seen[first].began_at
    if first in began_monotonic_s:
        passed_s = max(
            passed_s, time.monotonic() - began_monotonic_s[first]
        )  # the other may be set
    return max(0.0, passed_s)
