"""Result files of the mobile app: written for every kind of run by its schema, and read from others."""

import json
from pathlib import Path

import jsonschema
import pytest

import gnomon
from gnomon.core.errors import DataError, UsageError
from gnomon.core.run import Run
from gnomon.results.mobile_file import (
    accuracy_of,
    read_result_file,
    result_bytes,
    result_file_of,
    write_result_file,
)
from tests.loadgen.small_mobile import SMALL
from tests.results.mobile_sessions import ANDROID, IPHONE, browser_run

PUBLISHED = Path(__file__).parent / "published_mobile"
WINDOWS = {"user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/133.0"}
SESSION = "7b6c9f1e-6f0b-4f0e-9d63-0d4a3c1e2b5a"


@pytest.fixture(scope="module")
def android(tmp_path_factory) -> Run:
    return browser_run(tmp_path_factory.mktemp("android"))


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> Run:
    return gnomon.run(SMALL, rules="quick", out=tmp_path_factory.mktemp("native"))


def official_schema_accepts(result) -> None:
    """The oracle: the app's own schema, formats included."""
    schema = json.loads((PUBLISHED / "extended_result_schema.json").read_text())
    kind = jsonschema.Draft6Validator
    kind(schema, format_checker=kind.FORMAT_CHECKER).validate(json.loads(result_bytes(result)))


def test_a_session_of_a_phone_fits_the_official_schema(android):
    result = result_file_of([android])
    official_schema_accepts(result)
    assert result.environment_info.platform == "android"
    phone = result.environment_info.value.android
    assert (phone.model_name, phone.manufacturer) == ("Pixel 8", "")  # a brand is the browser's
    assert [entry.loadgen_scenario for entry in result.results] == ["SingleStream", "Offline"]
    assert result.meta.uuid == SESSION
    assert "run_mode" not in result.to_json()["meta"]


def test_a_native_run_fits_it_under_the_plain_name_of_its_system(native):
    result = result_file_of([native])
    official_schema_accepts(result)
    assert result.environment_info.platform in ("linux", "macos")
    assert set(result.environment_info.value.model_dump().values()) == {None}
    assert result.results[0].backend_info.backend_name == "ONNX Runtime"


@pytest.mark.parametrize(
    ("device", "platform"),
    [(IPHONE, "ios"), (WINDOWS, "windows"), ({"user_agent": "?"}, "unknown")],
)
def test_other_devices_fit_it_too(tmp_path, device, platform):
    result = result_file_of([browser_run(tmp_path, device=device)])
    official_schema_accepts(result)
    assert result.environment_info.platform == platform


def test_a_run_without_accuracy_or_with_a_failed_test_fits_it(tmp_path):
    result = result_file_of([browser_run(tmp_path, rows=66, answers=False)])
    official_schema_accepts(result)
    stream = result.results[0]
    assert stream.accuracy_run is None
    assert not stream.performance_run.loadgen.is_min_query_met
    assert not stream.performance_run.loadgen.is_result_valid


def test_latencies_are_seconds_and_throughput_is_one_over_the_90th_percentile(android):
    stream = result_file_of([android]).results[0].performance_run
    p90_ns = android.result["single-stream"]["latency"]["p90_ns"]
    assert stream.loadgen.latency90 == pytest.approx(p90_ns / 1e9)
    assert stream.throughput.value == pytest.approx(1e9 / p90_ns)
    assert stream.loadgen.is_result_valid


def test_offline_is_one_query_whose_latency_is_the_whole_test(android):
    offline = result_file_of([android]).results[1].performance_run
    figures = android.result["offline"]
    assert offline.loadgen.latency90 == pytest.approx(figures["duration_ns"] / 1e9)
    assert offline.throughput.value == pytest.approx(figures["samples_per_second"])
    assert offline.measured_samples == figures["sample_count"]


