"""The result file of MLPerf Mobile's app, as frozen models: what is read from others and written for them.

Names and shape: `tools/extended_result_schema.json` and `flutter/lib/data/` of
github.com/mlcommons/mobile_app_open at 051a47af. Newer apps write fields that this schema forbids
(`meta.run_mode`, first-token times): these are read over, and never written.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


def utc_text(when: datetime) -> str:
    """RFC 3339 in milliseconds of UTC, so that text sorts as time does; without a zone it counts as UTC."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _written(when: datetime) -> str:
    """The app writes local time without a zone, which is kept as it is."""
    return utc_text(when) if when.tzinfo else when.isoformat(timespec="milliseconds")


Moment = Annotated[datetime, PlainSerializer(_written)]


class Part(BaseModel):
    """One object of the file. What it has besides is passed over, as the app does."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class Meta(Part):
    """Which result this is."""

    uuid: str
    creation_date: Moment
    upload_date: Moment | None = None
    run_mode: str | None = Field(default=None, exclude=True)


class ExtraSetting(Part):
    """A setting of the back end, and in words."""

    id: str
    name: str
    value: str
    value_name: str


class BackendSettings(Part):
    """How the model was asked to be run."""

    accelerator_code: str
    accelerator_desc: str
    framework: str
    delegate: str = "unknown"
    model_path: str
    batch_size: int
    extra_settings: tuple[ExtraSetting, ...]


class BackendInfo(Part):
    """What the back end says ran it."""

    filename: str
    vendor_name: str
    backend_name: str
    accelerator_name: str


class Throughput(Part):
    """Queries a second; Offline: samples a second."""

    value: float


class Accuracy(Part):
    """Quality from 0 to 1 (the app refuses others), and as people write it."""

    normalized: float
    formatted: str


class Dataset(Part):
    """What was measured on."""

    name: str
    type: str
    data_path: str
    groundtruth_path: str


class Loadgen(Part):
    """What the load generator says of a test; latencies in seconds (`lib/backend/loadgen_info.dart`)."""

    query_count: int
    latency_mean: float
    latency90: float
    is_min_duration_met: bool
    is_min_query_met: bool
    is_early_stopping_met: bool
    is_result_valid: bool


class Measured(Part):
    """One test. Files of older apps have another object in the place of `loadgen`; it counts as missing."""

    throughput: Throughput | None
    accuracy: Accuracy | None
    accuracy2: Accuracy | None = None
    dataset: Dataset
    measured_duration: float = Field(description="seconds")
    measured_samples: int
    start_datetime: Moment
    loadgen: Loadgen | None = None


class Entry(Part):
    """One benchmark in one scenario."""

    benchmark_id: str
    benchmark_name: str
    loadgen_scenario: str = Field(description="`SingleStream` or `Offline`")
    backend_settings: BackendSettings
    backend_info: BackendInfo
    performance_run: Measured | None
    accuracy_run: Measured | None
    min_duration: float = Field(description="seconds")
    min_samples: int

    def setting(self, name: str) -> str:
        """The value of an extra setting, empty if there is none."""
        settings = self.backend_settings.extra_settings
        return next((found.value for found in settings if found.id == name), "")


class Property(Part):
    """A system property of Android."""

    type: str
    name: str
    value: str


class Android(Part):
    """An Android device."""

    os_version: str
    manufacturer: str | None = None
    model_code: str | None = None
    model_name: str | None = None
    board_code: str | None = None
    proc_cpuinfo_soc_name: str
    props: tuple[Property, ...] = ()


class Ios(Part):
    """A device of Apple's."""

    os_version: str
    model_code: str | None = None
    model_name: str | None = None
    soc_name: str


class Windows(Part):
    """A computer under Windows."""

    os_version: str
    cpu_full_name: str


class Platforms(Part):
    """The one that the platform names; the app knows no others."""

    android: Android | None = None
    ios: Ios | None = None
    windows: Windows | None = None


class EnvironmentInfo(Part):
    """What was measured."""

    platform: str
    value: Platforms


class BuildInfo(Part):
    """What measured it."""

    version: str
    build_number: str
    build_date: Moment
    official_release_flag: bool
    dev_test_flag: bool
    backend_list: tuple[str, ...]
    git_branch: str
    git_commit: str
    git_dirty_flag: bool


class ExtendedResult(Part):
    """A result file: the benchmarks of one session on one device."""

    meta: Meta
    results: tuple[Entry, ...]
    environment_info: EnvironmentInfo
    build_info: BuildInfo

    def to_json(self) -> dict[str, Any]:
        """As the schema has it."""
        return self.model_dump(mode="json")
