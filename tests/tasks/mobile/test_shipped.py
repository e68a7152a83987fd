"""Mobile tasks that ship: what travels is compact, and each has models in every format."""

import hashlib
import json

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.core.registry import BENCHMARKS, TASKS
from gnomon.core.task import DataSource
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.shipped import DATA, MobileTask

MOST_FP32_BYTES = 600_000
SHIPPED = [
    "mobile-classification",
    "mobile-detection",
    "mobile-question-answering",
    "mobile-segmentation",
    "mobile-super-resolution",
]


class Tokens(MobileTask):
    name, metric, stem = "tokens", "accuracy", "tokens"

    def __len__(self):
        return 3

    def source(self):
        return DataSource("none", official=False, sha256="-")

    def stored_inputs(self, samples):
        return np.arange(6, dtype=np.int32).reshape(3, 2)[samples]

    def score(self, samples, outputs):
        return float(len(answers_of_shape(self.name, samples, outputs, (2,), "pairs")))


def test_tokens_are_given_as_they_are_stored():
    given = Tokens().inputs(np.array([2, 0]))
    assert given.dtype == np.int32
    assert given.tolist() == [[4, 5], [0, 1]]


def test_answers_of_another_shape_are_refused_naming_task_and_shapes():
    assert Tokens().score(np.arange(2), [[1, 2], [3, 4]]) == 2
    with pytest.raises(
        DataError, match=r"'tokens' is scored from pairs of shape \(2,\) .* \(2, 3\)"
    ):
        Tokens().score(np.arange(2), np.zeros((2, 3)))


@pytest.mark.parametrize("asked", ["onnx", "onnx-int8", "tflite", "ncnn", "savedmodel", ""])
def test_a_task_without_files_says_so_for_every_format(asked):
    with pytest.raises(DataError, match=f"'tokens' ships no {asked} model"):
        Tokens().model(asked)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_file_is_the_one_that_its_card_describes(name):
    task = TASKS.load(name)()
    card = json.loads((DATA / f"{task.stem}.json").read_text())
    files = {path.name for path in DATA.glob(f"{task.stem}*") if path.suffix != ".json"}
    assert files == set(card["files"])
    for file, entry in card["files"].items():
        assert hashlib.sha256((DATA / file).read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("name", SHIPPED)
def test_models_are_small_enough_to_be_sent_to_a_phone(name):
    task = TASKS.load(name)()
    sizes = {kind: task.model(f"onnx{kind}").stat().st_size for kind in ("", "-fp16", "-int8")}
    assert sizes[""] <= MOST_FP32_BYTES
    assert max(sizes["-int8"], sizes["-fp16"]) < sizes[""]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_mobile_task_has_the_metric_of_its_benchmark(name):
    task = TASKS.load(name)()
    assert BENCHMARKS.load(name).quality.metric == task.metric
    stored, inputs = task.stored_inputs(np.arange(2)), task.inputs(np.arange(2))
    assert stored.dtype in (np.uint8, np.int32)
    np.testing.assert_array_equal(stored, inputs)
