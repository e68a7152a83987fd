"""The Triton kernels against NumPy: on a GPU where there is one, and by Triton's interpreter on the CPU.

The interpreter must be asked for before Triton is imported, so this file runs itself once more in a process
of its own. What an interpreter does not see, that the kernels compile for a GPU, needs no GPU either.
"""

import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.embedding import Bags, RobeLayout, reference
from gnomon.embedding.bfloat16 import as_bfloat16, as_float32

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")
tl = importlib.import_module("triton.language")
kernels = importlib.import_module("gnomon.embedding.triton_kernels")
where = importlib.import_module("gnomon.embedding.triton_places")
places, signs = where.places, where.signs

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda" if torch.cuda.is_available() else None
once = pytest.mark.skipif(INTERPRETED, reason="needs no interpreter")
EXAMPLES = 2 if INTERPRETED else 30


def on_a_device(test):
    """Needs a GPU or the interpreter; else skipped here, in one place, which a summary tells in one line."""

    @functools.wraps(test)
    def run(*arguments, **named):
        if DEVICE is None:
            pytest.skip("no GPU; the interpreter ran these")
        test(*arguments, **named)

    return run


ROWS = (7, 30, 1)
LAYOUTS = [
    RobeLayout.full(ROWS, 5),
    *(
        RobeLayout(ROWS, dim, size, block, **options)
        for dim, size, block, options in [
            (8, 57, 8, {}),
            (8, 57, 1, {}),
            (6, 57, 4, {"hash": "mixer"}),
            (8, 41, 4, {"wrap": "circular", "sign": "element"}),
            (5, 41, 4, {"wrap": "circular", "sign": "element", "hash": "mixer"}),
            (20, 97, 20, {"align": 64}),
            (20, 97, 16, {"align": 64, "wrap": "circular", "hash": "mixer"}),
            (5, 57, 7, {"sign": "element"}),
            (5, 57, 7, {"span": True, "sign": "element"}),
            (5, 24, 23, {"span": True, "wrap": "circular", "hash": "mixer"}),
            (8, 97, 48, {"span": True, "align": 64, "sign": "element", "hash": "mixer"}),
            (70, 90, 70, {"sign": "element", "hash": "mixer", "seed": 7}),
            (3, 3, 3, {"wrap": "circular"}),
            (16, 35, 16, {"wrap": "circular"}),
            (1, 17, 1, {"wrap": "circular"}),
        ]
    ),
]
WIDE = RobeLayout((3, 2), 1500, 4000, 1500, wrap="circular")


def called(layout: RobeLayout) -> str:
    options = [layout.hash, layout.wrap, layout.sign, f"align{layout.align}", f"span{layout.span}"]
    return f"{layout.dim}-{layout.size}-{layout.block}-" + "-".join(options)


@st.composite
def asked(draw, layout: RobeLayout):
    """Indices, offsets, weights and pooling of a lookup in this layout."""
    batch, tables = draw(st.integers(0, 3)), layout.tables
    length = draw(st.sampled_from([None, 1, 0, 2, 5]))
    kind = draw(st.sampled_from([np.int32, np.int64]))
    bags = [
        draw(st.lists(st.integers(0, rows - 1), min_size=length or 0, max_size=length or 6))
        for rows in layout.rows
        for _ in range(batch)
    ]
    flat, offsets = np.array([row for bag in bags for row in bag], dtype=kind), None
    if length is None:
        offsets = np.cumsum([0, *map(len, bags)]).astype(
            draw(st.sampled_from([np.int32, np.int64]))
        )
    elif length == 0:
        flat = np.zeros((batch, tables, 0), dtype=kind)
    else:
        flat = flat.reshape(tables, batch, length).transpose(1, 0, 2)  # strided
        flat = flat[:, :, 0] if length == 1 and draw(st.booleans()) else flat
    pooling, weights = draw(st.sampled_from(["sum", "mean", "weighted"])), None
    if pooling == "weighted":
        pooling, weights = "sum", values(flat.shape, 3)
    return flat, offsets, weights, pooling


