"""What one load-generator test is asked to do: scenario, durations, counts, bounds, seeds.

A `Settings` is complete: two tests with equal settings issue the same samples at the same times.
`LoadBenchmark` is the part of a benchmark's declaration that this protocol reads.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gnomon.core.errors import SettingsError
from gnomon.core.spec import Declared

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
LEAST_QPS, MOST_QPS = 1e-6, 1e9
"""Beyond these, times no longer fit 64-bit nanoseconds, or gaps are none."""
MOST_SAMPLES = 2**31 - 1
"""Sample indices are kept in 32 bits."""


class Scenario(StrEnum):
    """The four arrival patterns (MLPerf Inference rules, section 4.1, "Scenarios").

    * single-stream: the next query is issued when the previous one has completed.
    * multi-stream: the same, each query holding several samples.
    * server: queries arrive as a Poisson process whether or not the system keeps up.
    * offline: all samples are there at the start.
    """

    SINGLE_STREAM = "single-stream"
    MULTI_STREAM = "multi-stream"
    SERVER = "server"
    OFFLINE = "offline"

    @property
    def field_name(self) -> str:
        """The name in the field's logs and configuration files (`SingleStream`)."""
        return self.value.title().replace("-", "")

    @property
    def closed_loop(self) -> bool:
        """Whether the next query waits for the one before."""
        return self in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)


class Mode(StrEnum):
    """What a test is for: timing, or answering every sample once."""

    PERFORMANCE = "performance"
    ACCURACY = "accuracy"

    @property
    def field_name(self) -> str:
        """The name in the field's logs (`PerformanceOnly`)."""
        return f"{self.value.title()}Only"


class Seeds(Declared):
    """The three seeds that fix a test. The generators take their low 32 bits."""

    qsl: int = Field(ge=0, lt=2**64, description="order of the loaded samples")
    sample_index: int = Field(ge=0, lt=2**64, description="which loaded sample each query asks for")
    schedule: int = Field(ge=0, lt=2**64, description="when Server queries arrive")


ROUND_SEEDS: dict[str, Seeds] = {
    # mlperf.conf of the round, keys *.*.{qsl,sample_index,schedule}_rng_seed.
    "v6.1": Seeds(
        qsl=2085463073848966840,
        sample_index=2747215439041700203,
        schedule=16159082839903944936,
    ),
}
LATEST_ROUND = "v6.1"


