"""What the page is told it can measure, and the bytes for it: tasks, models, inputs, schedules.

Made of the benchmarks of the mobile suite whose data ships; nothing is declared here a second time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.core.errors import DataError, GnomonError, SettingsError, UnknownNameError
from gnomon.core.registry import BENCHMARKS, TASKS
from gnomon.core.spec import Benchmark
from gnomon.core.version import __version__
from gnomon.loadgen.options import LoadOptions, declaration_of, planned_tests
from gnomon.loadgen.remote import scheduled_samples
from gnomon.loadgen.settings import Mode, RunMode, Scenario, Settings
from gnomon.suites.mobile import SUITE
from gnomon.tasks.mobile.shipped import MobileTask
from gnomon.web.content import Content
from gnomon.web.runtime_package import RuntimePackage

PRECISIONS = {"fp32": "onnx", "fp16": "onnx-fp16", "int8": "onnx-int8"}
"""By the page's name of a precision: the format of the model."""
MOST_SCHEDULED = 1 << 20


@dataclass(frozen=True)
class Offered:
    """A benchmark that a page can measure.

    Attributes:
        benchmark: As it is registered.
        task: Its task.
        models: By precision: the model's file name and content.
        inputs: Every sample's stored input, one after the other.
        tests: By run mode, then by test: the settings, in the order of measuring.
        about_inputs: Type, shape and feeds of `inputs`.
    """

    benchmark: Benchmark
    task: MobileTask
    models: Mapping[str, tuple[str, Content]]
    inputs: Content
    tests: Mapping[str, Mapping[str, Settings]]
    about_inputs: Mapping[str, Any]

    def settings(self, mode: str, test: str) -> Settings:
        """The settings of one test.

        Raises:
            UnknownNameError: There is no such run mode or test.
        """
        if mode not in self.tests:
            raise UnknownNameError("run mode", mode, self.tests)
        if test not in self.tests[mode]:
            raise UnknownNameError("test", test, self.tests[mode])
        return self.tests[mode][test]


@dataclass(frozen=True)
class Catalogue:
    """Everything a page can measure.

    Attributes:
        offered: By benchmark.
        modes: The run modes that they share.
        content: What the page is told, as JSON.
        left_out: By benchmark: why it cannot be offered.
    """

    offered: Mapping[str, Offered]
    modes: tuple[RunMode, ...]
    content: Content
    left_out: Mapping[str, str]

    def of(self, benchmark: str) -> Offered:
        """The benchmark of this name.

        Raises:
            UnknownNameError: It is not offered.
        """
        if benchmark not in self.offered:
            raise UnknownNameError("benchmark", benchmark, self.offered)
        return self.offered[benchmark]


def make_catalogue(runtime: RuntimePackage) -> Catalogue:
    """Load every task that ships and put the catalogue together.

    Raises:
        DataError: There is none that can be offered.
    """
    offered: dict[str, Offered] = {}
    left_out: dict[str, str] = {}
    modes: tuple[RunMode, ...] = ()
    for entry in BENCHMARKS:
        if not entry.name.startswith(f"{SUITE}-"):
            continue  # others need not be imported
        try:
            benchmark: Benchmark = BENCHMARKS.load(entry.name)
            kind = TASKS.load(benchmark.task)
            if benchmark.suite != SUITE or not issubclass(kind, MobileTask):
                continue
            found = _offer(benchmark, kind())
        except GnomonError as error:
            left_out[entry.name] = str(error)
            continue
        offered[entry.name] = found
        modes = modes or declaration_of(benchmark).run_modes
    if not offered:
        reasons = "; ".join(left_out.values()) or "the package has none"
        raise DataError(f"no mobile benchmark can be offered ({reasons}): reinstall gnomon")
    told = {
        "gnomon_version": __version__,
        "runtime": runtime.describe(),
        "modes": [_mode_told(mode) for mode in modes],
        "tasks": [_task_told(found) for found in offered.values()],
    }
    text = json.dumps(told, ensure_ascii=False).encode()
    return Catalogue(offered, modes, Content(text, "application/json"), left_out)


