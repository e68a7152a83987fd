"""What a person may ask of a load run, and how it becomes the settings of each test.

Settings come in layers, later over earlier: the benchmark's declaration under the rule profile, then
configuration files in the order given, then options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gnomon.core.errors import (
    SettingsError,
    UnknownNameError,
)
from gnomon.core.files import write_atomically
from gnomon.core.recompute import options_on_record
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.loadgen.config import ConfigFile, read_config, settings_overrides
from gnomon.loadgen.measure import STALL_TIMEOUT_S
from gnomon.loadgen.rules import (
    RuleProfile,
    easier_than_declared,
    least_duration_ns,
    least_query_count,
    percentile_of,
    profile_for,
    require_allowed,
)
from gnomon.loadgen.schedule import OFFLINE_SLACK
from gnomon.loadgen.settings import (
    NS_PER_MS,
    NS_PER_S,
    LoadBenchmark,
    Mode,
    Scenario,
    Seeds,
    Settings,
)

CONFIG_FOLDER = "config"
MOST_S = 1e9
"""Longer than any test; its nanoseconds still fit 64 bits."""
FIRST_GUESS_QPS = 1.0
"""Stands in for the rate until find-peak has one; no test is run at it."""


class LoadOptions(BaseModel):
    """Options of a run of the load protocol. What is left out comes from the benchmark and the rules."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    scenario: tuple[Scenario, ...] = Field(default=(), description="scenarios to measure")
    rules: str = Field(default="quick", description="rule profile")
    quick: bool = Field(default=False, description="the shortest tests the rules accept")
    target_qps: float | None = Field(default=None, description="Server rate, queries/s")
    find_peak: bool = Field(default=False, description="Server: find the highest valid rate")
    target_latency_ms: float | None = Field(
        default=None, gt=0, le=1e3 * MOST_S, description="Server latency bound"
    )
    duration_s: float | None = Field(
        default=None, gt=0, le=MOST_S, description="least duration of a test"
    )
    max_duration_s: float | None = Field(default=None, gt=0, le=MOST_S)
    min_query_count: int | None = Field(default=None, ge=1)
    max_query_count: int | None = Field(default=None, ge=1)
    samples_per_query: int | None = Field(default=None, ge=1, description="multi-stream")
    performance_sample_count: int | None = Field(default=None, ge=1)
    seeds: Seeds | None = None
    sample_concatenate_permutation: bool | None = None
    performance_issue_unique: bool = False
    performance_issue_same: bool = False
    performance_issue_same_index: int = Field(default=0, ge=0)
    server_coalesce_queries: bool = False
    max_async_queries: int = Field(default=0, ge=0)
    config: tuple[Path, ...] = Field(default=(), description="mlperf.conf / user.conf files")
    performance: bool = True
    accuracy: bool = True
    workers: int = Field(default=1, ge=1, description="threads that call a synchronous system")
    stall_timeout_s: float = Field(default=STALL_TIMEOUT_S, gt=0)
    cooldown_s: float | None = Field(
        default=None, ge=0, le=MOST_S, description="rest before each performance test but the first"
    )

    @field_validator("scenario", mode="before")
    @classmethod
    def _read_scenarios(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)):
            raise ValueError("must be a name or several")
        return tuple(dict.fromkeys(scenario_named(name) for name in names))

    @field_validator("config", mode="before")
    @classmethod
    def _read_paths(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (str, Path)) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _read_seeds(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.split(",")
        if isinstance(value, (list, tuple)):
            try:
                if not all(str(part).strip().isdecimal() for part in value):
                    raise ValueError  # int() would also take 1_000 and cut 1.5
                qsl, sample_index, schedule = (int(part) for part in value)
                return Seeds(qsl=qsl, sample_index=sample_index, schedule=schedule)
            except (ValueError, ValidationError):
                raise SettingsError(
                    "--seeds takes three whole numbers below 2^64, QSL,SAMPLE_INDEX,SCHEDULE, got "
                    f"{','.join(str(part) for part in value)!r}"
                ) from None
        return value


def scenario_named(name: str | Scenario) -> Scenario:
    """A scenario by its name here (`single-stream`) or in the field's logs (`SingleStream`).

    Raises:
        UnknownNameError: There is none; the message offers the nearest.
    """
    for scenario in Scenario:
        if name in (scenario.value, scenario.field_name, scenario.name):
            return scenario
    raise UnknownNameError("scenario", str(name), [scenario.value for scenario in Scenario])


def scenarios_of(benchmark: Benchmark, options: LoadOptions) -> tuple[Scenario, ...]:
    """The scenarios to measure.

    Raises:
        SettingsError: The benchmark has no such scenario, or an option has no scenario to apply to.
    """
    declared = declaration_of(benchmark)
    chosen = options.scenario or declared.default_scenarios
    for scenario in chosen:
        if scenario not in declared.scenarios:
            raise SettingsError(
                f"benchmark {benchmark.name!r} has no {scenario} scenario: choose from "
                f"{', '.join(declared.scenarios)}"
            )
    only_for: dict[str, tuple[bool, tuple[Scenario, ...]]] = {
        "--target-qps": (options.target_qps is not None, (Scenario.SERVER, Scenario.OFFLINE)),
        "--find-peak": (options.find_peak, (Scenario.SERVER,)),
        "--target-latency": (options.target_latency_ms is not None, (Scenario.SERVER,)),
        "--coalesce": (options.server_coalesce_queries, (Scenario.SERVER,)),
        "--max-async-queries": (options.max_async_queries > 0, (Scenario.SERVER,)),
        "--samples-per-query": (options.samples_per_query is not None, (Scenario.MULTI_STREAM,)),
    }
    for option, (given, needed) in only_for.items():
        if given and not set(needed) & set(chosen):
            raise SettingsError(
                f"{option} means nothing in {', '.join(chosen)}: add --scenario {needed[0]} or leave "
                f"it out"
            )
    if options.performance_issue_same_index and not options.performance_issue_same:
        raise SettingsError("--issue-same-index means nothing without --issue-same: add it")
    if not (options.performance or options.accuracy):
        raise SettingsError("--no-performance and --no-accuracy together leave nothing to measure")
    return chosen


def seeks_peak(scenario: Scenario, settings_qps: float | None, options: LoadOptions) -> bool:
    """Whether the Server rate is to be found: when asked, and when none was given."""
    return scenario is Scenario.SERVER and (options.find_peak or settings_qps is None)


def performance_settings(
    benchmark: Benchmark, task: Task, options: LoadOptions, scenario: Scenario
) -> tuple[Settings, bool]:
    """The settings of one performance test, and whether its Server rate is still to be found.

    Raises:
        SettingsError, ConfigError: Something is out of range, contradictory or misspelt.
    """
    layers = _layers(benchmark, task, options, scenario, Mode.PERFORMANCE)
    peak = seeks_peak(scenario, layers.get("target_qps"), options)
    if peak and layers.get("target_qps") is None:
        layers["target_qps"] = FIRST_GUESS_QPS
    if scenario is Scenario.OFFLINE:
        _without_rate(layers)
    settings = _settings(layers)
    profile = profile_of(benchmark, options.rules)
    require_allowed(settings, profile)
    eased = easier_than_declared(settings, declaration_of(benchmark), profile)
    if eased and profile.official:
        raise SettingsError(
            f"{profile.name} rules hold a run to what the benchmark declares: {eased[0]} ({scenario})"
        )
    return settings, peak


@dataclass(frozen=True)
class Planned:
    """A test that a run consists of: its settings, and whether it seeks its own Server rate."""

    settings: Settings
    seeks_peak: bool


def planned_tests(benchmark: Benchmark, task: Task, options: LoadOptions) -> dict[str, Planned]:
    """The tests that these options ask for, by name, in the order in which they are run."""
    tests: dict[str, Planned] = {}
    if options.performance:
        for scenario in scenarios_of(benchmark, options):
            tests[scenario.value] = Planned(
                *performance_settings(benchmark, task, options, scenario)
            )
    if options.accuracy:
        tests[Mode.ACCURACY.value] = Planned(accuracy_settings(benchmark, task, options), False)
    return tests


def as_planned(test: Planned, recorded: Mapping[str, Any]) -> bool:
    """Whether recorded settings are those of the plan; a rate that is searched for is not in it."""
    asked = test.settings.model_dump(mode="json")
    if test.seeks_peak:
        asked["target_qps"] = recorded.get("target_qps")
    return asked == recorded


def recorded_options(run: Run) -> LoadOptions:
    """The options of a run as they are on record, its configuration files from its own folder.

    Raises:
        RunFolderError: They are not on record, or damaged.
    """
    options = options_on_record(run, LoadOptions)
    kept = tuple(sorted((run.path / CONFIG_FOLDER).glob("*/*")))
    return options.model_copy(update={"config": kept}) if kept else options


def keep_config(options: LoadOptions, folder: Path) -> None:
    """Copy the configuration files into the run folder: a file may change, a record may not."""
    for number, path in enumerate(options.config):
        kept = folder / CONFIG_FOLDER / str(number) / path.name
        if not kept.exists() and path != kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, path.read_bytes())


