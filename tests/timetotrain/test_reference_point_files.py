"""Files of reference points: the field's own are read, ours are written, and errors name file and key."""

import json
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.timetotrain.reference_point_files import (
    merge_reference_point,
    read_reference_points,
    write_reference_points,
)
from gnomon.timetotrain.reference_points import make_reference_point

GOOD = {
    "Benchmark": "digits",
    "Creator": "us",
    "When": "now",
    "Platform": "a laptop",
    "Precision": "FP32",
    "BS": 64,
    "Hyperparams": {"opt_name": "sgd"},
    "Epochs to converge": [6, 7.5, 6, 8],
}


def test_every_file_that_the_official_checker_ships_is_read():
    official = pytest.importorskip("mlperf_logging.rcp_checker.rcp_checker")
    files = sorted(Path(official.__file__).parent.glob("*/rcps_*.json"))
    assert len(files) > 90
    for path in files:
        content = json.loads(path.read_text())
        points = read_reference_points(path)
        assert [point.global_batch_size for point in points] == sorted(
            record["BS"] for record in content.values()
        )
        for point in points:
            record = content[point.name]
            key = "Epochs to converge" if point.unit == "epochs" else "samples to converge"
            assert list(point.to_converge) == record[key]
            assert point.hyperparameters == record["Hyperparams"]
            assert point.creator == record.get("Creator", "")


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "rcps.json"
    points = [
        make_reference_point(
            "digits", size, [size, size + 0.5] * 3, runs=3, unit="samples", creator="us", when="1.0",
            hyperparameters={"opt_base_learning_rate": 0.1}, platform="CPU", precision="FP32",
        )
        for size in (32, 64)
    ]  # fmt: skip
    write_reference_points(path, reversed(points))
    assert read_reference_points(path) == points
    assert "samples to converge" in json.loads(path.read_text())["digits_ref_32"]


def test_a_point_is_added_to_a_file_and_replaces_another_only_when_told(tmp_path):
    path = tmp_path / "rcps.json"
    first = make_reference_point("digits", 64, [6.0] * 4, runs=2)
    merge_reference_point(path, first)
    second = make_reference_point("digits", 32, [5.0] * 4, runs=2)
    merge_reference_point(path, second)
    assert read_reference_points(path) == [second, first]
    better = make_reference_point("digits", 64, [4.0] * 4, runs=2)
    with pytest.raises(DataError, match=r"rcps\.json has a point for batch size 64 already"):
        merge_reference_point(path, better)
    assert read_reference_points(path) == [second, first]
    merge_reference_point(path, better, replace_same=True)
    assert read_reference_points(path) == [second, better]


def test_points_of_another_benchmark_or_unit_are_not_mixed(tmp_path):
    path = tmp_path / "rcps.json"
    merge_reference_point(path, make_reference_point("digits", 64, [6.0] * 4, runs=2))
    with pytest.raises(DataError, match="mixes Benchmark digits and ncf"):
        merge_reference_point(path, make_reference_point("ncf", 32, [6.0] * 4, runs=2))
    with pytest.raises(DataError, match="mixes unit epochs and samples"):
        merge_reference_point(
            path, make_reference_point("digits", 32, [6.0] * 4, runs=2, unit="samples")
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Benchmark": ""}, "Benchmark must be a name, got ''"),
        ({"Benchmark": None}, "Benchmark must be a name, got None"),
        ({"BS": "64"}, "BS must be a positive whole number, got '64'"),
        ({"BS": 0}, "BS must be a positive whole number, got 0"),
        ({"BS": True}, "BS must be a positive whole number, got True"),
        ({"Hyperparams": []}, r"Hyperparams must be an object, got \[\]"),
        ({"Epochs to converge": 6}, "Epochs to converge must be a list of numbers, got int"),
        ({"Epochs to converge": [6, 6]}, "Epochs to converge must have at least 3 values"),
        ({"Epochs to converge": [6, 6, "7"]}, "Epochs to converge: value 2 must be a positive"),
        ({"Epochs to converge": [6, 6, float("inf")]}, "value 2 .* converged, got inf"),
        ({"Epochs to converge": [0, 6, 6]}, "value 0 .* converged, got 0"),
        ({"samples to converge": [6, 6, 6]}, "must have one of .*, it has 2"),
    ],
)
def test_a_point_that_means_nothing_is_refused_with_file_point_and_key(tmp_path, change, message):
    path = tmp_path / "rcps.json"
    path.write_text(json.dumps({"digits_ref_64": GOOD | change}))
    with pytest.raises(DataError, match=rf"rcps\.json: digits_ref_64.*{message}") as caught:
        read_reference_points(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["Benchmark", "BS", "Hyperparams", "Epochs to converge"])
def test_a_point_that_lacks_a_key_is_refused(tmp_path, key):
    path = tmp_path / "rcps.json"
    path.write_text(json.dumps({"a": {name: GOOD[name] for name in GOOD if name != key}}))
    with pytest.raises(DataError, match=f"a.*{key}"):
        read_reference_points(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "has no reference point"),
        ("{}", "has no reference point"),
        ("{", "is no file of reference points"),
        ('{"a": 1}', "a must be an object"),
        ('{"a": {}, "a": {}}', "key 'a' stands there twice"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "rcps.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_reference_points(path)


def test_two_points_of_one_batch_size_are_refused(tmp_path):
    path = tmp_path / "rcps.json"
    path.write_text(json.dumps({"a": GOOD, "b": GOOD}))
    with pytest.raises(DataError, match="a and b both have BS 64"):
        read_reference_points(path)


def test_a_missing_file_and_an_unwritable_one_are_errors_of_ours(tmp_path):
    with pytest.raises(DataError, match="cannot be read: FileNotFoundError"):
        read_reference_points(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be written: FileNotFoundError"):
        write_reference_points(
            tmp_path / "none" / "a.json", [make_reference_point("a", 1, [1.0] * 4, runs=2)]
        )
