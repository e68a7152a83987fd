"""Runs of one session as the result file of MLPerf Mobile's app, and such files read.

Takes run folders, gives an `ExtendedResult` (`mobile_format.py`). What the figures mean follows the app
at 051a47af, folder `flutter/`: latencies are in seconds (`lib/backend/loadgen_info.dart`); throughput is
1 / p90 latency in SingleStream and samples / p90 latency in Offline (`lib/state/task_runner.dart`),
whose samples the app completes all at once at the end (`cpp/mlperf_driver.cc`), so that every one of its
latencies is the whole test's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ValidationError

from gnomon.core import version
from gnomon.core.errors import DataError, RunFolderError, UsageError
from gnomon.core.files import write_atomically
from gnomon.core.registry import PROTOCOLS
from gnomon.core.run import Run
from gnomon.core.spec import first_of
from gnomon.core.verdict import Check, Verdict
from gnomon.loadgen.condition_checks import grade
from gnomon.loadgen.judge import ACCURACY
from gnomon.loadgen.settings import NS_PER_S, Scenario
from gnomon.results.mobile_device import Backend, Device, backend_of, device_of, session_of
from gnomon.results.mobile_format import (
    Accuracy,
    Android,
    BackendInfo,
    BackendSettings,
    BuildInfo,
    Dataset,
    Entry,
    EnvironmentInfo,
    ExtendedResult,
    ExtraSetting,
    Ios,
    Loadgen,
    Measured,
    Meta,
    Platforms,
    Throughput,
    Windows,
)

LARGEST_FILE = 16 << 20
SCENARIOS = (Scenario.SINGLE_STREAM, Scenario.OFFLINE)
"""Those that the app knows."""
DATASETS = {
    "mobile-classification": "IMAGENET",
    "mobile-imagenet": "IMAGENET",
    "mobile-detection": "COCO",
    "mobile-coco": "COCO",
    "mobile-segmentation": "ADE20K",
    "mobile-ade20k": "ADE20K",
    "mobile-question-answering": "SQUAD",
    "mobile-squad": "SQUAD",
    "mobile-super-resolution": "SNUSR",
    "mobile-snusr": "SNUSR",
}
"""The kind of data in the app's words (`DatasetTypeEnum`), by benchmark. Which data it was, its name says."""
DECIBELS = "dB"
MOST_DECIBELS = 100.0
"""What the app divides a PSNR by (`flutter/cpp/datasets/snu_sr.cc`), so that it lies between 0 and 1."""
STAND_IN = "(stand-in)"
VENDOR = "Gnomon"


def read_result_file(path: Path) -> ExtendedResult:
    """Read a result file, of the app or of this package.

    Raises:
        DataError: It cannot be read, or is not such a file; the line says which field is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return parse_result(data, str(path))


def parse_result(data: bytes, name: str) -> ExtendedResult:
    """The same from the file's bytes; `name` is for the message."""
    if len(data) > LARGEST_FILE:
        raise DataError(f"{name} is larger than {LARGEST_FILE >> 20} MiB: not a result file")
    try:
        return ExtendedResult.model_validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"{name} is not a result file of the mobile app: {first_of(error)}"
        ) from None


def write_result_file(result: ExtendedResult, place: Path) -> Path:
    """Write the result to a `.json` file, or to a folder as `<date>_<uuid>.json`, as the app names it.

    Returns:
        Its path.

    Raises:
        RunFolderError: It cannot be written.
    """
    name = f"{result.meta.creation_date:%Y-%m-%dT%H-%M-%S}_{result.meta.uuid}.json"
    path = place if place.suffix == ".json" else place / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, result_bytes(result))
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}; choose another") from None
    return path


def result_bytes(result: ExtendedResult) -> bytes:
    """The file's content."""
    return (result.model_dump_json(indent=2) + "\n").encode()


def result_file_of(runs: Sequence[Run]) -> ExtendedResult:
    """The result file of one session: one entry for each run and scenario.

    The same runs give the same file, whenever it is written.

    Raises:
        UsageError: No run, one that goes on or has no scenario of the app's, or runs of several devices.
    """
    if not runs:
        raise UsageError("a result file needs at least one run")
    devices = [device_of(run) for run in runs]
    for run, device in zip(runs, devices, strict=True):
        if run.record["protocol"] != "load":
            raise UsageError(
                f"{run.id} was measured by the protocol {run.record['protocol']!r}: a result file holds runs "
                f"of mobile benchmarks"
            )
        if run.status == "running":
            raise UsageError(f"{run.id} is still running: wait for it")
        if device != devices[0]:
            raise UsageError(
                f"{runs[0].id} is of {devices[0].name}, {run.id} of {device.name}: a result file is of one "
                f"device, export the runs of each by themselves"
            )
    ended = [run.record.get("finished_at") or run.record["started_at"] for run in runs]
    return ExtendedResult(
        meta=Meta(uuid=_uuid(runs), creation_date=max(map(moment_of, ended))),
        results=tuple(entry for run in runs for entry in _entries(run)),
        environment_info=_environment(devices[0]),
        build_info=_build(runs),
    )


