"""The HTML report: one file that opens offline and says first what the verdict is, and why.

A report is a view of run folders and adds nothing to them: every figure is computed from their raw
samples or copied from `run.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any, TypeAlias

from gnomon.core.errors import DataError, RunFolderError, UsageError
from gnomon.core.files import write_atomically
from gnomon.core.registry import PROTOCOLS
from gnomon.core.run import Run
from gnomon.core.verdict import Verdict
from gnomon.core.version import __version__
from gnomon.loadgen.find_peak import is_probe
from gnomon.results.charts import Chart, Curve, latency_distribution
from gnomon.results.fleet_charts import fleet_charts
from gnomon.results.load_charts import latency_curve, load_charts
from gnomon.results.mobile_device import browser_told, clean, device_of_browser
from gnomon.results.system_label import run_title, system_label
from gnomon.results.table import figures, sentence
from gnomon.results.tiny_charts import boards_together, tiny_charts
from gnomon.results.training_charts import scaling_chart, training_charts

CHARTS: dict[str, Callable[[Any, dict[str, Any]], list[Chart]]] = {
    "load": load_charts,
    "fleet": fleet_charts,
    "device": tiny_charts,
    "timetotrain": training_charts,
}
"""By protocol: the charts of one measurement, from its raw samples and its entry in `run.json`."""
CHECKED = {
    "load": "Recompute every figure and the verdict from the raw samples, and hold them against the schedule "
    "that the seeds give",
    "fleet": "Recompute every figure and the verdict from rounds, clients and final parameters, and hold "
    "them against the devices and the data that the seed gives",
    "device": "Recompute every figure and the verdict from the board's timestamps, its answers and the "
    "energy samples",
    "timetotrain": "Recompute every figure and the verdict from the runs' journals, and score the answers of "
    "their evaluations again",
}
"""By protocol: what `gnomon check` does."""
PROVIDERS = {"webgpu": "WebGPU", "wasm": "WebAssembly", "webnn": "WebNN"}
"""By a browser's execution provider: its name."""
LEGEND_WIDTH = 40
"""Characters in a line."""

Rows: TypeAlias = tuple[tuple[str, str], ...]
"""(label, text) in order."""


@dataclass(frozen=True)
class Measurement:
    """One measurement as the page shows it."""

    name: str
    headline: str
    figures: Rows
    verdict: Verdict
    unfinished: bool
    charts: tuple[Chart, ...]
    settings: Rows
    missing: str = ""


@dataclass(frozen=True)
class Page:
    """One run as the page shows it. `machines` has what each is to the run, and its rows."""

    run: Run
    title: str
    verdict: Verdict
    measurements: tuple[Measurement, ...]
    facts: Rows
    machines: tuple[tuple[str, Rows], ...]
    files: tuple[str, ...]
    probe_count: int
    checked: str


