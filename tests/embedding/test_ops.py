"""The operators against the NumPy library over drawn layouts, and against what torch asks of operators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gnomon.core.errors import DataError, SettingsError  # noqa: E402
from gnomon.embedding import Bags, RobeLayout, functional, reference  # noqa: E402
from gnomon.embedding import ops_reference as in_torch  # noqa: E402
from gnomon.embedding.fused import robe_adagrad_, robe_sgd_  # noqa: E402
from gnomon.embedding.ops import (  # noqa: E402
    layout_of,
    layout_text,
    robe_backward,
    robe_lookup,
    robe_weight_gradient,
)


@st.composite
def layouts(draw):
    rows = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    dim = draw(st.integers(1, 20))
    hashed = draw(st.sampled_from(["modular", "mixer", "identity"]))
    block = draw(st.integers(1, 24))
    if hashed == "identity":
        return RobeLayout(rows, dim, sum(rows) * dim, min(block, dim), hash="identity")
    align = draw(st.sampled_from([0, 64]))
    return RobeLayout(
        rows,
        dim,
        max(block, 16 if align else 1) + draw(st.integers(0, 60)),
        block,
        wrap=draw(st.sampled_from(["clipped", "circular"])),
        sign=draw(st.sampled_from(["none", "element"])),
        align=align,
        hash=hashed,
        seed=draw(st.integers(0, 2**32 - 1)),
        span=block > dim and draw(st.booleans()),
    )


@st.composite
def calls(draw):
    """A layout with indices, offsets, weights and a pooling that fit it, and random numbers."""
    layout = draw(layouts())
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch, kind = draw(st.integers(0, 4)), draw(st.sampled_from([np.int32, np.int64]))
    limits = np.array(layout.rows)
    if draw(st.booleans()):
        length = draw(st.integers(0, 3))
        indices = random.integers(0, limits[None, :, None], (batch, layout.tables, length))
        offsets = None
    else:
        sizes = random.integers(0, 4, layout.tables * batch)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(kind)
        per_table = sizes.reshape(layout.tables, batch).sum(1)
        indices = random.integers(0, np.repeat(limits, per_table), int(offsets[-1]))
    pooling = draw(st.sampled_from(["sum", "mean"]))
    weights = None
    if pooling == "sum" and draw(st.booleans()):
        weights = random.normal(size=indices.shape).astype(np.float32)
    return layout, indices.astype(kind), offsets, weights, pooling, random


def tensor(array):
    return None if array is None else torch.from_numpy(array)


@settings(deadline=None, max_examples=60)
@given(calls())
def test_operators_equal_the_numpy_library(call):
    layout, indices, offsets, weights, pooling, random = call
    array = random.normal(size=layout.size).astype(np.float32)
    bags = Bags.of(layout, indices, offsets, weights, pooling)
    gradient = random.normal(size=(bags.batch, layout.tables, layout.dim)).astype(np.float32)
    text, ids, bounds, each = layout_text(layout), tensor(indices), tensor(offsets), tensor(weights)

    out = robe_lookup(tensor(array), ids, bounds, each, text, pooling)
    back = robe_backward(tensor(gradient), ids, bounds, each, text, pooling)
    np.testing.assert_allclose(out, reference.lookup(layout, array, bags), atol=1e-5)
    np.testing.assert_allclose(back, reference.backward(layout, bags, gradient), atol=1e-5)
    assert torch.equal(
        out, tensor(functional.lookup(array, layout, indices, offsets, weights, pooling=pooling))
    )

    # The same in float64, which takes the path in plain torch operations.
    wide = robe_lookup(tensor(array).double(), ids, bounds, each, text, pooling)
    assert wide.dtype == torch.float64
    np.testing.assert_allclose(wide, out, atol=1e-5)
    wide = robe_backward(tensor(gradient).double(), ids, bounds, each, text, pooling)
    # Where all weights share a few cells, single precision adds hundreds of gradients to each.
    np.testing.assert_allclose(wide, back, atol=1e-3)
    if pooling == "sum":
        found = robe_weight_gradient(tensor(array), ids, tensor(gradient), bounds, text)
        wide = robe_weight_gradient(
            tensor(array).double(), ids, tensor(gradient).double(), bounds, text
        )
        expected = reference.weight_gradient(layout, array, bags, gradient)
        np.testing.assert_allclose(found, expected.reshape(indices.shape), atol=1e-5)
        np.testing.assert_allclose(wide, found, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(layouts())
def test_positions_and_signs_in_torch_are_those_in_numpy(layout):
    for table, rows in enumerate(layout.rows):
        ids = np.arange(rows)
        x = tensor(ids + layout.first_rows[table])
        expected = reference.positions(layout, table, ids)
        np.testing.assert_array_equal(in_torch.positions(layout, x), expected)
        signs = in_torch.signs(layout, x, torch.float32).expand(rows, layout.dim)
        np.testing.assert_array_equal(signs, reference.signs(layout, table, ids))


def test_positions_in_torch_hold_for_large_arrays():
    layout = RobeLayout((200_000_000,), 8, 2**32 - 1, 8, hash="mixer", seed=2**32 - 1)
    ids = np.random.default_rng(0).integers(0, 200_000_000, 1000)
    found = in_torch.positions(layout, tensor(ids))
    np.testing.assert_array_equal(found, reference.positions(layout, 0, ids))


LAYOUT = RobeLayout((7, 5, 9), 6, 40, 4, sign="element", wrap="circular", hash="mixer")
FLAT = torch.tensor([1, 6, 0, 0, 4, 8, 8])
OFFSETS = torch.tensor([0, 2, 3, 3, 5, 5, 7])
FIXED = torch.tensor([[1, 4, 8], [6, 0, 8]])


@pytest.mark.parametrize("form", ["one row", "bags"])
@pytest.mark.parametrize("pooling", ["sum", "mean", "weighted"])
def test_gradients_of_any_order_are_right(form, pooling):
    indices, offsets = (FIXED, None) if form == "one row" else (FLAT, OFFSETS)
    torch.manual_seed(0)
    layout = replace(LAYOUT, dim=3, size=14, block=2)
    array = torch.randn(14, dtype=torch.float64, requires_grad=True)
    weights = None
    if pooling == "weighted":
        weights = torch.rand(indices.shape, dtype=torch.float64, requires_grad=True)
        pooling = "sum"

    def pooled(array, weights):
        return robe_lookup(array, indices, offsets, weights, layout_text(layout), pooling)

    assert torch.autograd.gradcheck(pooled, (array, weights))
    assert torch.autograd.gradgradcheck(pooled, (array, weights), fast_mode=True)


def test_operators_meet_torchs_own_checks():
    text = layout_text(LAYOUT)
    array = torch.randn(40, requires_grad=True)
    each = torch.rand(7, requires_grad=True)
    gradient = torch.randn(2, 3, 6, requires_grad=True)
    torch.library.opcheck(robe_lookup, (array, FLAT, OFFSETS, each, text, "sum"))
    torch.library.opcheck(robe_lookup, (array, FIXED, None, None, text, "mean"))
    torch.library.opcheck(robe_backward, (gradient, FLAT, OFFSETS, each, text, "sum"))
    torch.library.opcheck(robe_weight_gradient, (array, FLAT, gradient, OFFSETS, text))
    bare, rate = (array.detach(), gradient.detach(), FIXED, None, None), torch.tensor(0.1)
    torch.library.opcheck(robe_sgd_, (*bare, rate, text, "sum"))
    state = torch.zeros(10)
    torch.library.opcheck(robe_adagrad_, (bare[0], state, *bare[1:], rate, 1e-8, 4, text, "sum"))


@pytest.mark.parametrize("cell", [1, 7, 16])
def test_steps_without_a_kernel_are_those_with_one(cell):
    text, rate = layout_text(LAYOUT), torch.tensor(0.1)
    gradient = torch.randn(2, 3, 6)
    narrow, wide = torch.randn(40), None
    states = [torch.zeros(-(-40 // cell)), torch.zeros(-(-40 // cell))]
    wide = narrow.double()
    for array, state in zip((narrow, wide), states, strict=True):
        for _ in range(2):
            robe_adagrad_(
                array, state, gradient.to(array), FLAT, OFFSETS, None, rate, 1e-8, cell, text, "sum"
            )
            robe_sgd_(array, gradient.to(array), FIXED, None, None, rate, text, "mean")
    torch.testing.assert_close(narrow.double(), wide, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*states)


def test_halves_are_float32_rounded():
    array = torch.randn(40)
    text = layout_text(LAYOUT)
    out = robe_lookup(array.bfloat16(), FLAT, OFFSETS, None, text, "sum")
    assert out.dtype == torch.bfloat16
    same = robe_lookup(array.bfloat16().float(), FLAT, OFFSETS, None, text, "sum")
    assert torch.equal(out, same.bfloat16())
    half = robe_lookup(array.half(), FLAT, OFFSETS, None, text, "sum")
    same = robe_lookup(array.half().float(), FLAT, OFFSETS, None, text, "sum")
    torch.testing.assert_close(half, same.half(), atol=0, rtol=1e-3)


def test_a_layouts_text_gives_the_layout_back():
    assert layout_of(layout_text(LAYOUT)) == LAYOUT
    assert layout_of(layout_text(LAYOUT)) is layout_of(layout_text(LAYOUT))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"array": torch.zeros(39)}, DataError, r"shape \(40,\), got \(39,\)"),
        ({"array": torch.zeros(40, dtype=torch.int64)}, DataError, "float32, bfloat16"),
        ({"indices": FIXED.float()}, DataError, "indices must be int32 or int64, got float32"),
        ({"indices": FIXED[:, :2]}, DataError, r"\(batch, 3\)"),
        ({"indices": torch.tensor([[7, 0, 0]])}, DataError, "index 7 of sample 0"),
        ({"indices": torch.tensor([[0, -1, 0]])}, DataError, "index -1 of sample 0"),
        ({"weights": torch.tensor([[1.0, float("nan"), 1.0]] * 2)}, DataError, "NaN"),
        ({"weights": torch.ones(3)}, DataError, "shape of indices"),
        ({"weights": torch.ones(2, 3, dtype=torch.int64)}, DataError, "floating"),
        ({"weights": torch.ones(2, 3), "pooling": "mean"}, SettingsError, "sum pooling only"),
        ({"pooling": "max"}, SettingsError, "sum or mean"),
        ({"offsets": OFFSETS}, DataError, "flat"),
        ({"indices": FLAT, "offsets": OFFSETS[:-1]}, DataError, r"tables \* batch \+ 1"),
        ({"indices": FLAT[:-1], "offsets": OFFSETS}, DataError, "run from 0 to"),
        ({"indices": FLAT, "offsets": OFFSETS.float()}, DataError, "int32 or int64"),
        ({"indices": FLAT, "offsets": OFFSETS[[0, 2, 1, 3, 4, 5, 6]]}, DataError, "not fall"),
        ({"layout": "{"}, SettingsError, "JSON"),
        ({"layout": "{}"}, SettingsError, "layout"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bad_input_is_one_line(change, error, words, dtype):
    given = {
        "array": torch.zeros(40, dtype=dtype),
        "indices": FIXED,
        "offsets": None,
        "weights": None,
        "layout": layout_text(LAYOUT),
        "pooling": "sum",
    }
    with pytest.raises(error, match=words) as raised:
        robe_lookup(**(given | change))
    assert "\n" not in str(raised.value)


def test_strided_arrays_indices_and_gradients_are_read_as_they_lie():
    array, text = torch.randn(40, requires_grad=True), layout_text(LAYOUT)
    wide = torch.stack([array, array], 1)[:, 0]
    assert not wide.is_contiguous()
    expected = robe_lookup(array, FIXED, None, None, text, "sum")
    assert torch.equal(robe_lookup(wide, FIXED, None, None, text, "sum"), expected)
    spread = torch.stack([FIXED, FIXED], 2)[:, :, 0]
    assert not spread.is_contiguous()
    out = robe_lookup(array, spread, None, None, text, "sum")
    assert torch.equal(out, robe_lookup(array, FIXED, None, None, text, "sum"))
    gradient = torch.randn(6, 3, 2)
    out.backward(gradient.permute(2, 1, 0))
    expected = robe_backward(gradient.permute(2, 1, 0).contiguous(), FIXED, None, None, text, "sum")
    assert torch.equal(array.grad, expected)
