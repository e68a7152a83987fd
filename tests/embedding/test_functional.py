"""What the NumPy functions refuse, and what they promise beside the kernels' results."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.embedding import Bags, RobeLayout, adagrad, backward, functional, lookup, sgd

LAYOUT = RobeLayout((10, 20), 16, 200, 16)
ARRAY = np.linspace(-1, 1, 200, dtype=np.float32)
IDS = np.array([[0, 19], [9, 0], [3, 3]])
GRADIENT = np.ones((3, 2, 16), dtype=np.float32)


@pytest.fixture(params=["compiled", "NumPy"], autouse=True)
def kernels(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(functional, "_native", None)
    elif functional.compiled() is None:
        pytest.skip("installed without compiled kernels")


@pytest.mark.parametrize("row", [-1, 20, 2**40])
def test_an_id_out_of_range_is_named_with_sample_and_table(row):
    ids = IDS.copy()
    ids[2, 1] = row
    message = rf"index {row} of sample 2 is not a row of table 1, which has 20 rows: 0 to 19"
    with pytest.raises(DataError, match=message):
        lookup(ARRAY, LAYOUT, ids)
    with pytest.raises(DataError, match=message):
        backward(LAYOUT, ids, GRADIENT)


def test_a_refused_update_leaves_array_and_state_as_they_were():
    ids = np.array([[0, 0], [1, 1], [2, 20]])
    array, state = ARRAY.copy(), np.zeros(200, dtype=np.float32)
    with pytest.raises(DataError, match="index 20"):
        sgd(array, LAYOUT, ids, GRADIENT, learning_rate=1.0)
    with pytest.raises(DataError, match="index 20"):
        adagrad(array, state, LAYOUT, ids, GRADIENT, learning_rate=1.0, cell=1)
    np.testing.assert_array_equal(array, ARRAY)
    assert not state.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"indices": IDS.astype(float)}, "indices must be int32 or int64, got float64"),
        ({"indices": IDS[:, :1]}, r"shape \(batch, 2\) or \(batch, 2, L\)"),
        ({"indices": IDS.ravel(), "offsets": np.array([0, 2, 4, 6])}, "tables . batch . 1 entries"),
        ({"indices": IDS.ravel(), "offsets": np.array([0, 3, 5])}, "from 0 to the number of"),
        ({"indices": IDS.ravel(), "offsets": np.array([0, 5, 3, 4, 6])}, "must not fall, got 5"),
        ({"indices": IDS, "offsets": np.array([0, 3, 6])}, "indices with offsets are flat"),
        ({"indices": IDS.ravel(), "offsets": np.array([0.0, 3, 6])}, "offsets must be int32"),
        (
            {"indices": IDS, "weights": np.full((3, 2), np.nan, dtype=np.float32)},
            "weights hold NaN",
        ),
        ({"indices": IDS, "weights": np.ones((3, 2))}, "weights must be float32"),
        (
            {"indices": IDS, "weights": np.ones((2, 3), dtype=np.float32)},
            r"of the shape of indices \(3, 2\)",
        ),
        (
            {
                "indices": IDS,
                "weights": np.ones((3, 2), dtype=np.float32),
                "pooling": "mean",
            },
            "sum pooling only",
        ),
        ({"indices": IDS, "pooling": "max"}, "pooling must be sum or mean, got 'max'"),
        ({"indices": IDS, "threads": 0}, "threads must be at least 1, got 0"),
        ({"indices": IDS, "out": np.zeros((3, 2, 8), dtype=np.float32)}, r"out must be float32"),
        (
            {"indices": IDS, "out": np.zeros((3, 2, 32), dtype=np.float32)[:, :, ::2]},
            "out must be C-contiguous",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, message, kernels, request):
    if "threads" in arguments and "NumPy" in request.node.name:
        pytest.skip("NumPy has no threads")
    with pytest.raises((DataError, SettingsError), match=message) as caught:
        lookup(ARRAY, LAYOUT, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ARRAY.astype(np.float64), "array must be float32, or uint16"),
        (ARRAY[:100], r"shape \(200,\), got \(100,\)"),
        (np.zeros(400, dtype=np.float32)[::2], "array must be contiguous"),
        ([0.0] * 200, "got list"),
    ],
)
def test_an_array_of_another_kind_is_refused(array, message):
    with pytest.raises(DataError, match=message):
        lookup(array, LAYOUT, IDS)


def test_empty_bags_give_zeros_and_no_gradient():
    offsets = np.array([0, 0, 0, 0, 0])
    for pooling in ("sum", "mean"):
        found = lookup(ARRAY, LAYOUT, np.zeros(0, dtype=int), offsets, pooling=pooling)
        assert found.shape == (2, 2, 16)
        assert not found.any()
        assert not backward(
            LAYOUT, np.zeros(0, dtype=int), GRADIENT[:2], offsets, pooling=pooling
        ).any()


def test_an_empty_batch_gives_an_empty_result():
    assert lookup(ARRAY, LAYOUT, np.zeros((0, 2), dtype=int)).shape == (0, 2, 16)


def test_the_output_may_be_given_and_is_returned():
    out = np.full((3, 2, 16), np.nan, dtype=np.float32)
    assert lookup(ARRAY, LAYOUT, IDS, out=out) is out
    np.testing.assert_array_equal(out, lookup(ARRAY, LAYOUT, IDS))


def test_full_tables_are_rows_of_the_array():
    layout = RobeLayout.full((3, 4), 2)
    array = np.arange(14, dtype=np.float32)
    np.testing.assert_array_equal(
        lookup(array, layout, np.array([[2, 0], [0, 3]])), [[[4, 5], [6, 7]], [[0, 1], [12, 13]]]
    )


def test_means_are_divided_and_weights_multiplied():
    layout = RobeLayout.full((4,), 1)
    array = np.array([1, 2, 4, 8], dtype=np.float32)
    ids = np.array([[[0, 1, 3]]])
    assert lookup(array, layout, ids, pooling="mean").item() == np.float32(11) / np.float32(3)
    weights = np.array([[[0.5, 2.0, 1.0]]], dtype=np.float32)
    assert lookup(array, layout, ids, weights=weights).item() == 12.5


def test_allocated_arrays_are_zero_aligned_and_used_again():
    if functional.compiled() is None:
        pytest.skip("NumPy aligns as it likes")
    for count in (0, 3, 1000, 1 << 20):
        array = functional.allocate(count)
        assert array.shape == (count,)
        assert array.ctypes.data % 64 == 0
        assert not array.any()
        array[...] = 1
        del array
        assert not functional.allocate(count).any()


def test_bfloat16_rounds_to_nearest_even_and_keeps_what_is_not_a_number():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    values[:4] = [np.nan, np.inf, -np.inf, 1 + 2**-8]
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    found = functional.as_bfloat16(values)
    np.testing.assert_array_equal(found[1:], expected[1:])
    assert np.isnan(functional.as_float32(found)[0])


def test_a_forked_child_looks_up_on_threads_of_its_own():
    big = RobeLayout((1000,) * 26, 64, 5000, 64)
    array = np.ones(5000, dtype=np.float32)
    ids = np.zeros((400, 26), dtype=int)
    lookup(array, big, ids, threads=2)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: lookup(array, big, ids, threads=2)
    )
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0


def test_the_library_needs_no_pytorch():
    program = "import sys, gnomon.embedding; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_bags_know_how_many_rows_they_read():
    assert Bags.of(LAYOUT, IDS).lookups == 6
