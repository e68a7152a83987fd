"""The rule sets by name, and which round a log belongs to.

Rounds without a rule set of their own are judged by that of 5.1 as far as it goes, and the verdict says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from gnomon.core.errors import UnknownNameError
from gnomon.timetotrain.logs.entries import Dialect, TrainingLog
from gnomon.timetotrain.logs.rules import RuleSet
from gnomon.timetotrain.logs.rulesets import own, retired, round_0_5, round_0_6, round_5_1, round_6

RULESETS: dict[str, RuleSet] = {
    rules.name: rules
    for rules in (
        round_0_5.ROUND,
        round_0_6.ROUND,
        round_5_1.ROUND,
        round_6.ROUND_6_0,
        round_6.ROUND_6_1,
        own.ROUND,
    )
}


@dataclass(frozen=True)
class Round:
    """One round of the field.

    Attributes:
        name: `5.1.0`.
        published: The day its results were, so that logs of it are older; None if that is to come.
        benchmarks: What could be submitted (mlcommons/logging, benchmark_meta).
    """

    name: str
    published: date | None
    benchmarks: frozenset[str]


def _round(name: str, published: date | None, benchmarks: str) -> Round:
    return Round(name, published, frozenset(benchmarks.split()))


ROUNDS = (
    _round("0.5.0", date(2018, 12, 12), "resnet ssd maskrcnn gnmt transformer ncf minigo"),
    _round("0.6.0", date(2019, 7, 10), "resnet ssd maskrcnn gnmt transformer minigo"),
    _round(
        "0.7.0",
        date(2020, 7, 29),
        "bert dlrm gnmt maskrcnn minigo resnet ssd transformer",
    ),
    *(
        _round(name, day, "bert dlrm maskrcnn minigo resnet ssd rnnt unet3d")
        for name, day in (
            ("1.0.0", date(2021, 6, 30)),
            ("1.1.0", date(2021, 12, 1)),
            ("2.0.0", date(2022, 6, 29)),
            ("2.1.0", date(2022, 11, 9)),
        )
    ),
    _round(
        "3.0.0",
        date(2023, 6, 27),
        "bert dlrm_dcnv2 gpt3 maskrcnn resnet ssd rnnt unet3d",
    ),
    _round(
        "3.1.0",
        date(2023, 11, 8),
        "bert dlrm_dcnv2 gpt3 maskrcnn resnet ssd rnnt unet3d stable_diffusion",
    ),
    _round(
        "4.0.0",
        date(2024, 6, 12),
        "bert dlrm_dcnv2 gpt3 resnet ssd unet3d stable_diffusion llama2_70b_lora gnn",
    ),
    _round(
        "4.1.0",
        date(2024, 11, 13),
        "bert dlrm_dcnv2 gpt3 ssd stable_diffusion llama2_70b_lora gnn",
    ),
    _round(
        "5.0.0",
        date(2025, 6, 4),
        "bert dlrm_dcnv2 retinanet stable_diffusion llama2_70b_lora rgat llama31_405b",
    ),
    _round("5.1.0", date(2025, 11, 12), " ".join(round_5_1.CLOSED)),
    # Day of the field's usual schedule.
    _round("6.0.0", date(2026, 6, 30), " ".join(round_6.CLOSED_6_0)),
    _round("6.1.0", None, " ".join(round_6.CLOSED_6_1)),
)

ALIASES = {"mask": "maskrcnn"}
"""Other names that published logs and folders have for a benchmark."""

OFFICIAL_BENCHMARKS = frozenset().union(*(one.benchmarks for one in ROUNDS))

KNOWN_KEYS = frozenset().union(*(rules.keys for rules in RULESETS.values())) | {"seed"}
"""Every key that any rule set looks at."""


@dataclass(frozen=True)
class Applied:
    """The rules that a log is judged by.

    Attributes:
        rules: The rule set.
        why: Which it is and why, in words.
        exact: False if the log's own round has no rule set here and the nearest stands in.
    """

    rules: RuleSet
    why: str
    exact: bool = True


def applied_to(log: TrainingLog, ruleset: str | None = None) -> Applied:
    """The rule set that was asked for, or the one the log's dialect, benchmark and date tell.

    Raises:
        UnknownNameError: There is no such rule set or round.
    """
    if ruleset is not None:
        return _asked_for(ruleset)
    if log.dialect is Dialect.V05:
        return Applied(RULESETS["0.5.0"], "0.5.0: its entries are written as that round's")
    if log.dialect is Dialect.V06:
        return Applied(RULESETS["0.6.0"], "0.6.0: its entries are written as that round's")
    benchmark = log.benchmark
    if benchmark not in OFFICIAL_BENCHMARKS:
        named = f"{benchmark!r} is" if benchmark else "it names no benchmark, so it is"
        return Applied(RULESETS["gnomon"], f"gnomon: {named} no benchmark of the field's rounds")
    return _by_date(log, benchmark)


def _by_date(log: TrainingLog, benchmark: str) -> Applied:
    rounds = [one for one in ROUNDS[2:] if benchmark in one.benchmarks]
    names = ", ".join(one.name for one in rounds)
    start = log.first("run_start") or log.first("init_start")
    day = _day(start.time_ms) if start else None
    if day is None:
        chosen, when = rounds[-1], "it has no date, and that is the latest of them"
    else:
        open_then = [one for one in rounds if one.published is None or day <= one.published]
        chosen = open_then[0] if open_then else rounds[-1]
        when = f"it was written on {day.isoformat()}, " + (
            "before the results of that round" if open_then else "after the last of them"
        )
    why = f"{chosen.name}: {benchmark} is in round {names}; {when}"
    return _judged(chosen, why)


def _judged(chosen: Round, why: str) -> Applied:
    if chosen.name in RULESETS:
        return Applied(RULESETS[chosen.name], why)
    rules = retired.stand_in(chosen.name, chosen.benchmarks)
    said = (
        f"{why}; of {chosen.name} only names and targets are here, the rest is as in {rules.name}"
    )
    return Applied(rules, said, exact=False)


def _asked_for(ruleset: str) -> Applied:
    if ruleset in RULESETS:
        return Applied(RULESETS[ruleset], f"{ruleset}: asked for")
    chosen = next((one for one in ROUNDS if one.name == ruleset), None)
    if chosen is None:
        known = {*RULESETS, *(one.name for one in ROUNDS)}
        raise UnknownNameError("rule set", ruleset, known)
    return _judged(chosen, f"{ruleset}: asked for")


def _day(time_ms: float) -> date | None:
    try:
        return datetime.fromtimestamp(time_ms / 1e3, UTC).date() if time_ms > 0 else None
    except (OverflowError, ValueError, OSError):
        return None
