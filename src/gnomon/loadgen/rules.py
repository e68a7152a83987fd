"""Rule profiles, and the checks that turn a test's figures into a verdict.

`official` holds a run to the minimums of the field's current round; `quick` to short ones that still
carry their statistics: the query counts that the percentile claims need are the same in both.

Source: MLPerf Inference rules ("Scenarios", "Early stopping") and the round's mlperf.conf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.core.spec import QualityTarget
from gnomon.core.stats import fewest_passing
from gnomon.core.units import format_duration_ns
from gnomon.core.verdict import Check
from gnomon.loadgen.outcome import Outcome
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import (
    LATEST_ROUND,
    NS_PER_S,
    ROUND_SEEDS,
    LoadBenchmark,
    RunMode,
    Scenario,
    Seeds,
    Settings,
)


@dataclass(frozen=True)
class RuleProfile:
    """What a run is held to.

    Attributes:
        name: Shown with every verdict.
        min_duration_ns: The least duration of a performance test.
        default_duration_ns: The duration that is run unless another is asked for.
        offline_min_samples: Whether the benchmark's own minimum for Offline applies.
        official: Whether a run is held to the seeds below and to what its benchmark declares.
        seeds: Those that are used unless others are asked for.
        seeds_of: Whose they are, in words.
        mode: The benchmark's own run mode that this profile was made of; its counts and durations apply,
            and the conditions of the run are judged.
    """

    name: str
    min_duration_ns: int
    default_duration_ns: int
    offline_min_samples: bool
    official: bool
    seeds: Seeds = ROUND_SEEDS[LATEST_ROUND]
    seeds_of: str = f"round {LATEST_ROUND}"
    mode: RunMode | None = None


PROFILES: dict[str, RuleProfile] = {
    "quick": RuleProfile("quick", 2 * NS_PER_S, 10 * NS_PER_S, False, official=False),
    "official": RuleProfile("official", 600 * NS_PER_S, 600 * NS_PER_S, True, official=True),
}


def profile_for(declared: LoadBenchmark, name: str) -> RuleProfile:
    """The profile of this name for a benchmark: one of its own run modes, if it has any.

    Raises:
        UnknownNameError: There is none.
    """
    profiles = {mode.name: _profile_of(mode, declared) for mode in declared.run_modes} or PROFILES
    if name not in profiles:
        raise UnknownNameError("rules", name, profiles)
    return profiles[name]


def _profile_of(mode: RunMode, declared: LoadBenchmark) -> RuleProfile:
    duration_ns = round(mode.min_duration_s * NS_PER_S)
    seeds, seeds_of = ROUND_SEEDS[LATEST_ROUND], f"round {LATEST_ROUND}"
    if declared.seeds is not None:
        seeds, seeds_of = declared.seeds, "the benchmark"
    return RuleProfile(
        mode.name, duration_ns, duration_ns, True, mode.official, seeds, seeds_of, mode
    )


def least_duration_ns(scenario: Scenario, profile: RuleProfile) -> int:
    """The least duration of a performance test; a run mode asks Offline for samples, not for time."""
    if profile.mode is not None and scenario is Scenario.OFFLINE:
        return 0
    return profile.min_duration_ns


def least_query_count(scenario: Scenario, benchmark: LoadBenchmark, profile: RuleProfile) -> int:
    """The fewest queries (Offline: samples) a performance test of this profile may have.

    Stream scenarios need enough for an early-stopping estimate, Server enough to pass without a single
    query over the bound.
    """
    if profile.mode is not None:
        offline = scenario is Scenario.OFFLINE
        return profile.mode.offline_min_sample_count if offline else profile.mode.min_query_count
    if scenario is Scenario.OFFLINE:
        return benchmark.offline_min_sample_count if profile.offline_min_samples else 1
    if scenario is Scenario.SERVER:
        return fewest_passing(0, benchmark.server_percentile)
    if scenario is Scenario.MULTI_STREAM:
        return benchmark.multi_stream_min_query_count
    return fewest_passing(1, benchmark.single_stream_percentile) + 1


def require_allowed(settings: Settings, profile: RuleProfile) -> None:
    """Refuse, before the clock starts, settings that could not give a valid run under the profile.

    Raises:
        SettingsError: Names the rule and the option.
    """
    least_ns = least_duration_ns(settings.scenario, profile)
    if settings.min_duration_ns < least_ns:
        raise SettingsError(
            f"{profile.name} rules need at least {least_ns / NS_PER_S:g} s a test, "
            f"--duration asks for {settings.min_duration_ns / NS_PER_S:g} s"
        )
    if profile.official and settings.seeds != profile.seeds:
        raise SettingsError(
            f"{profile.name} rules prescribe the seeds of {profile.seeds_of}: leave out --seeds"
        )
    if profile.official and (settings.performance_issue_unique or settings.performance_issue_same):
        raise SettingsError(
            f"{profile.name} rules allow performance_issue_unique and _same in audits only"
        )


def easier_than_declared(
    settings: Settings, declared: LoadBenchmark, profile: RuleProfile
) -> list[str]:
    """Where a performance test asks for less than its benchmark declares, in words."""
    scenario, total = settings.scenario, settings.total_sample_count
    found = []

    def compare(name: str, asked: float, least: float, text: Callable[[float], str] = str) -> None:
        if asked < least:
            found.append(f"{name} {text(abs(asked))} instead of {text(abs(least))}")

    loaded = min(declared.performance_sample_count or total, total)
    compare("performance_sample_count", settings.performance_sample_count, loaded)
    least = least_query_count(scenario, declared, profile)
    compare("min_query_count", settings.min_query_count, least)
    if scenario is Scenario.SERVER:
        bound_ns = declared.server_target_latency_ns
        compare("latency bound", -settings.target_latency_ns, -bound_ns, format_duration_ns)
    if scenario is Scenario.MULTI_STREAM:
        width = declared.multi_stream_samples_per_query
        compare("samples_per_query", settings.samples_per_query, width)
    if scenario is not Scenario.OFFLINE:
        share = percentile_of(scenario, declared)
        compare("percentile", settings.target_latency_percentile, share)
    if settings.performance_issue_same:
        found.append("performance_issue_same: one sample over and over")
    if settings.performance_issue_unique:
        found.append("performance_issue_unique: each sample once")
    if declared.sample_concatenate_permutation and not settings.sample_concatenate_permutation:
        found.append("sample_concatenate_permutation left out")
    return found


def percentile_of(scenario: Scenario, declared: LoadBenchmark) -> float:
    """The share at which the benchmark judges latencies in this scenario."""
    return {
        Scenario.SINGLE_STREAM: declared.single_stream_percentile,
        Scenario.MULTI_STREAM: declared.multi_stream_percentile,
    }.get(scenario, declared.server_percentile)


def declaration_checks(
    settings: Settings, declared: LoadBenchmark, profile: RuleProfile, measurement: str
) -> list[Check]:
    """Official rules hold a performance test to what its benchmark declares; others say it in a remark."""
    if not profile.official:
        return []
    eased = easier_than_declared(settings, declared, profile)
    found = "; ".join(eased) or "as declared"
    mend = "leave out the options and configuration lines that ease it" if eased else ""
    return [Check("as_declared", not eased, found, "what is declared", mend, measurement)]


def performance_checks(
    outcome: Outcome | None,
    settings: Settings,
    profile: RuleProfile,
    faults: Sequence[Fault | Mapping[str, str]],
    measurement: str,
) -> list[Check]:
    """Every rule on one performance test, passed or not."""
    checks = _fault_checks(faults, measurement)
    if outcome is None:
        checks.append(
            Check(
                "answered",
                False,
                "no query answered in full",
                "every sample answered",
                "see the faults above, mend the system and run again",
                measurement,
            )
        )
        return checks

    def check(name: str, passed: bool, found: str, required: str, mend: str) -> None:
        checks.append(Check(name, passed, found, required, "" if passed else mend, measurement))

    check(
        "answered",
        outcome.unanswered_count == 0,
        f"{outcome.unanswered_count} of {outcome.sample_count + outcome.unanswered_count} unanswered",
        "every sample answered",
        "the system must complete every sample it was given",
    )
    least_ns = max(settings.min_duration_ns, least_duration_ns(settings.scenario, profile))
    check(
        "min_duration",
        outcome.duration_ns >= least_ns,
        format_duration_ns(outcome.duration_ns),
        f"at least {least_ns / NS_PER_S:g} s",
        "let the test run to its end: see its faults, or leave out what ends it early",
    )
    offline = settings.scenario is Scenario.OFFLINE
    counted = outcome.sample_count if offline else outcome.query_count
    check(
        "min_queries",
        counted >= settings.min_query_count,
        f"{counted} {'samples' if offline else 'queries'}",
        f"at least {settings.min_query_count}",
        "the test ended early: see its faults, or raise --duration",
    )
    if profile.official:
        audit = settings.performance_issue_unique or settings.performance_issue_same
        check(
            "seeds",
            settings.seeds == profile.seeds,
            "others" if settings.seeds != profile.seeds else f"those of {profile.seeds_of}",
            f"those of {profile.seeds_of}",
            "leave out --seeds",
        )
        check(
            "sampling",
            not audit,
            "as in an audit" if audit else "as in the scenario",
            "no performance_issue_unique or _same",
            "leave them out: they belong to audits",
        )
    if settings.scenario is Scenario.SERVER:
        check(
            "latency_bound",
            outcome.percentile_latency_ns <= settings.target_latency_ns,
            f"p{100 * outcome.percentile:g} {format_duration_ns(outcome.percentile_latency_ns)}",
            f"at most {format_duration_ns(settings.target_latency_ns)}",
            "lower --target-qps, or let --find-peak find the highest rate that holds",
        )
    if outcome.early_stopping is not None:
        check(
            "early_stopping", outcome.early_stopping.met, *early_stopping_words(outcome, settings)
        )
    return checks


def early_stopping_words(outcome: Outcome, settings: Settings) -> tuple[str, str, str]:
    """The early-stopping test in plain words: found, required, and what would decide it."""
    early = outcome.early_stopping
    assert early is not None
    share = f"p{100 * outcome.percentile:g}"
    if settings.scenario is Scenario.SERVER:
        bound = format_duration_ns(settings.target_latency_ns)
        found = f"{early.over} of {early.queries} queries over {bound}"
        required = f"{early.over} over the bound need at least {early.needed} queries for {share}"
        more = early.needed - early.queries
        why = (
            f"{more} more queries, all within the bound, would decide it: raise --duration, or lower "
            f"--target-qps if more keep missing it"
        )
        return found, required, why
    found = f"{early.queries} queries"
    if early.estimate_ns is not None:
        found += (
            f"; {early.over} highest set aside, {share} is at most "
            f"{format_duration_ns(early.estimate_ns)} with 99 % confidence"
        )
    required = f"at least {early.needed} queries to claim {share}"
    return (
        found,
        required,
        f"{early.needed - early.queries} more queries would do: raise --duration",
    )


def accuracy_checks(
    quality: float | None,
    target: QualityTarget,
    answered_count: int,
    total_count: int,
    faults: Sequence[Fault | Mapping[str, str]],
    measurement: str,
) -> list[Check]:
    """Every rule on one accuracy test."""
    checks = _fault_checks(faults, measurement)
    whole = answered_count == total_count
    checks.append(
        Check(
            "answered",
            whole,
            f"{answered_count} of {total_count} samples",
            "every sample of the data set, once",
            "" if whole else "the system must complete every sample it was given",
            measurement,
        )
    )
    met = quality is not None and target.met_by(quality)
    bound = "at least" if target.higher_is_better else "at most"
    checks.append(
        Check(
            "quality",
            met,
            "not scored" if quality is None else f"{target.metric} {quality:.4f}",
            f"{bound} {target.threshold:.4f} ({100 * target.factor:g} % of the reference, "
            f"{target.reference:.4f})",
            "" if met else "the system loses too much quality: check preprocessing and precision",
            measurement,
        )
    )
    return checks


def coverage_checks(measured: Iterable[str], profile: RuleProfile) -> list[Check]:
    """Rules on the run as a whole: a speed means nothing without its quality."""
    names = set(measured)
    has_accuracy = "accuracy" in names
    has_performance = bool(names - {"accuracy"})
    checks = []
    if profile.official:
        checks.append(
            Check(
                "coverage",
                has_accuracy and has_performance,
                ", ".join(sorted(names)) or "nothing",
                "a performance and an accuracy test",
                ""
                if has_accuracy and has_performance
                else f"leave out {'--no-performance' if has_accuracy else '--no-accuracy'}",
            )
        )
    return checks


def _fault_checks(faults: Sequence[Fault | Mapping[str, str]], measurement: str) -> list[Check]:
    """One failed check a fault, or one passed check that there was none."""
    read = [fault if isinstance(fault, Fault) else Fault(**fault) for fault in faults]
    if not read:
        return [Check("faults", True, "none", "none", "", measurement)]
    return [
        Check(
            fault.kind,
            False,
            fault.kind.replace("_", " "),
            "no fault during the test",
            fault.message,
            measurement,
        )
        for fault in read
    ]
