"""The same task on several frameworks, as one table: how fast each is, how good, and what precision costs.

Takes finished runs of the load protocol whose systems run model files, and gives a row for each; the words
for the terminal and the values for JSON come from the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gnomon.core.run import Run
from gnomon.core.spec import QualityTarget
from gnomon.core.units import format_duration_ns, format_rate
from gnomon.loadgen.judge import OWN_PRECISION
from gnomon.results.table import COLOURS

FULL_PRECISION = "fp32"
REFERENCE_FRAMEWORK = "ONNX Runtime"


@dataclass(frozen=True)
class FrameworkRow:
    """One run.

    Attributes:
        run: Name of its folder.
        framework, version: What ran the model.
        accelerator: On what: `CPU`, `CPU xnnpack`, a GPU's name.
        precision: What was asked for.
        precision_executed: What ran, where that can be told; else empty.
        threads: Within one call.
        percentile: The share of SingleStream's queries that took at most `latency_ns`.
        latency_ns: Measured, not early stopping's estimate; None if it was not measured.
        samples_per_second: Offline; None if it was not measured.
        quality: None if it was not measured.
        quality_lost: How much worse it is than `lost_against`; negative where it is better.
        lost_against: The run of full precision: of the same framework, or else of ONNX Runtime.
        within_threshold: Whether the benchmark's quality is reached.
        verdict: In words.
    """

    run: str
    framework: str
    version: str
    accelerator: str
    precision: str
    precision_executed: str
    threads: int
    percentile: float | None
    latency_ns: float | None
    samples_per_second: float | None
    quality: float | None
    quality_lost: float | None
    lost_against: str | None
    within_threshold: bool | None
    verdict: str


def of_frameworks(runs: Sequence[Run]) -> bool:
    """Whether these runs can stand in one such table: one benchmark, and systems that run model files."""
    return len({run.record["benchmark"]["name"] for run in runs}) == 1 and all(
        "framework" in _described(run) for run in runs
    )


def framework_rows(runs: Sequence[Run]) -> list[FrameworkRow]:
    """A row for each run, in the order given."""
    return [_row(run, _reference_of(run, runs)) for run in runs]


def framework_table(runs: Sequence[Run]) -> RenderableType:
    """The rows for the terminal, in 80 columns; a figure that no run has gets no column."""
    rows = framework_rows(runs)
    declared = runs[0].record["benchmark"]
    target = QualityTarget.model_validate(declared["quality"])
    table = Table(header_style="bold", box=None, padding=(0, 1, 0, 0))
    columns: dict[str, Sequence[str | Text]] = {
        "framework": [row.framework for row in rows],
        "on": [row.accelerator for row in rows],
        "precision": [_precision(row) for row in rows],
        _latency_title(rows): [_duration(row) for row in rows],
        "offline": [_rate(row) for row in rows],
        "quality": [_quality(row) for row in rows],
        "lost": ["" if row.quality_lost is None else f"{row.quality_lost:.4f}" for row in rows],
        "verdict": [Text(run.verdict.word, style=COLOURS[run.verdict.word]) for run in runs],
    }
    shown = {title: cells for title, cells in columns.items() if any(cells)}
    for title in shown:
        figure = title not in ("framework", "on", "precision", "verdict")
        table.add_column(title, justify="right" if figure else "left", no_wrap=figure)
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*cells)
    return Group(Text(declared["title"], style="bold"), table, *_remarks(rows, target))


def _row(run: Run, reference: Run | None) -> FrameworkRow:
    described = _described(run)
    stream, offline = run.result.get("single-stream", {}), run.result.get("offline", {})
    quality = _quality_of(run)
    target = _target(run)
    lost = None
    if reference is not None and quality is not None:
        best = _quality_of(reference)
        assert best is not None  # that is how it was chosen
        lost = best - quality if target.higher_is_better else quality - best
    delegate = described.get("delegate")
    return FrameworkRow(
        run=run.path.name,
        framework=described["framework"],
        version=described["version"],
        accelerator=described["accelerator"] + (f" {delegate}" if delegate else ""),
        precision=described["precision"],
        precision_executed=described.get("precision_executed", ""),
        threads=described["threads"],
        percentile=stream.get("percentile"),
        latency_ns=stream.get("percentile_latency_ns"),
        samples_per_second=offline.get("samples_per_second"),
        quality=quality,
        quality_lost=lost,
        lost_against=None if lost is None or reference is None else reference.path.name,
        within_threshold=None if quality is None else target.met_by(quality),
        verdict=str(run.verdict),
    )


def _reference_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run of full precision that this one's quality is held against, if there is one."""
    whole = [
        other
        for other in runs
        if _described(other)["precision"] == FULL_PRECISION and _quality_of(other) is not None
    ]
    for framework in (_described(run)["framework"], REFERENCE_FRAMEWORK):
        for other in whole:
            if _described(other)["framework"] == framework:
                return other
    return None


def _described(run: Run) -> dict[str, Any]:
    """What the system said of itself (`ModelFileSystem.describe`)."""
    described: dict[str, Any] = run.record["system"]["description"]
    return described


def _quality_of(run: Run) -> float | None:
    quality: float | None = run.result.get("accuracy", {}).get("quality")
    return quality


def _target(run: Run) -> QualityTarget:
    return QualityTarget.model_validate(run.record["benchmark"]["quality"])


def _latency_title(rows: Sequence[FrameworkRow]) -> str:
    shares = {row.percentile for row in rows if row.percentile is not None}
    return f"p{100 * shares.pop():g}" if len(shares) == 1 else "latency"


def _precision(row: FrameworkRow) -> str:
    """What was asked for, and what ran if that is another."""
    ran = row.precision_executed
    if row.precision == OWN_PRECISION:
        return f"{row.precision}, {ran}" if ran else row.precision
    most = ran.partition(" (")[0]  # of the layers
    return f"{row.precision}→{most}" if ran and row.precision != most else row.precision


def _duration(row: FrameworkRow) -> str:
    return "" if row.latency_ns is None else format_duration_ns(row.latency_ns)


def _rate(row: FrameworkRow) -> str:
    return (
        ""
        if row.samples_per_second is None
        else format_rate(row.samples_per_second, "").strip() + "/s"
    )


def _quality(row: FrameworkRow) -> Text:
    if row.quality is None:
        return Text("")
    return Text(f"{row.quality:.4f}", style="" if row.within_threshold else "bold red")


def _remarks(rows: Sequence[FrameworkRow], target: QualityTarget) -> list[Text]:
    """What has to be known to read the figures."""
    most = "at least" if target.higher_is_better else "at most"
    words = []
    if any(row.quality is not None for row in rows):
        words.append(f"quality: {target.metric}, which has to be {most} {target.threshold:.4f}")
    if any(row.lost_against not in (None, row.run) for row in rows):
        words.append(
            f"lost: against {FULL_PRECISION} of the same framework, or else of {REFERENCE_FRAMEWORK}"
        )
    if any("→" in _precision(row) for row in rows):
        words.append("a→b: a was asked for, b is what ran, in most layers at least")
    return [Text(line, style="dim") for line in words]
