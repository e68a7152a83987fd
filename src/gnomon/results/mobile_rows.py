"""One line of the history of mobile results: a run and scenario, or what a result file claims of one.

Made from run folders and from result files (`mobile_format.py`); kept by `mobile_history.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.core.run import Run
from gnomon.loadgen.condition_checks import GRADES, grade
from gnomon.loadgen.judge import ACCURACY
from gnomon.loadgen.settings import NS_PER_S, Scenario
from gnomon.results.mobile_device import backend_of, clean, device_of, session_of
from gnomon.results.mobile_file import (
    DATASETS,
    DECIBELS,
    MOST_DECIBELS,
    STAND_IN,
    moment_of,
    scenarios_of,
)
from gnomon.results.mobile_format import Entry, EnvironmentInfo, ExtendedResult, Loadgen, utc_text

MEASURED = "measured here"
CHECKED = "imported, raw samples checked"
CLAIMED = "imported, claimed only"
UNKNOWN = "unknown"
_METRICS = {
    "IMAGENET": "top-1 accuracy",
    "COCO": "mAP",
    "ADE20K": "mIoU",
    "SQUAD": "F1",
    "SNUSR": "PSNR",
}
"""By the app's kind of data."""


@dataclass(frozen=True)
class ResultRow:
    """A benchmark in a scenario on a device.

    Attributes:
        run: Name of the run folder; of a claim, the file's uuid.
        session: What was measured in one go has one session.
        started_at: UTC, ISO 8601, so that text sorts as time does.
        device: As a person would call it.
        platform: `android`, `ios`, `windows`, `macos`, `linux`, ...
        browser: Empty of a native run.
        framework: With what the model ran.
        accelerator: On what.
        provider: The framework's part that reached it.
        threads: None where nobody told.
        precision: Of the model.
        benchmark: Its name.
        title: Of the benchmark.
        scenario: `single-stream`, `offline`, or `accuracy` where no speed was measured.
        p90_ns: Latency, of single-stream.
        throughput: Single-stream: 1 / p90 latency, in queries/s; Offline: samples/s.
        quality: By the metric.
        metric: Name of it.
        unit: Of the quality; empty for a share.
        threshold: The quality asked for; None where nobody told.
        verdict: `VALID`, `INVALID`, `running`, or `unknown` of a claim that does not say.
        grade: `valid`, `semi-valid`, `invalid`; empty while it runs, and of a claim that does not say.
        rules: Under which.
        official: Whether the data is the official one, and no stand-in.
        source: `MEASURED`, `CHECKED` or `CLAIMED`.
        folder: Of the run, relative to where runs go; empty of a claim.
    """

    run: str
    session: str
    started_at: str
    device: str
    platform: str
    browser: str
    framework: str
    accelerator: str
    provider: str
    threads: int | None
    precision: str
    benchmark: str
    title: str
    scenario: str
    p90_ns: float | None
    throughput: float | None
    quality: float | None
    metric: str
    unit: str
    threshold: float | None
    verdict: str
    grade: str
    rules: str
    official: bool
    source: str
    folder: str

    @property
    def has_samples(self) -> bool:
        """Whether the raw samples are here."""
        return bool(self.folder)

    @property
    def setup(self) -> str:
        """What ran the model, in words that tell two set-ups of one device apart."""
        threads = (
            "" if self.threads is None else f"{self.threads} thread{'s' * (self.threads != 1)}"
        )
        runtime = f"{self.framework} in {self.browser}" if self.browser else self.framework
        where = self.accelerator if self.accelerator != "unknown" else self.provider
        return ", ".join(filter(None, (runtime, where, self.precision, threads)))


def rows_of_run(run: Run, source: str, folder: str) -> Iterator[ResultRow]:
    """A row for each scenario of a run.

    Args:
        run: Of a mobile benchmark.
        source: `MEASURED` or `CHECKED`.
        folder: Of the run, as it goes into the row.
    """
    record, device, backend = run.record, device_of(run), backend_of(run)
    running, verdict = run.status == "running", run.verdict
    quality = record["benchmark"]["quality"]
    found = run.result.get(ACCURACY)
    for name in scenarios_of(run) or [ACCURACY]:
        p90_ns, throughput = _speed(name, run.result.get(name))
        yield ResultRow(
            run=run.id,
            session=session_of(run),
            started_at=utc_text(moment_of(record["started_at"])),
            device=device.name,
            platform=device.platform,
            browser=device.browser,
            framework=backend.framework,
            accelerator=backend.accelerator,
            provider=backend.provider,
            threads=backend.threads,
            precision=backend.precision,
            benchmark=clean(record["benchmark"]["name"]),
            title=clean(record["benchmark"]["title"]),
            scenario=name,
            p90_ns=p90_ns,
            throughput=throughput,
            quality=None if found is None else float(found["quality"]),
            metric=clean(quality["metric"]),
            unit="" if found is None else clean(found["metric"]["unit"]),
            threshold=quality["reference"] * quality["factor"],
            verdict="running" if running else verdict.word,
            grade="" if running else grade(verdict),
            rules=clean(verdict.profile),
            official=bool(record["data"]["official"]),
            source=source,
            folder=folder,
        )