def test_stand_in_data_is_called_so_in_the_name_of_the_data_set(android):
    for entry in result_file_of([android]).results:
        assert entry.performance_run.dataset.name.endswith("(stand-in)")
        assert entry.accuracy_run.dataset.name.endswith("(stand-in)")
        assert entry.setting("data_official") == "false"
        assert entry.setting("run") == android.id
        assert entry.setting("grade") == "valid"


def test_the_same_runs_give_the_same_file_under_the_apps_name(android, tmp_path):
    first = write_result_file(result_file_of([android]), tmp_path / "first")
    second = write_result_file(result_file_of([android]), tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    date, _, rest = first.name.partition("_")
    assert rest == f"{SESSION}.json"
    assert len(date) == len("2026-12-01T05-38-21")
    assert read_result_file(first) == result_file_of([android])


def test_runs_of_two_devices_are_refused(android, native):
    with pytest.raises(UsageError, match="one device"):
        result_file_of([android, native])
    with pytest.raises(UsageError, match="at least one run"):
        result_file_of([])


def test_files_of_the_app_itself_are_read_old_and_new(tmp_path):
    old = PUBLISHED / "extended_result_unittest.json"
    found = read_result_file(old)
    assert found.environment_info.value.ios.soc_name == "A12Z Bionic"
    assert found.results[0].performance_run.throughput.value == pytest.approx(615.3217579)
    newer = json.loads(old.read_text())
    newer["meta"]["run_mode"] = "quickRun"
    newer["results"][0]["performance_run"]["loadgen"] = {
        "query_count": 128,
        "latency_mean": 0.001,
        "latency90": 0.002,
        "latency_first_token_mean": 0.0,
        "is_token_based": False,
        "is_min_duration_met": True,
        "is_min_query_met": True,
        "is_early_stopping_met": True,
        "is_result_valid": True,
    }
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(newer))
    again = read_result_file(path)
    assert again.meta.run_mode == "quickRun"
    assert again.results[0].performance_run.loadgen.latency90 == 0.002


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda file: file["results"][0].pop("benchmark_id"), "results.0.benchmark_id"),
        (lambda file: file["meta"].update(creation_date="soon"), "meta.creation_date"),
        (
            lambda file: file["results"][1]["performance_run"]["throughput"].update(
                value=float("nan")
            ),
            "results.1.performance_run.throughput.value",
        ),
    ],
)
def test_a_wrong_field_is_named_in_one_line(tmp_path, change, place):
    file = json.loads((PUBLISHED / "extended_result_unittest.json").read_text())
    change(file)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(file))
    with pytest.raises(DataError, match=place) as refused:
        read_result_file(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b"null", b'{"meta": 1}'])
def test_what_is_no_result_file_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "no.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a result file") as refused:
        read_result_file(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("quality", "name", "unit", "normalized", "formatted"),
    [
        (0.9812, "top-1 accuracy", "", 0.9812, "98.12%"),
        (0.285, "mAP", "", 0.285, "0.2850 mAP"),
        (0.5736, "mIoU", "", 0.5736, "0.5736 mIoU"),
        (0.9, "F1", "", 0.9, "90.0000"),
        (33.0, "PSNR", "dB", 0.33, "33.00 dB"),
    ],
)
def test_quality_is_a_share_and_formatted_as_the_app_does(
    quality, name, unit, normalized, formatted
):
    found = accuracy_of(quality, {"name": name, "unit": unit})
    assert (found.normalized, found.formatted) == (pytest.approx(normalized), formatted)


def test_what_a_user_agent_says_is_cut_and_cleaned(tmp_path):
    hostile = {**ANDROID, "model": "A\x1b[31m\u202eB\n" + "x" * 500, "brand": None}
    result = result_file_of([browser_run(tmp_path, device=hostile)])
    official_schema_accepts(result)
    name = result.environment_info.value.android.model_name
    assert len(name) <= 40
    assert name.isprintable()