def write_report(runs: Sequence[Run], path: Path | str) -> Path:
    """Write one self-contained HTML file about these runs and return its path.

    Raises:
        UsageError: No run is given.
        RunFolderError: The file cannot be written.
    """
    path = Path(path)
    if not runs:
        raise UsageError("a report needs at least one run")
    try:
        write_atomically(path, render(runs).encode())
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror}; choose another file with --output"
        ) from None
    return path


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("gnomon.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["sentence"] = sentence
    pages = [_page(run) for run in runs]
    shared = _shared_charts(runs) if len(runs) > 1 else []
    has_charts = bool(shared) or any(entry.charts for page in pages for entry in page.measurements)
    return environment.get_template("page.html").render(
        pages=pages,
        shared=shared,
        version=__version__,
        plotly=get_plotlyjs() if has_charts else "",
    )


def _figure(chart: Chart) -> str:
    """A chart as JSON that may stand inside a script element."""
    return json.dumps(chart.figure, separators=(",", ":")).replace("</", "<\\/")


def _page(run: Run) -> Page:
    record, verdict = run.record, run.verdict
    shown = {name: stored for name, stored in run.measurements.items() if not is_probe(name)}
    return Page(
        run=run,
        title=run_title(record),
        verdict=verdict,
        measurements=tuple(_measurement(run, name, stored) for name, stored in shown.items()),
        facts=tuple(_facts(run)),
        machines=tuple(_machines(record)),
        files=tuple(_files(run.path)),
        probe_count=len(run.measurements) - len(shown),
        checked=CHECKED.get(record["protocol"], "Recompute every figure and the verdict"),
    )


def _measurement(run: Run, name: str, stored: dict[str, Any]) -> Measurement:
    charts: list[Chart] = []
    missing = ""
    make = CHARTS.get(run.record["protocol"])
    if make is not None:
        try:
            samples = PROTOCOLS.load(run.record["protocol"]).read_samples(run, name)
            charts = make(samples, stored)
        except (RunFolderError, DataError) as error:
            missing = str(error)
    rows = figures(run.record["protocol"], stored["result"])
    return Measurement(
        name=name,
        headline=rows[0][1] if rows else "no result",
        figures=tuple(rows),
        verdict=run.verdict.of(name),
        unfinished=stored["result"] is None,
        charts=tuple(charts),
        settings=tuple(flat(stored["settings"])),
        missing=missing,
    )


def _shared_charts(runs: Sequence[Run]) -> list[tuple[str, Chart]]:
    """For each measurement that several runs have, their distributions in one picture."""
    curves: dict[str, list[Curve]] = {}
    for number, run in enumerate(runs, start=1):
        if run.record["protocol"] != "load":
            continue
        for name, stored in run.measurements.items():
            if is_probe(name):
                continue
            try:
                samples = PROTOCOLS.load("load").read_samples(run, name)
            except (RunFolderError, DataError):
                continue
            curve = latency_curve(_legend(number, run), samples, stored)
            if curve is not None:
                curves.setdefault(name, []).append(curve)
    shared = [
        (name, latency_distribution(found)) for name, found in curves.items() if len(found) > 1
    ]
    boards = boards_together([run for run in runs if run.record["protocol"] == "device"])
    scaling = scaling_chart(runs)
    whole = [("boards", boards), ("processes", scaling)]
    return [*shared, *((name, chart) for name, chart in whole if chart is not None)]


def _legend(number: int, run: Run) -> str:
    """A run in the charts' markup, in lines that fit a phone; a device's name is not ours."""
    lines = wrap(f"{number}: {system_label(run.record)}", LEGEND_WIDTH)
    return "<br>".join(escape(line, quote=False) for line in lines)


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    record = run.record
    benchmark, data = record["benchmark"], record["data"]
    browser = browser_told(record)
    if browser is not None:
        device = device_of_browser(browser)
        yield "device", f"{device.name}, {device.browser}"
    yield "run", run.id
    yield "started", _time(record["started_at"])
    if record.get("finished_at"):
        yield "finished", _time(record["finished_at"])
    yield (
        "status",
        run.status + (f" ({record['aborted_because']})" if record.get("aborted_because") else ""),
    )
    for stop in record.get("resumed", []):
        yield "resumed", f"{_time(stop['resumed_at'])}, after: {stop['aborted_because']}"
    yield "rules", record["rules"]
    yield "data", f"{data['name']} (sha256 {data['sha256'][:12]})"
    if record.get("data_path"):
        yield "data from", record["data_path"]
    yield "official data", "yes" if data["official"] else "no"
    quality = benchmark["quality"]
    yield (
        "quality target",
        f"{quality['metric']} {quality['reference'] * quality['factor']:.4f}, "
        f"{100 * quality['factor']:g} % of the reference",
    )
    yield "specification", benchmark["specification"]
    described = dict(record["system"]["description"])
    probes = [] if browser is None else described.pop("probes", [])
    for name, value in flat(described):
        yield f"system: {name}", value
    for probe in probes:
        yield f"browser: {PROVIDERS.get(probe['name'], clean(probe['name']))}", _found(probe)
    for name, value in flat(record["options"]):
        yield f"option: {name}", value
    for note in record.get("notes", []):
        yield "note", note
    yield "Gnomon", record["gnomon_version"]


def _found(probe: dict[str, Any]) -> str:
    """What the page found when it tried an execution provider."""
    return clean(probe.get("why"), 300) or ("usable" if probe["usable"] else "not usable")


def _machines(record: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    """The machine, or the device of a browser and then the server: only the first was measured."""
    environment = dict(record["environment"])
    told = browser_told(record)
    if told is None:
        yield "The machine it ran on", tuple(flat(environment))
        return
    device = device_of_browser(told)
    named = (("device", device.name), ("browser", device.browser))
    yield "The device it ran on", (*named, *flat(environment.pop("device")))
    yield "The server that kept the record", tuple(flat(environment))


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S %Z}"


def flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as rows of dotted names and text."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value) or "none"
        elif value is not None:
            yield f"{prefix}{key}", str(value)


def _files(path: Path) -> Iterator[str]:
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name not in ("lock", "report.html"):
            yield str(file.relative_to(path))


def report_json(runs: Sequence[Run], path: Path) -> dict[str, Any]:
    """What `gnomon report --json` prints."""
    return {
        "report": str(path),
        "runs": [
            {
                "path": str(run.path),
                "status": run.status,
                "verdict": str(run.verdict),
                "valid": run.verdict.valid,
                "failures": [asdict(check) for check in run.verdict.failures],
            }
            for run in runs
        ],
    }
