"""Multipliers, shifts and ranges as TensorFlow Lite computes them; whole layers are held to it elsewhere."""

from __future__ import annotations

from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.firmware.quantization import (
    activation_range,
    add_parameters,
    output_multipliers,
    quantize_multiplier,
    softmax_parameters,
)
from tests.firmware.models import Network


@hypothesis.settings(derandomize=True, max_examples=300)
@given(st.floats(2.0**-30, 2.0**20))
def test_a_multiplier_is_the_nearest_fraction_of_31_bits(real):
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    meant = Fraction(multiplier, 2**31) * Fraction(2) ** shift
    assert abs(meant - Fraction(real)) <= Fraction(1, 2**32) * Fraction(2) ** shift


@pytest.mark.parametrize(
    ("real", "pair"),
    [
        (0.0, (0, 0)),
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (0.1, (1717986918, -3)),
        (1 - 2**-40, (2**30, 1)),  # rounds up to the next power of two
        (2.0**-33, (0, 0)),  # too small to shift to
    ],
)
def test_known_multipliers(real, pair):
    assert quantize_multiplier(real) == pair


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("NONE", 0.1, 5, (-128, 127)),
        ("RELU", 0.1, 5, (5, 127)),
        ("RELU", 0.1, -128, (-128, 127)),
        ("RELU6", 0.1, -20, (-20, 40)),
        ("RELU6", 0.01, -20, (-20, 127)),
        ("RELU_N1_TO_1", 0.5, 0, (-2, 2)),
        ("RELU6", 4.0, 0, (0, 2)),  # 1.5 steps, rounded away from zero
    ],
)
def test_an_activation_is_a_range_of_stored_values(activation, scale, zero_point, expected):
    network = Network(1, (3,))
    tensor = network.tensors[network.activation((3,), scale, zero_point)]
    assert activation_range(activation, tensor) == expected


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_dense_layer_of_one_scale_multiplies_scales_in_float32(per_channel):
    """In the last bits that differs from float64, where TensorFlow Lite computes scales a channel."""
    differing = 0
    for seed in range(10):
        network = Network(seed, (7,))
        network.dense(2, per_channel=per_channel)
        graph = network.graph()
        given_scale, weights_scale = graph.tensors[0].scale, graph.tensors[1].scales[0]
        exact = float(given_scale) * float(weights_scale)
        rounded = float(np.float32(given_scale * weights_scale))
        product = exact if per_channel else rounded
        multipliers, shifts = output_multipliers(graph, graph.operators[0])
        made_scale = float(graph.tensors[graph.output].scale)
        assert (multipliers[0], shifts[0]) == quantize_multiplier(product / made_scale)
        differing += quantize_multiplier(exact / made_scale) != quantize_multiplier(
            rounded / made_scale
        )
    assert differing


def test_an_addition_brings_the_coarser_input_to_half():
    network = Network(3, (4,))
    other = network.activation((1, 4), 0.25, 7)
    network.tensors[0] = network.tensors[network.activation((1, 4), 0.5, -3)]
    network.add(0, other)
    parameters = add_parameters(network.graph(), network.operators[0])
    assert (parameters.offset1, parameters.offset2) == (3, -7)
    assert (parameters.multiplier1, parameters.shift1) == (2**30, 0)
    assert (parameters.multiplier2, parameters.shift2) == (2**30, -1)
    made = network.tensors[network.last]
    meant = parameters.out_multiplier / 2**31 * 2.0**parameters.out_shift
    assert meant == pytest.approx(1.0 / (2**20 * float(made.scale)), rel=1e-9)


def test_softmax_leaves_out_differences_that_make_no_step():
    network = Network(1, (5,))
    network.tensors[0] = network.tensors[network.activation((1, 5), 1 / 16, 0)]
    network.softmax()
    multiplier, left_shift, least = softmax_parameters(network.graph(), network.operators[0])
    assert multiplier / 2**31 * 2**left_shift == 2**26 / 16
    assert least == -31 * 2**26 // 2**left_shift
