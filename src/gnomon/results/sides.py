"""The sides of a comparison: which runs repeat each other, and what else differs between two sides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.environment import differences
from gnomon.core.run import Run
from gnomon.loadgen.find_peak import is_probe
from gnomon.results.mobile_device import Backend, backend_of
from gnomon.results.system_label import says_precision, system_label


@dataclass(frozen=True)
class Side:
    """Runs of the same system under the same settings in the same environment.

    Attributes:
        label: `A` for the baseline, then `B`, `C`, ...
        system: What the system is called, and the options it was asked with.
        runs: Names of the run folders.
        verdict: In words; of the first run, the others having the same word.
        valid: Whether these runs may enter a claim. A run that is not VALID is a side of its own.
    """

    label: str
    system: str
    runs: tuple[str, ...]
    verdict: str
    valid: bool


@dataclass(frozen=True)
class Group:
    """A side with its runs."""

    side: Side
    runs: tuple[Run, ...]

    def measurement(self, name: str) -> list[dict[str, Any]]:
        """What each run has on record under this name, results only."""
        found = (run.measurements.get(name) for run in self.runs)
        return [stored for stored in found if stored is not None and stored["result"] is not None]


def grouped(runs: Sequence[Run]) -> tuple[list[Group], bool]:
    """The runs by side, and whether all would have been one side and were kept apart instead."""
    members: list[list[Run]] = []
    for run in runs:
        for group in members:
            if _alike(group[0], run):
                group.append(run)
                break
        else:
            members.append([run])
    repeated = len(members) == 1
    if repeated:
        members = [[run] for run in runs]
    return [
        Group(_side(place, group), tuple(group)) for place, group in enumerate(members)
    ], repeated


def _side(place: int, runs: Sequence[Run]) -> Side:
    verdict = runs[0].verdict
    label = chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "")
    return Side(
        label=label,
        system=_system_of(runs[0]),
        runs=tuple(run.path.name for run in runs),
        verdict=str(verdict) if runs[0].status == "complete" else f"{verdict} ({runs[0].status})",
        valid=verdict.valid,
    )


def _system_of(run: Run) -> str:
    asked = run.record.get("asked_system") or {}
    said = {"precision"} if says_precision(run.record) else set()
    options = asked.get("options", {}).items()
    shown = [f"{name}={value}" for name, value in options if name not in said]
    return " ".join([system_label(run.record), *shown])


def _alike(run: Run, other: Run) -> bool:
    """Whether two runs repeat each other: nothing that lasts differs on record."""
    if not (run.verdict.valid and other.verdict.valid):
        return False
    keys = ("benchmark", "rules", "data", "gnomon_version")
    return (
        _lasting_system(run) == _lasting_system(other)
        and all(run.record[key] == other.record[key] for key in keys)
        and not differences(run.record["environment"], other.record["environment"])
        and settings_of(run) == settings_of(other)
    )


def _lasting_system(run: Run) -> dict[str, Any]:
    """The system without what a browser found when it was asked, which has times in it."""
    system: dict[str, Any] = run.record["system"]
    described = {key: value for key, value in system["description"].items() if key != "probes"}
    return {**system, "description": described}


def settings_of(run: Run) -> dict[str, dict[str, Any]]:
    """By measurement: its settings as they were asked for, but for what a repetition may change.

    A rate that was searched for is a result.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, stored in run.measurements.items():
        if run.record["protocol"] == "fleet":
            found[name] = _whatever_the_seed(stored["settings"])
        elif not is_probe(name):
            settings = {**stored["settings"], "workers": run.record["options"].get("workers", 1)}
            if stored.get("probes"):
                settings["target_qps"] = "the peak"
            found[name] = settings
    return found


def _whatever_the_seed(settings: dict[str, Any]) -> dict[str, Any]:
    """Federations that differ in their seed alone repeat each other."""
    rest = {key: value for key, value in settings["settings"].items() if key != "seed"}
    return {**settings, "settings": rest}


def names_of(baseline: Group, candidate: Group) -> list[str]:
    """Measurements to compare: those of both, or of either where one is not VALID."""
    ours, theirs = (
        dict.fromkeys(name for run in group.runs for name in settings_of(run))
        for group in (baseline, candidate)
    )
    if baseline.side.valid and candidate.side.valid:
        return [name for name in ours if name in theirs]
    return list(ours | theirs)


def warnings(baseline: Group, candidate: Group) -> list[str]:
    """What differs on record between two sides, besides their systems."""
    ours, theirs = baseline.runs[0], candidate.runs[0]
    label, other = baseline.side.label, candidate.side.label
    found = []
    for what, key in (("rules", "rules"), ("gnomon version", "gnomon_version")):
        if ours.record[key] != theirs.record[key]:
            found.append(f"{what}: {label} {ours.record[key]}, {other} {theirs.record[key]}")
    if ours.record["data"]["sha256"] != theirs.record["data"]["sha256"]:
        found.append(
            f"data: {label} {ours.record['data']['sha256'][:12]}, {other} "
            f"{theirs.record['data']['sha256'][:12]}: not the same samples"
        )
    if says_precision(ours.record) or says_precision(theirs.record):
        found += _set_up_apart(baseline, candidate)
    if ours.record["benchmark"] != theirs.record["benchmark"]:
        apart = [
            path for path, *_ in differences(ours.record["benchmark"], theirs.record["benchmark"])
        ]
        found.append(
            f"benchmark declaration: {', '.join(apart)} differ between {label} and {other}"
        )
    left, right = settings_of(ours), settings_of(theirs)
    for name in left.keys() | right.keys():
        if name not in left or name not in right:
            only = label if name in left else other
            found.append(f"{name}: measured in {only} only")
            continue
        for key, value, value_other in differences(left[name], right[name]):
            found.append(
                f"{name}: {key} is {_text(value)} in {label}, {_text(value_other)} in {other}"
            )
    environment = differences(ours.record["environment"], theirs.record["environment"])
    if environment:
        words = "; ".join(f"{path}: {_text(a)}, {_text(b)}" for path, a, b in environment)
        found.append(f"environment of {label} and {other} differs: {words}")
    return sorted(found, key=lambda text: text.startswith("environment"))


def _set_up_apart(baseline: Group, candidate: Group) -> list[str]:
    """What differs in how two sides ran their models; their frameworks are in their names."""
    ours, theirs = (backend_of(group.runs[0]) for group in (baseline, candidate))
    label, other = baseline.side.label, candidate.side.label
    found = []
    if ours.precision != theirs.precision:
        found.append(
            f"precision: {label} {ours.precision or 'unknown'}, {other} "
            f"{theirs.precision or 'unknown'}: a difference in speed is one between two models"
        )
    if ours.model_sha256 != theirs.model_sha256:
        found.append(f"model: {label} {_file(ours)}, {other} {_file(theirs)}: not the same file")
    for key in ("provider", "threads"):
        value, value_other = getattr(ours, key), getattr(theirs, key)
        if value != value_other:
            found.append(f"{key}: {label} {value or 'unknown'}, {other} {value_other or 'unknown'}")
    return found


def _file(backend: Backend) -> str:
    return f"{backend.model or 'unknown'} (sha256 {backend.model_sha256[:12] or 'unknown'})"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "nothing" if value is None else json.dumps(value).strip('"')