def values(shape, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tensor(array, dtype=None):
    return None if array is None else torch.from_numpy(array.copy()).to(DEVICE, dtype)


def same_bits(found, expected: np.ndarray) -> None:
    """Equal bit for bit, whichever zero it is."""
    if found.dtype == torch.bfloat16 and INTERPRETED:  # cuts off where a GPU rounds
        expected = (expected.view(np.uint32) & 0xFFFF0000).view(np.float32)
    elif found.dtype == torch.bfloat16:
        expected = as_float32(as_bfloat16(expected))
    np.testing.assert_array_equal(found.float().cpu().numpy(), expected)


def drawn_against_numpy(layout: RobeLayout, case, dtype) -> None:
    """One lookup with its gradients, each against the reference."""
    indices, offsets, weights, pooling = case
    bags = Bags.of(layout, indices, offsets, weights, pooling)
    array = values(layout.size, 1)
    gradient = values((bags.batch, layout.tables, layout.dim), 2)
    if dtype == torch.bfloat16:
        array, gradient = as_float32(as_bfloat16(array)), as_float32(as_bfloat16(gradient))
    rows = {"indices": tensor(indices), "offsets": tensor(offsets)}
    both = {**rows, "weights": tensor(weights), "pooling": pooling}
    out = kernels.lookup(tensor(array, dtype), layout, **both)
    assert out.dtype == dtype
    same_bits(out, reference.lookup(layout, array, bags))
    back = {"gradient": tensor(gradient, dtype), "layout": layout, **both, "dtype": dtype}
    expected = reference.backward(layout, bags, gradient)
    same_bits(kernels.backward(**back), expected)
    scattered = kernels.backward(**back, deterministic=False)
    close = {"atol": 1e-4} if dtype == torch.float32 else {"atol": 0.2, "rtol": 0.02}
    np.testing.assert_allclose(scattered.float().cpu().numpy(), expected, **close)
    if pooling == "sum":
        found = kernels.weight_gradient(tensor(array), layout, gradient=tensor(gradient), **rows)
        unweighted = Bags.of(layout, indices, offsets)
        expected = reference.weight_gradient(layout, array, unweighted, gradient)
        np.testing.assert_allclose(
            found.cpu().numpy(), expected.reshape(indices.shape), atol=1e-4, rtol=1e-5
        )


@on_a_device
@pytest.mark.parametrize("layout", LAYOUTS, ids=called)
def test_lookup_and_gradients_are_numpys_to_the_bit(layout):
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(asked(layout))
    def compare(case):
        drawn_against_numpy(layout, case, torch.float32)

    compare()
    every_row = np.stack([np.arange(max(layout.rows)) % rows for rows in layout.rows], axis=1)
    drawn_against_numpy(layout, (every_row, None, None, "sum"), torch.float32)


@triton.jit
def lay_out(place, sign, rows, plan: tl.constexpr):
    i = tl.arange(0, 8)[None, :]
    x = tl.load(rows + tl.arange(0, 8))[:, None]
    to = tl.arange(0, 8)[:, None] * 8 + i
    tl.store(place + to, places(x, i, plan))
    tl.store(sign + to, signs(x, i, plan))


@on_a_device
@pytest.mark.parametrize(
    "options",
    [
        {"size": 2**32 - 1, "block": 4, "hash": "mixer", "wrap": "circular"},
        {"size": 2**32 - 16, "block": 2**31, "hash": "mixer", "align": 64, "span": True},
        {"size": 2038074742, "block": 1, "hash": "modular"},
        {"size": 2038074742, "block": 2038074742, "hash": "modular", "span": True},
    ],
    ids=str,
)
def test_places_and_signs_in_the_largest_arrays(options):
    layout = RobeLayout((2038074742,), 8, sign="element", seed=2**32 - 1, **options)
    ids = np.array([0, 1, 2**20, 2**28 - 1, 2**28, 2**30 + 3, 2**31 - 2**28, 2038074741])
    place = torch.empty((8, 8), dtype=torch.int64, device=DEVICE)
    sign = torch.empty((8, 8), dtype=torch.float32, device=DEVICE)
    lay_out[(1,)](place, sign, tensor(ids), where.Plan.of(layout))
    np.testing.assert_array_equal(place.cpu().numpy(), reference.positions(layout, 0, ids))
    np.testing.assert_array_equal(sign.cpu().numpy(), reference.signs(layout, 0, ids))


@on_a_device
@pytest.mark.parametrize("layout", [LAYOUTS[1], LAYOUTS[5]], ids=called)
def test_bfloat16_is_rounded_once(layout):
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(asked(layout))
    def compare(case):
        drawn_against_numpy(layout, case, torch.bfloat16)

    compare()


@on_a_device
def test_a_row_wider_than_a_tile():
    indices = np.array([[[0, 2], [1, 1]]])
    drawn_against_numpy(WIDE, (indices, None, values((1, 2, 2), 4), "sum"), torch.float32)


@on_a_device
def test_a_weight_that_many_lookups_share_is_summed_in_their_order():
    layout = RobeLayout((1, 2), 16, 32, 16)
    indices = np.stack([np.zeros(40, np.int64), np.arange(40) % 2], axis=1)
    drawn_against_numpy(layout, (indices, None, None, "sum"), torch.float32)


@on_a_device
def test_an_expanded_gradient_is_taken_as_it_comes():
    layout, indices = LAYOUTS[1], np.zeros((2, 3), np.int64)
    ones = torch.ones((), device=DEVICE).expand(2, 3, layout.dim)
    expected = np.ones((2, 3, layout.dim), np.float32)
    found = kernels.backward(layout, tensor(indices), ones)
    same_bits(found, reference.backward(layout, Bags.of(layout, indices), expected))


@on_a_device
@pytest.mark.parametrize("wrong", [-1, 30, 2**40])
def test_an_id_that_is_no_row_is_told_as_numpy_tells_it(wrong):
    layout = LAYOUTS[1]
    array, gradient = tensor(values(layout.size, 1)), torch.ones(2, 3, layout.dim, device=DEVICE)
    of_one_size = np.array([[[6, 1], [0, 2], [0, 0]], [[0, 0], [wrong, 1], [9, 0]]])
    flat, offsets = np.array([6, 1, wrong, 2, 9]), np.array([0, 1, 1, 2, 4, 4, 5])
    for indices, ends in ((of_one_size, None), (flat, offsets)):
        with pytest.raises(DataError) as expected:
            reference.lookup(layout, values(layout.size, 1), Bags.of(layout, indices, ends))
        asked = {"indices": tensor(indices), "offsets": tensor(ends)}
        for call in (
            lambda asked: kernels.lookup(array, layout, **asked),
            lambda asked: kernels.backward(layout, gradient=gradient, **asked),
            lambda asked: kernels.backward(layout, gradient=gradient, deterministic=False, **asked),
            lambda asked: kernels.weight_gradient(array, layout, gradient=gradient, **asked),
        ):
            with pytest.raises(DataError) as found:
                call(asked)
            assert str(found.value) == str(expected.value)


@on_a_device
def test_unchecked_an_id_that_is_no_row_is_a_row_of_zeros():
    layout, array = LAYOUTS[0], values(LAYOUTS[0].size, 1)
    indices = tensor(np.array([[99, 0, 0], [3, -1, 0]]))
    out = kernels.lookup(tensor(array), layout, indices, check=False).cpu().numpy()
    assert not out[0, 0].any()
    assert not out[1, 1].any()
    np.testing.assert_array_equal(out[1, 0], array[15:20])
    gradient = torch.ones(2, 3, 5, device=DEVICE)
    expected = np.zeros((38, 5), np.float32)
    expected[[3, 7]], expected[37] = 1, 2
    found = kernels.backward(layout, indices, gradient, check=False)
    np.testing.assert_array_equal(found.cpu().numpy(), expected.ravel())


@on_a_device
@pytest.mark.parametrize(
    ("offsets", "says"),
    [
        ([0, 2, 1, 3], "must not fall"),
        ([1, 1, 2, 3], "run from 0"),
        ([0, 1, 2, 2], "run from 0"),
        ([0, 1, 2, 9], "run from 0"),
        ([0, -5, 2, 3], "must not fall"),
        ([0, 1, 3], "tables \\* batch"),
        ([0], "no bags"),
    ],
)
def test_offsets_that_do_not_fit_are_refused(offsets, says):
    layout = LAYOUTS[1]
    array, indices = tensor(values(layout.size, 1)), tensor(np.zeros(3, np.int64))
    with pytest.raises(DataError, match=says):
        kernels.lookup(array, layout, indices, tensor(np.array(offsets)))
    gradient = torch.ones(max((len(offsets) - 1) // 3, 0), 3, layout.dim, device=DEVICE)
    with pytest.raises(DataError, match=says):
        kernels.backward(layout, indices, gradient, tensor(np.array(offsets)))


@on_a_device
def test_what_does_not_fit_together_is_refused():
    layout = LAYOUTS[1]
    array, indices = tensor(values(layout.size, 1)), tensor(np.zeros((2, 3), np.int64))
    gradient = torch.ones(2, 3, layout.dim, device=DEVICE)
    for says, call in {
        "array must be float32 or bfloat16": lambda: kernels.lookup(array[1:], layout, indices),
        "array must be float32": lambda: kernels.lookup(array.double(), layout, indices),
        "array must be contiguous": lambda: kernels.lookup(
            array[:1].expand(layout.size), layout, indices
        ),
        "indices must be int32": lambda: kernels.lookup(array, layout, indices.float()),
        "indices without offsets": lambda: kernels.lookup(array, layout, indices[0]),
        "indices with offsets": lambda: kernels.lookup(array, layout, indices, indices[0]),
        "weights must be float32": lambda: kernels.lookup(array, layout, indices, weights=gradient),
        "NaN or infinity": lambda: kernels.lookup(
            array, layout, indices, weights=gradient[:, :, 0] * float("inf")
        ),
        "gradient must be": lambda: kernels.backward(layout, indices, gradient[:1]),
    }.items():
        with pytest.raises(DataError, match=says):
            call()
    for says, call in {
        "sum or mean": lambda: kernels.lookup(array, layout, indices, pooling="max"),
        "sum pooling only": lambda: kernels.lookup(
            array, layout, indices, weights=gradient[:, :, 0], pooling="mean"
        ),
        "dtype": lambda: kernels.backward(layout, indices, gradient, dtype=torch.float64),
    }.items():
        with pytest.raises(SettingsError, match=says):
            call()


@once
def test_tensors_on_the_cpu_are_refused():
    with pytest.raises(DataError, match="need tensors on a GPU, indices are on cpu"):
        kernels.lookup(torch.zeros(57), LAYOUTS[1], torch.zeros((1, 3), dtype=torch.int64))


@once
@pytest.mark.parametrize("package", ["torch", "triton"])
def test_a_missing_package_is_named_with_its_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, kernels.__name__)
    with pytest.raises(MissingExtraError, match=f"GPUs needs {package}: pip install") as missing:
        importlib.import_module(kernels.__name__)
    assert "\n" not in str(missing.value)


@pytest.mark.slow
@once
def test_on_the_cpu_by_tritons_interpreter():
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", __file__],
        env={**clean, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout


class NoGpu:
    """A driver by which Triton compiles for a GPU that is not here."""

    def get_current_target(self):
        compiler = importlib.import_module("triton.backends.compiler")
        return compiler.GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


@once
@pytest.mark.skipif(DEVICE is not None, reason="a GPU compiles them anyway")
def test_kernels_compile_for_a_gpu_and_round_as_numpy_does(monkeypatch, tmp_path):
    driver = importlib.import_module("triton.runtime.driver").driver
    monkeypatch.setattr(driver, "_active", NoGpu())
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    monkeypatch.setattr(triton.knobs.runtime, "interpret", True)  # tensors on the CPU are let in
    made = {}

    def compiled(call, kernel, grid, tile, *arguments):
        options = {"plan": call.plan, "tile": tile, "enable_fp_fusion": False}
        found = kernel.warmup(*arguments, grid=grid, **options)
        made.setdefault(kernel.fn.__name__, []).append(found.asm)

    monkeypatch.setattr(kernels._Call, "launch", compiled)
    for number in (4, 11):  # between them, both hashes, a wrap, signs, a span
        layout = LAYOUTS[number]
        indices, gradient = torch.zeros((2, 3, 2)).long(), torch.zeros(2, 3, layout.dim)
        array = torch.zeros(layout.size)
        kernels.lookup(array, layout, indices, pooling="mean")
        flat, offsets, weights = indices.reshape(-1), torch.arange(0, 13, 2), torch.zeros(12)
        kernels.lookup(array.bfloat16(), layout, flat, offsets, weights)
        kernels.backward(layout, flat, gradient, offsets, weights)
        kernels.backward(layout, indices, gradient, deterministic=False)
        kernels.weight_gradient(array, layout, indices, gradient)
    assert set(made) == {
        "lookup_kernel",
        "cut_kernel",
        "gather_kernel",
        "scatter_kernel",
        "multiply_kernel",
    }
    for name, machine_code in made.items():
        for asm in machine_code:
            assert asm["cubin"], name
            assert "fma.rn.f32" not in asm["ptx"], name
    assert "div.rn.f32" in made["lookup_kernel"][0]["ptx"]
    assert "cvt.rn.bf16" in made["lookup_kernel"][1]["ptx"]