def moment_of(text: str) -> datetime:
    """A time on record, in UTC where it names no zone."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def scenarios_of(run: Run) -> list[str]:
    """The performance tests of a run that the app has a scenario for, in the app's order."""
    return [scenario.value for scenario in SCENARIOS if scenario.value in run.measurements]


def _uuid(runs: Sequence[Run]) -> str:
    """That of the session if it is one and the same; else one that follows from the runs."""
    sessions = {session_of(run) for run in runs}
    try:
        return str(UUID(min(sessions))) if len(sessions) == 1 else _made(runs)
    except ValueError:
        return _made(runs)


def _made(runs: Sequence[Run]) -> str:
    return str(uuid5(NAMESPACE_URL, "gnomon:" + ",".join(sorted(run.id for run in runs))))


def _entries(run: Run) -> Iterator[Entry]:
    names = scenarios_of(run)
    if not names and ACCURACY not in run.measurements:
        raise UsageError(
            f"{run.id} has measured neither single-stream nor offline, which are all that a result file "
            f"of the mobile app can hold"
        )
    benchmark = run.record["benchmark"]
    for name in names or [Scenario.SINGLE_STREAM.value]:
        stored = run.measurements.get(name) or run.measurements[ACCURACY]
        offline = name == Scenario.OFFLINE.value
        backend = backend_of(run)
        yield Entry(
            benchmark_id=benchmark["name"] + ("-offline" if offline else ""),
            benchmark_name=benchmark["title"] + (" (Offline)" if offline else ""),
            loadgen_scenario=Scenario(name).field_name,
            backend_settings=_settings(run, backend, offline=offline),
            backend_info=BackendInfo(
                filename=backend.system,
                vendor_name=VENDOR,
                backend_name=backend.framework,
                accelerator_name=backend.accelerator,
            ),
            performance_run=_performance(run, name) if names else None,
            accuracy_run=_accuracy(run),
            min_duration=stored["settings"]["min_duration_ns"] / NS_PER_S,
            min_samples=int(stored["settings"]["min_query_count"]),
        )


def _performance(run: Run, name: str) -> Measured | None:
    stored = run.measurements[name]
    result = stored["result"]
    if result is None:
        return None
    latency = result["latency"]
    mean_ns, p90_ns = latency["mean_ns"], latency["p90_ns"]
    per_latency = 1
    if name == Scenario.OFFLINE.value:
        mean_ns = p90_ns = latency["max_ns"]
        per_latency = result["sample_count"]
    verdict = run.verdict.of(name)
    return Measured(
        throughput=Throughput(value=per_latency * NS_PER_S / p90_ns) if p90_ns > 0 else None,
        accuracy=None,
        dataset=_dataset(run),
        measured_duration=result["duration_ns"] / NS_PER_S,
        measured_samples=result["sample_count"],
        start_datetime=moment_of(stored["started_at"]),
        loadgen=Loadgen(
            query_count=result["query_count"],
            latency_mean=mean_ns / NS_PER_S,
            latency90=p90_ns / NS_PER_S,
            is_min_duration_met=_holds(verdict, "min_duration"),
            is_min_query_met=_holds(verdict, "min_queries"),
            # Offline has no such test, which the load generator counts as met.
            is_early_stopping_met=_holds(
                verdict, "early_stopping", missing="early_stopping" not in result
            ),
            is_result_valid=verdict.valid,
        ),
    )


def _holds(verdict: Verdict, name: str, *, missing: bool = False) -> bool:
    found: list[Check] = [check for check in verdict.checks if check.name == name]
    return all(check.passed for check in found) if found else missing


def _accuracy(run: Run) -> Measured | None:
    """The accuracy test. The app writes null for the load generator's word on it, as it times nothing."""
    stored = run.measurements.get(ACCURACY)
    if stored is None or stored["result"] is None:
        return None
    result = stored["result"]
    answered_ns = PROTOCOLS.load(run.record["protocol"]).read_samples(run, ACCURACY).completed_ns
    return Measured(
        throughput=None,
        accuracy=accuracy_of(result["quality"], result["metric"]),
        dataset=_dataset(run),
        measured_duration=int(answered_ns.max()) / NS_PER_S,
        measured_samples=result["sample_count"],
        start_datetime=moment_of(stored["started_at"]),
    )


