"""Check a run again from its raw samples, or a log folder of another tool from its logs.

A run that is INVALID, aborted or does not agree with its own raw samples is never reported as fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.errors import GnomonError
from gnomon.core.protocol import Protocol
from gnomon.core.registry import PROTOCOLS
from gnomon.core.run import RUN_FILE, Run
from gnomon.core.task import make_task
from gnomon.core.verdict import Check, Verdict
from gnomon.loadgen.logs import DETAIL_FILE, SUMMARY_FILE
from gnomon.loadgen.read_logs import read_log_folder
from gnomon.results.held_again import against_model


@dataclass(frozen=True)
class Report:
    """What checking found.

    Attributes:
        path: The folder checked.
        verdict: Recomputed, never copied; for a foreign log folder, what its logs amount to.
        disagreements: Where the record says something else than the raw samples.
        results: By measurement: recomputed results.
        claim: Of a foreign log folder: what its logs say, in a line.
    """

    path: Path
    verdict: Verdict
    disagreements: tuple[str, ...]
    results: dict[str, dict[str, Any] | None]
    claim: str = ""

    @property
    def fine(self) -> bool:
        """VALID, and in agreement with itself."""
        return self.verdict.valid and not self.disagreements

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return {
            "path": str(self.path),
            "fine": self.fine,
            "verdict": self.verdict.to_json(),
            "disagreements": list(self.disagreements),
            "results": self.results,
        }


def check(path: Path) -> Report:
    """Check a run folder, or a folder of the field's logs.

    Raises:
        GnomonError: There is neither in `path`, or its raw samples cannot be read.
    """
    if not (path / RUN_FILE).exists() and any(
        (path / name).exists() for name in (DETAIL_FILE, SUMMARY_FILE)
    ):
        return _check_logs(path)
    return _check_run(Run.open(path))


def _check_run(run: Run) -> Report:
    protocol: Protocol = PROTOCOLS.load(run.record["protocol"])
    task = make_task(run.record["benchmark"]["task"], run.record.get("data_path"))
    disagreements: list[str] = []
    source = task.source()
    if source.sha256 != run.record["data"]["sha256"]:
        raise GnomonError(
            f"this run was measured on other data ({run.record['data']['name']}, sha256 "
            f"{run.record['data']['sha256'][:12]}) than task {task.name!r} has here "
            f"({source.sha256[:12]}): install the version it was made with, gnomon "
            f"{run.record['gnomon_version']}"
        )
    if bool(run.record["data"]["official"]) != source.official:
        disagreements.append("the record says otherwise than the task whether its data is official")
    again = protocol.recompute(run, task)
    disagreements += [*again.disagreements, *against_model(run, task, again.results)]
    verdict = again.verdict
    if run.status != "complete":
        verdict = Verdict(
            verdict.profile,
            (
                *(check for check in run.verdict.checks if check.name == "completed"),
                *verdict.checks,
            ),
            verdict.comparable,
            verdict.remark,
        )
        if verdict.valid:
            verdict = Verdict(
                verdict.profile,
                (
                    *verdict.checks,
                    Check("completed", False, run.status, "complete", "run it again"),
                ),
            )
    elif run.verdict.valid != verdict.valid:
        disagreements.append(
            f"the record says {run.verdict.word}, the raw samples say {verdict.word}"
        )
    elif run.verdict != verdict:
        disagreements.append(
            f"the verdict on record is another: {_difference(run.verdict, verdict)}"
        )
    return Report(run.path, verdict, tuple(disagreements), again.results)


def _difference(said: Verdict, found: Verdict) -> str:
    """Where two verdicts with the same word differ."""
    if str(said) != str(found) or said.remark != found.remark:
        return f"{said} ({said.remark or 'no remark'}), not {found} ({found.remark or 'no remark'})"
    names = {
        check.name
        for checks, others in ((said.checks, found.checks), (found.checks, said.checks))
        for check in checks
        if check not in others
    }
    return (
        f"it differs in {', '.join(sorted(names))}"
        if names
        else "its checks stand in another order"
    )


def _check_logs(path: Path) -> Report:
    """Another tool's logs: only what they claim can be held against the rules, and it is said so."""
    log = read_log_folder(path)
    checks = [
        Check(
            "claimed_validity",
            log.validity == "VALID" or (log.mode == "AccuracyOnly" and log.validity is None),
            str(log.validity or "not stated"),
            "VALID",
            "the logs themselves do not call this test valid",
        ),
        Check(
            "errors",
            not log.errors,
            f"{len(log.errors)} error(s)",
            "none",
            log.errors[0] if log.errors else "",
        ),
    ]
    remark = "not recomputed: these logs hold no raw samples"
    results: dict[str, dict[str, Any] | None] = {
        log.scenario: {
            "mode": log.mode,
            "metrics": dict(log.metrics),
            "settings": dict(log.settings),
        }
    }
    return Report(path, Verdict("claimed", tuple(checks), remark=remark), (), results, str(log))