def _without_rate(layers: dict[str, Any]) -> None:
    """Offline: let an expected rate ask for more samples, and never for too few.

    The reference fixes the number of samples by it, so that a low guess ends the test too early. Here the
    test goes on until its time is over; the samples are those of the longer test.
    """
    rate = layers.pop("target_qps", None)
    if rate is not None:
        if not 0 < rate < float("inf"):
            raise SettingsError(f"target_qps must be positive, got {rate:g}")
        expected = int(OFFLINE_SLACK * rate * layers["min_duration_ns"] / NS_PER_S)
        layers["min_query_count"] = max(layers["min_query_count"], expected)


def accuracy_settings(benchmark: Benchmark, task: Task, options: LoadOptions) -> Settings:
    """The settings of the accuracy test: every sample once, as Offline queries."""
    layers = _layers(benchmark, task, options, Scenario.OFFLINE, Mode.ACCURACY)
    for name in ("performance_issue_unique", "performance_issue_same", "target_qps"):
        layers.pop(name, None)
    return _settings(layers)


def declaration_of(benchmark: Benchmark) -> LoadBenchmark:
    """What a benchmark declares for this protocol.

    Raises:
        SettingsError: Its settings lack something, or hold something unknown.
    """
    return benchmark.settings_as(LoadBenchmark)