def accuracy_of(quality: float, metric: dict[str, Any]) -> Accuracy:
    """A quality as the app has it: from 0 to 1, and in the words of its data set (`flutter/cpp/datasets`)."""
    if metric["unit"] == DECIBELS:
        return Accuracy(normalized=quality / MOST_DECIBELS, formatted=f"{quality:.2f} {DECIBELS}")
    formatted = {
        "mAP": f"{quality:.4f} mAP",
        "mIoU": f"{quality:.4f} mIoU",
        "F1": f"{100 * quality:.4f}",
    }.get(metric["name"], f"{100 * quality:.2f}%")
    return Accuracy(normalized=quality, formatted=formatted)


def _dataset(run: Run) -> Dataset:
    data = run.record["data"]
    return Dataset(
        name=data["name"] if data["official"] else f"{data['name']} {STAND_IN}",
        type=DATASETS.get(run.record["benchmark"]["name"], "NONE"),
        data_path=run.record.get("data_path") or f"gnomon:{run.record['benchmark']['task']}",
        groundtruth_path="",
    )


def _settings(run: Run, backend: Backend, *, offline: bool) -> BackendSettings:
    return BackendSettings(
        accelerator_code=backend.accelerator.lower().replace(" ", "_"),
        accelerator_desc=backend.accelerator,
        framework=backend.framework,
        delegate=backend.provider or "none",
        model_path=f"gnomon:{backend.model.replace(' ', '%20') or 'unknown'}",
        batch_size=backend.batch_size if offline else 1,
        extra_settings=tuple(_extra(run, backend)),
    )


def _extra(run: Run, backend: Backend) -> Iterator[ExtraSetting]:
    """What the app has no field for, and a reader must know: whose rules, what verdict, which data."""

    def setting(name: str, title: str, value: object, words: str = "") -> ExtraSetting:
        return ExtraSetting(id=name, name=title, value=str(value), value_name=words or str(value))

    threads = backend.threads
    if threads is not None:
        yield setting(
            "num_threads", "Number of threads", threads, f"{threads} thread{'s' * (threads != 1)}"
        )
    if backend.precision:
        yield setting("precision", "Precision", backend.precision)
    if backend.version:
        yield setting("framework_version", "Version of the framework", backend.version)
    if backend.model_sha256:
        yield setting("model_sha256", "SHA-256 of the model", backend.model_sha256)
    if backend.isolated is not None:
        words = "threads and a fine clock" if backend.isolated else "one thread, a coarse clock"
        yield setting("isolated", "Page is isolated", str(backend.isolated).lower(), words)
    verdict, data = run.verdict, run.record["data"]
    yield setting("rules", "Gnomon's rules", verdict.profile)
    yield setting("verdict", "Gnomon's verdict", verdict.word, str(verdict))
    yield setting("grade", "Gnomon's grade", grade(verdict))
    if verdict.remark:
        yield setting("remark", "Remark", verdict.remark)
    quality = run.record["benchmark"]["quality"]
    yield setting("metric", "Metric", quality["metric"])
    yield setting(
        "quality_threshold", "Quality asked for", quality["reference"] * quality["factor"]
    )
    official = "official data" if data["official"] else "stand-in data"
    yield setting("data_official", "Official data", str(data["official"]).lower(), official)
    yield setting("data_sha256", "SHA-256 of the data", data["sha256"])
    yield setting("device", "Device", device_of(run).name)
    if browser := device_of(run).browser:
        yield setting("browser", "Browser", browser)
    yield setting("run", "Run folder", run.id)


def _environment(device: Device) -> EnvironmentInfo:
    """The app has three platforms; any other stands here by its plain name with none of the three."""
    android = ios = windows = None
    if device.platform == "android":
        android = Android(
            os_version=device.os_version,
            manufacturer=device.manufacturer,
            model_code=device.model,
            model_name=device.model,
            board_code="",
            proc_cpuinfo_soc_name=device.cpu,
        )
    elif device.platform == "ios":
        ios = Ios(
            os_version=device.os_version,
            model_code=device.model,
            model_name=device.model,
            soc_name=device.cpu,
        )
    elif device.platform == "windows":
        windows = Windows(os_version=device.os_version, cpu_full_name=device.cpu)
    return EnvironmentInfo(
        platform=device.platform, value=Platforms(android=android, ios=ios, windows=windows)
    )


def _build(runs: Sequence[Run]) -> BuildInfo:
    built = datetime.fromtimestamp(int(Path(version.__file__).stat().st_mtime), UTC)
    return BuildInfo(
        version=f"gnomon {runs[0].record['gnomon_version']}",
        build_number="0",
        build_date=built,
        official_release_flag=False,
        dev_test_flag=False,
        backend_list=tuple(sorted({backend_of(run).system for run in runs})),
        git_branch="",
        git_commit="",
        git_dirty_flag=False,
    )
