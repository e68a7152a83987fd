"""Declarations: what a quality target means, and that a declaration refuses what it does not know."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gnomon.core.spec import Benchmark, QualityTarget

FINITE = st.floats(-1e9, 1e9)
ACCURACY = QualityTarget(metric="top-1 accuracy", reference=0.8)
ERROR = QualityTarget(metric="word error rate", reference=0.2, factor=1.05, higher_is_better=False)
FIELDS = {
    "name": "digits",
    "title": "Handwritten digits",
    "suite": "inference",
    "task": "digits",
    "protocol": "load",
    "quality": ACCURACY,
    "default_system": "onnx",
    "specification": "none: an example",
}


def test_the_threshold_is_the_reference_times_the_factor():
    assert ACCURACY.threshold == 0.8 * 0.99
    assert ERROR.threshold == 0.2 * 1.05


def test_a_quality_equal_to_the_threshold_passes_and_just_below_fails():
    assert ACCURACY.met_by(ACCURACY.threshold)
    assert not ACCURACY.met_by(math.nextafter(ACCURACY.threshold, 0))


def test_where_lower_is_better_a_quality_above_the_threshold_fails():
    assert ERROR.met_by(0.0)
    assert ERROR.met_by(ERROR.threshold)
    assert not ERROR.met_by(math.nextafter(ERROR.threshold, 1))


@pytest.mark.parametrize("target", [ACCURACY, ERROR])
def test_a_quality_that_is_not_a_number_never_passes(target):
    assert not target.met_by(math.nan)


@given(FINITE, st.floats(0.01, 2), FINITE, FINITE, st.booleans())
def test_a_better_quality_passes_wherever_a_worse_one_does(reference, factor, one, other, higher):
    target = QualityTarget(
        metric="any", reference=reference, factor=factor, higher_is_better=higher
    )
    worse, better = sorted((one, other), reverse=not higher)
    assert target.met_by(better) or not target.met_by(worse)


@pytest.mark.parametrize("factor", [0, -0.5])
def test_a_factor_must_be_positive(factor):
    with pytest.raises(ValidationError, match="factor"):
        QualityTarget(metric="any", reference=1.0, factor=factor)


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_a_benchmark_without_one_of_its_fields_is_refused(missing):
    with pytest.raises(ValidationError, match=missing):
        Benchmark(**{name: value for name, value in FIELDS.items() if name != missing})


def test_a_misspelt_field_is_refused():
    with pytest.raises(ValidationError, match="quallity"):
        Benchmark(**FIELDS, quallity=ACCURACY)
    with pytest.raises(ValidationError, match="refrence"):
        QualityTarget(metric="any", reference=1.0, refrence=2.0)


def test_a_declaration_cannot_be_altered():
    with pytest.raises(ValidationError, match="frozen"):
        Benchmark(**FIELDS).name = "other"
    with pytest.raises(ValidationError, match="frozen"):
        ACCURACY.reference = 0.1


def test_settings_are_left_to_the_protocol_and_belong_to_one_benchmark():
    one, other = Benchmark(**FIELDS), Benchmark(**FIELDS)
    one.settings["performance_sample_count"] = 1
    assert other.settings == {}
    assert Benchmark(**FIELDS, settings={"anything": [1]}).settings == {"anything": [1]}


def test_a_benchmark_written_down_and_read_back_is_the_same():
    declared = Benchmark(**FIELDS, settings={"performance_sample_count": 0})
    assert Benchmark.model_validate(json.loads(declared.model_dump_json())) == declared