def rows_of_claim(result: ExtendedResult) -> Iterator[ResultRow]:
    """A row for each entry of a result file without raw samples."""
    device, platform = _device_claimed(result.environment_info)
    for entry in result.results:
        speed, quality = entry.performance_run, entry.accuracy_run
        data = next((test.dataset for test in (speed, quality) if test is not None), None)
        kind = data.type if data else ""
        offline = entry.loadgen_scenario == Scenario.OFFLINE.field_name
        loadgen = speed.loadgen if speed else None
        decibels = kind == "SNUSR"
        threshold = _number(entry.setting("quality_threshold"))
        stand_in = data is None or STAND_IN in data.name
        yield ResultRow(
            run=clean(result.meta.uuid),
            session=clean(result.meta.uuid),
            started_at=utc_text(speed.start_datetime if speed else result.meta.creation_date),
            device=clean(entry.setting("device")) or device,
            platform=platform,
            browser=clean(entry.setting("browser")),
            framework=clean(entry.backend_settings.framework),
            accelerator=clean(entry.backend_info.accelerator_name),
            provider=clean(entry.backend_settings.delegate),
            threads=_whole(entry.setting("num_threads")),
            precision=clean(entry.setting("precision")),
            benchmark=_benchmark_claimed(entry, offline=offline),
            title=clean(entry.benchmark_name),
            scenario=(Scenario.OFFLINE if offline else Scenario.SINGLE_STREAM).value,
            p90_ns=None if loadgen is None or offline else loadgen.latency90 * NS_PER_S,
            throughput=speed.throughput.value if speed and speed.throughput else None,
            quality=quality.accuracy.normalized * (MOST_DECIBELS if decibels else 1)
            if quality and quality.accuracy
            else None,
            metric=clean(entry.setting("metric")) or _METRICS.get(kind, "quality"),
            unit=DECIBELS if decibels else "",
            threshold=threshold,
            verdict=UNKNOWN
            if loadgen is None
            else "VALID"
            if loadgen.is_result_valid
            else "INVALID",
            grade=_grade_claimed(entry, loadgen),
            rules=clean(entry.setting("rules")) or "the app's",
            official=not stand_in and entry.setting("data_official") in ("", "true"),
            source=CLAIMED,
            folder="",
        )


def _speed(name: str, result: Mapping[str, Any] | None) -> tuple[float | None, float | None]:
    """p90 latency and throughput of a performance test."""
    if result is None or name == ACCURACY:
        return None, None
    if name == Scenario.OFFLINE.value:
        return None, float(result["samples_per_second"])
    p90_ns = float(result["latency"]["p90_ns"])
    return p90_ns, NS_PER_S / p90_ns if p90_ns > 0 else None


def _device_claimed(told: EnvironmentInfo) -> tuple[str, str]:
    """Name and platform of the device of a result file."""
    value, platform = told.value, clean(told.platform) or "unknown"
    if value.android is not None:
        words = (value.android.manufacturer, value.android.model_name or value.android.model_code)
        return clean(" ".join(filter(None, words))) or "an Android device", platform
    if value.ios is not None:
        return clean(
            value.ios.model_name or value.ios.model_code
        ) or "a device of Apple's", platform
    if value.windows is not None:
        return clean(value.windows.cpu_full_name) or "a Windows computer", platform
    return platform, platform


def _benchmark_claimed(entry: Entry, *, offline: bool) -> str:
    """The benchmark's name: this package writes the scenario behind it, as the app does with its own."""
    name = clean(entry.benchmark_id)
    ours = name.removesuffix("-offline")
    return ours if offline and ours in DATASETS else name


def _grade_claimed(entry: Entry, loadgen: Loadgen | None) -> str:
    """As it says, or as the app colours results (`lib/benchmark/performance_result_validity.dart`)."""
    said = entry.setting("grade")
    if said in GRADES:
        return said
    if loadgen is None:
        return ""
    if not (loadgen.is_min_duration_met and loadgen.is_early_stopping_met):
        return "invalid"
    return "valid" if loadgen.is_min_query_met else "semi-valid"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
