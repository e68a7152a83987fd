"""What recomputing a run is, whatever the protocol: its options on record, and its measurements in turn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from gnomon.core.errors import RunFolderError, UsageError, described
from gnomon.core.run import Run
from gnomon.core.verdict import Check

Options = TypeVar("Options", bound=BaseModel)


class Again(NamedTuple):
    """One measurement, judged again."""

    checks: list[Check]
    result: dict[str, Any] | None
    disagreements: Iterable[str]


class Whole(NamedTuple):
    """All measurements of a run, judged again."""

    checks: list[Check]
    results: dict[str, dict[str, Any] | None]
    disagreements: list[str]


def options_on_record(run: Run, model: type[Options]) -> Options:
    """The options of a run as they are on record.

    Raises:
        RunFolderError: They are not on record, or damaged.
    """
    try:
        return model.model_validate(run.record["options"])
    except (KeyError, ValidationError, UsageError) as error:
        raise RunFolderError(
            f"{run.path} does not say with which options it was run: {described(error)}"
        ) from None


def measurements_again(
    run: Run,
    judge: Callable[[str, Mapping[str, Any]], Again],
    *,
    rules: str,
    known: Collection[str],
    wanted: Collection[str],
    what: str,
) -> Whole:
    """Judge every measurement of a run again, and say where the record cannot be.

    Args:
        run: As it stands on disk.
        judge: One measurement, from its name and its entry in `run.json`.
        rules: The profile that the run's options choose.
        known: Names that a measurement of this protocol can have.
        wanted: Names that a complete run has on record.
        what: The kind of run, with its article (`a federation`).

    Raises:
        GnomonError: As `judge` does.
    """
    whole = Whole([], {}, [])
    if run.record["rules"] != rules:
        whole.disagreements.append(
            f"the record says {run.record['rules']} rules, its options {rules}"
        )
    for name, stored in run.measurements.items():
        if name not in known:
            whole.disagreements.append(f"{name}: {what} has no such measurement")
            continue
        if run.status == "complete" and stored.get("interrupted"):
            whole.disagreements.append(
                f"{name}: it was broken off, and the record says that it is complete"
            )
        found = judge(name, stored)
        whole.checks.extend(found.checks)
        whole.results[name] = found.result
        whole.disagreements.extend(found.disagreements)
    if run.status == "complete":
        whole.disagreements.extend(
            f"{name}: it is not on record" for name in wanted if name not in run.measurements
        )
    return whole