def profile_of(benchmark: Benchmark, rules: str) -> RuleProfile:
    """The rule profile of this name, as it is for this benchmark.

    Raises:
        UnknownNameError: There is none.
    """
    return profile_for(declaration_of(benchmark), rules)


def _settings(layers: dict[str, Any]) -> Settings:
    try:
        return Settings(**layers)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from None


def _layers(
    benchmark: Benchmark, task: Task, options: LoadOptions, scenario: Scenario, mode: Mode
) -> dict[str, Any]:
    declared = declaration_of(benchmark)
    profile = profile_of(benchmark, options.rules)
    total = len(task)
    layers: dict[str, Any] = {
        "scenario": scenario,
        "mode": mode,
        "total_sample_count": total,
        "performance_sample_count": min(declared.performance_sample_count or total, total),
        "min_duration_ns": _duration_ns(scenario, profile, shortest=options.quick),
        "min_query_count": least_query_count(scenario, declared, profile),
        "target_latency_percentile": percentile_of(scenario, declared),
        "seeds": profile.seeds,
        "sample_concatenate_permutation": declared.sample_concatenate_permutation,
    }
    if profile.mode is not None and scenario.closed_loop:
        longest_s = profile.mode.max_duration_s
        longer = longest_s < (options.duration_s or 0.0)  # whoever asks for more has no bound
        layers["max_duration_ns"] = 0 if longer else _scaled(longest_s, NS_PER_S)
    if scenario is Scenario.SERVER:
        layers["target_latency_ns"] = declared.server_target_latency_ns
    if scenario is Scenario.MULTI_STREAM:
        layers["samples_per_query"] = declared.multi_stream_samples_per_query

    layers.update(settings_overrides(_files(options), benchmark.name, scenario).values)

    wanted: dict[str, Any] = {
        "min_duration_ns": _scaled(options.duration_s, NS_PER_S),
        "max_duration_ns": _scaled(options.max_duration_s, NS_PER_S),
        "min_query_count": options.min_query_count,
        "max_query_count": options.max_query_count,
        "performance_sample_count": options.performance_sample_count,
        "seeds": options.seeds,
        "sample_concatenate_permutation": options.sample_concatenate_permutation,
        "performance_issue_unique": options.performance_issue_unique or None,
        "performance_issue_same": options.performance_issue_same or None,
        "performance_issue_same_index": options.performance_issue_same_index or None,
    }
    # A rate is Server's, and Offline's where there is no Server test.
    offline_alone = Scenario.SERVER not in scenarios_of(benchmark, options)
    if scenario is Scenario.SERVER or (scenario is Scenario.OFFLINE and offline_alone):
        wanted["target_qps"] = options.target_qps
    if scenario is Scenario.SERVER:
        wanted["target_latency_ns"] = _scaled(options.target_latency_ms, NS_PER_MS)
        wanted["server_coalesce_queries"] = options.server_coalesce_queries or None
        wanted["max_async_queries"] = options.max_async_queries or None
    if scenario is Scenario.MULTI_STREAM:
        wanted["samples_per_query"] = options.samples_per_query
    layers.update({name: value for name, value in wanted.items() if value is not None})
    if mode is Mode.ACCURACY:
        layers.update(max_duration_ns=0, max_query_count=0)
    return layers


def _duration_ns(scenario: Scenario, profile: RuleProfile, *, shortest: bool) -> int:
    least_ns = least_duration_ns(scenario, profile)
    return least_ns if shortest or profile.mode is not None else profile.default_duration_ns


def unused_lines(benchmark: Benchmark, options: LoadOptions) -> tuple[str, ...]:
    """Configuration lines that apply to this run and change nothing, each with the reason."""
    files = _files(options)
    found = [
        words
        for scenario in scenarios_of(benchmark, options)
        for words in settings_overrides(files, benchmark.name, scenario).unused
    ]
    return tuple(dict.fromkeys(found))


def _files(options: LoadOptions) -> list[ConfigFile]:
    return [
        read_config(path, "mlperf" if path.name.startswith("mlperf") else "user")
        for path in options.config
    ]


def _scaled(value: float | None, unit: int) -> int | None:
    return None if value is None else round(value * unit)