def schedule_of(settings: Settings, rows: int | None) -> bytes:
    """The sample indices of the first rows of a test, little-endian int32.

    Args:
        settings: Of the test.
        rows: How many; None: as many as the test has at least.

    Raises:
        SettingsError: That is none, or more than is given out.
    """
    accuracy = settings.mode is Mode.ACCURACY
    least = settings.total_sample_count if accuracy else settings.min_query_count
    wanted = least if rows is None or accuracy else rows
    if not 0 < wanted <= MOST_SCHEDULED:
        raise SettingsError(f"rows must be a whole number from 1 to {MOST_SCHEDULED}, got {rows}")
    return scheduled_samples(settings, wanted).astype("<i4").tobytes()


def _offer(benchmark: Benchmark, task: MobileTask) -> Offered:
    stored = task.stored_inputs(np.arange(len(task)))
    if stored.dtype not in (np.uint8, np.int32):
        raise DataError(
            f"task {task.name!r} stores its inputs as {stored.dtype}, not uint8 or int32"
        )
    some = task.model_inputs(task.inputs(np.arange(1)))
    inputs = np.ascontiguousarray(stored.astype(stored.dtype.newbyteorder("<")))
    modes = declaration_of(benchmark).run_modes
    return Offered(
        benchmark=benchmark,
        task=task,
        models=_models(task),
        inputs=Content(inputs.tobytes()),
        tests={
            mode.name: {
                name: planned.settings
                for name, planned in planned_tests(
                    benchmark, task, LoadOptions(rules=mode.name)
                ).items()
            }
            for mode in modes
        },
        about_inputs={
            "dtype": stored.dtype.name,
            "shape": list(stored.shape),
            "feeds": [np.asarray(batch).dtype.name for batch in some],
        },
    )


def _models(task: MobileTask) -> dict[str, tuple[str, Content]]:
    """The models that ship, by precision; float32 always does."""
    found = {}
    for precision, form in PRECISIONS.items():
        try:
            file = task.model(form)
        except DataError:
            if precision == "fp32":
                raise
            continue
        found[precision] = (file.name, Content(file.read_bytes()))
    return found


def _mode_told(mode: RunMode) -> dict[str, Any]:
    limit = f", {mode.max_duration_s:g} s at most" if mode.max_duration_s else ""
    rest = (
        f" Rests {mode.cooldown_s:g} s before each test but the first." if mode.cooldown_s else ""
    )
    official = " What a submission needs: run it on battery." if mode.official else ""
    return {
        "name": mode.name,
        "title": mode.name.capitalize(),
        "explanation": f"At least {mode.min_query_count} queries and {mode.min_duration_s:g} s a test"
        f"{limit}.{rest}{official}",
        "cooldown_s": mode.cooldown_s,
    }


def _task_told(found: Offered) -> dict[str, Any]:
    benchmark, task = found.benchmark, found.task
    source = task.source()
    name = benchmark.name
    return {
        "benchmark": name,
        "title": benchmark.title,
        "metric": task.metric,
        "unit": task.unit,
        "higher_is_better": benchmark.quality.higher_is_better,
        "threshold": benchmark.quality.threshold,
        "samples": len(task),
        "official": source.official,
        "data_source": source.name,
        "models": [
            {
                "precision": precision,
                "path": model.addressed(f"api/models/{name}/{precision}.onnx"),
                "bytes": len(model.data),
                "sha256": model.sha256,
            }
            for precision, (_, model) in found.models.items()
        ],
        "inputs": {
            "path": found.inputs.addressed(f"api/inputs/{name}"),
            "bytes": len(found.inputs.data),
            "sha256": found.inputs.sha256,
            **found.about_inputs,
        },
        "batch_size": task.browser_batch_size,
        "tests": {
            mode: [_test_told(name, mode, test, settings) for test, settings in tests.items()]
            for mode, tests in found.tests.items()
        },
    }


def _test_told(benchmark: str, mode: str, test: str, settings: Settings) -> dict[str, Any]:
    accuracy = settings.mode is Mode.ACCURACY
    offline = settings.scenario is Scenario.OFFLINE
    return {
        "name": test,
        "kind": settings.mode.value,
        "scenario": settings.scenario.value,
        "min_query_count": settings.total_sample_count if accuracy else settings.min_query_count,
        "max_query_count": settings.max_query_count,
        "min_duration_ns": 0 if accuracy else settings.min_duration_ns,
        "max_duration_ns": 0 if offline else settings.max_duration_ns,
        "percentile": settings.target_latency_percentile,
        "schedule": f"api/schedules/{benchmark}/{mode}/{test}",
    }