class Settings(BaseModel):
    """One test of the load generator. Times are in nanoseconds.

    Raises:
        SettingsError: Values out of range or contradicting each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario
    mode: Mode = Mode.PERFORMANCE
    total_sample_count: int = Field(description="samples in the data set")
    performance_sample_count: int = Field(description="samples loaded at once")
    target_qps: float | None = Field(
        default=None,
        description="Server: the arrival rate. Offline: the expected rate, which then fixes the "
        "number of samples; without it the test goes on until min_duration_ns is over.",
    )
    samples_per_query: int = 1
    min_duration_ns: int = 10 * NS_PER_S
    max_duration_ns: int = Field(default=0, description="0: no bound")
    min_query_count: int = Field(default=1, description="Offline: samples in the one query")
    max_query_count: int = Field(default=0, description="0: no bound")
    target_latency_ns: int = Field(default=0, description="Server: bound on the percentile below")
    target_latency_percentile: float = 0.99
    seeds: Seeds = ROUND_SEEDS[LATEST_ROUND]
    sample_concatenate_permutation: bool = False
    performance_issue_unique: bool = False
    performance_issue_same: bool = False
    performance_issue_same_index: int = Field(default=0, description="into the loaded set")
    server_coalesce_queries: bool = Field(
        default=False, description="Server: hand all queries due by now to the system as one"
    )
    max_async_queries: int = Field(default=0, description="Server: most outstanding; 0: no bound")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, least in {
            "total_sample_count": 1,
            "performance_sample_count": 1,
            "samples_per_query": 1,
            "min_duration_ns": 0,
            "max_duration_ns": 0,
            "min_query_count": 1,
            "max_query_count": 0,
            "target_latency_ns": 0,
            "max_async_queries": 0,
            "performance_issue_same_index": 0,
        }.items():
            value = getattr(self, name)
            if value < least:
                raise SettingsError(f"{name} must be at least {least}, got {value}")
        if self.performance_sample_count > self.total_sample_count:
            raise SettingsError(
                f"performance_sample_count ({self.performance_sample_count}) is more than the data "
                f"set holds ({self.total_sample_count}): lower it"
            )
        if not 0 < self.target_latency_percentile < 1:
            raise SettingsError(
                f"target_latency_percentile must lie between 0 and 1, got "
                f"{self.target_latency_percentile}"
            )
        if self.total_sample_count > MOST_SAMPLES:
            raise SettingsError(
                f"total_sample_count must be at most {MOST_SAMPLES}, got {self.total_sample_count}"
            )
        if self.target_qps is not None and not self.target_qps > 0:
            raise SettingsError(f"target_qps must be positive, got {self.target_qps:g}")
        if self.target_qps is not None and not LEAST_QPS <= self.target_qps <= MOST_QPS:
            raise SettingsError(
                f"target_qps must lie between {LEAST_QPS:g} and {MOST_QPS:g}, got {self.target_qps:g}"
            )
        if self.scenario is Scenario.SERVER and self.target_qps is None:
            raise SettingsError(
                "the server scenario needs a target_qps, or --find-peak to find one"
            )
        if self.max_duration_ns and self.max_duration_ns < self.min_duration_ns:
            raise SettingsError(
                f"max_duration ({self.max_duration_ns / NS_PER_S:g} s) is below min_duration "
                f"({self.min_duration_ns / NS_PER_S:g} s)"
            )
        if self.max_query_count and self.max_query_count < self.min_query_count:
            raise SettingsError(
                f"max_query_count ({self.max_query_count}) is below min_query_count "
                f"({self.min_query_count})"
            )
        if self.samples_per_query > 1 and self.scenario is not Scenario.MULTI_STREAM:
            raise SettingsError(
                f"samples_per_query {self.samples_per_query} only means something in multi-stream, "
                f"not in {self.scenario}"
            )
        if self.performance_issue_unique and self.performance_issue_same:
            raise SettingsError(
                "performance_issue_unique and performance_issue_same contradict each other: "
                "choose one"
            )
        if self.performance_issue_same and self.mode is Mode.ACCURACY:
            raise SettingsError(
                "performance_issue_same means nothing in accuracy mode, which asks for every sample "
                "once: leave it out"
            )
        if self.performance_issue_same and (
            self.performance_issue_same_index >= self.performance_sample_count
        ):
            raise SettingsError(
                f"performance_issue_same_index ({self.performance_issue_same_index}) must be below "
                f"performance_sample_count ({self.performance_sample_count})"
            )
        return self


class RunMode(Declared):
    """Rules of a benchmark's own, in place of quick and official: how long and how often, by name.

    Stream scenarios need both minimums and end at the maximum; Offline needs its samples and no time.
    """

    name: str
    min_query_count: int = Field(ge=1)
    min_duration_s: float = Field(ge=0)
    max_duration_s: float = Field(default=0.0, ge=0, description="0: no bound")
    offline_min_sample_count: int = Field(default=1, ge=1)
    cooldown_s: float = Field(default=0.0, ge=0, description="rest before each test but the first")
    most_others_share: float | None = Field(
        default=None,
        gt=0,
        description="of the processor time, that other programs may take; None: any",
    )
    official: bool = Field(default=False, description="held to what is declared, and to its seeds")


class LoadBenchmark(Declared):
    """What a benchmark declares for the load protocol."""

    scenarios: tuple[Scenario, ...] = tuple(Scenario)
    default_scenarios: tuple[Scenario, ...] = (Scenario.SINGLE_STREAM, Scenario.OFFLINE)
    performance_sample_count: int = Field(description="0: the whole data set")
    server_target_latency_ns: int = 10 * NS_PER_MS
    server_percentile: float = Field(default=0.99, gt=0, lt=1)
    single_stream_percentile: float = Field(default=0.90, gt=0, lt=1)
    multi_stream_percentile: float = Field(default=0.99, gt=0, lt=1)
    multi_stream_samples_per_query: int = 8
    multi_stream_min_query_count: int = 662
    offline_min_sample_count: int = 24576
    sample_concatenate_permutation: bool = False
    run_modes: tuple[RunMode, ...] = Field(
        default=(), description="the rule profiles that it may be run under, if not the usual ones"
    )
    seeds: Seeds | None = Field(default=None, description="of its run modes")
