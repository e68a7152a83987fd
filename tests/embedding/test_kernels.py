"""The compiled kernels against NumPy, over random layouts: the same bits on every instruction set."""

import threading

import numpy as np
import pytest

from gnomon.embedding import functional, reference
from tests.embedding.layouts import random_case

native = pytest.importorskip("gnomon.embedding._native", reason="installed without a compiler")
ISAS = [name for name in ("portable", "avx2", "avx512") if native.use_isa(name)]
BEST = ISAS[-1]
SEEDS = range(40)


@pytest.fixture(params=ISAS, autouse=True)
def isa(request):
    assert native.use_isa(request.param)
    yield request.param
    native.use_isa(BEST)


def test_the_best_instruction_set_of_the_processor_is_the_default():
    native.use_isa(BEST)
    assert functional.compiled() == BEST


def test_an_instruction_set_that_is_not_there_is_refused():
    assert not native.use_isa("sve2")


@pytest.mark.parametrize("seed", SEEDS)
def test_lookups_equal_the_reference_bit_for_bit(seed):
    case = random_case(seed)
    expected = reference.lookup(case.layout, case.array, case.bags)
    for threads in (1, 3):
        found = functional.lookup(case.array, case.layout, **case.asked, threads=threads)
        np.testing.assert_array_equal(found, expected, err_msg=str(case.layout))


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_and_updates_equal_the_reference_bit_for_bit(seed):
    case = random_case(seed)
    expected = reference.backward(case.layout, case.bags, case.gradient)
    stepped = case.array.copy()
    reference.sgd(stepped, expected, 0.1)
    for threads in (1, 3):
        found = functional.backward(
            case.layout, gradient=case.gradient, **case.asked, threads=threads
        )
        np.testing.assert_array_equal(found, expected, err_msg=str(case.layout))
        array = case.array.copy()
        functional.sgd(
            array,
            case.layout,
            gradient=case.gradient,
            **case.asked,
            learning_rate=0.1,
            threads=threads,
        )
        np.testing.assert_array_equal(array, stepped, err_msg=str(case.layout))


@pytest.mark.parametrize("cell", [1, 5, 16, 128])
@pytest.mark.parametrize("seed", range(12))
def test_adagrad_equals_the_reference_and_itself_with_any_threads(seed, cell):
    case = random_case(seed)
    state = np.full(-(-case.layout.size // cell), 0.1, dtype=np.float32)
    gradient = reference.backward(case.layout, case.bags, case.gradient)
    array, expected = case.array.copy(), state.copy()
    reference.adagrad(array, expected, gradient, 0.1, 1e-8, cell)
    results = []
    for threads in (1, 3):
        mine, own = case.array.copy(), state.copy()
        functional.adagrad(
            mine,
            own,
            case.layout,
            gradient=case.gradient,
            **case.asked,
            learning_rate=0.1,
            cell=cell,
            threads=threads,
        )
        # Sums of squares are taken in another order than NumPy's.
        np.testing.assert_allclose(own, expected, rtol=1e-5)
        np.testing.assert_allclose(mine, array, rtol=1e-4, atol=1e-5)
        results.append((mine, own))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", range(20))
def test_gradients_of_weights_equal_the_reference(seed):
    case = random_case(seed)
    bags = functional.Bags.of(case.layout, case.indices, case.offsets)
    expected = reference.weight_gradient(case.layout, case.array, bags, case.gradient)
    for threads in (1, 3):
        found = functional.weight_gradient(
            case.array, case.layout, case.indices, case.gradient, case.offsets, threads=threads
        )
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_bfloat16_arrays_are_read_widened_and_rounded_to_nearest_when_written(seed):
    case = random_case(seed)
    narrow = functional.as_bfloat16(case.array)
    wide = functional.as_float32(narrow)
    found = functional.lookup(narrow, case.layout, **case.asked, threads=2)
    np.testing.assert_array_equal(found, reference.lookup(case.layout, wide, case.bags))
    reference.sgd(wide, reference.backward(case.layout, case.bags, case.gradient), 0.1)
    functional.sgd(
        narrow, case.layout, gradient=case.gradient, **case.asked, learning_rate=0.1, threads=2
    )
    np.testing.assert_array_equal(narrow, functional.as_bfloat16(wide))


def test_callers_on_many_threads_get_their_own_results():
    case = random_case(3)
    expected = reference.lookup(case.layout, case.array, case.bags)
    wrong = []

    def call():
        for _ in range(50):
            found = functional.lookup(case.array, case.layout, **case.asked, threads=2)
            if not np.array_equal(found, expected):
                wrong.append(found)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_a_large_lookup_streams_past_the_caches_and_is_the_same():
    rng = np.random.default_rng(0)
    layout = functional.RobeLayout((5000,) * 26, 128, 60000, 128, hash="mixer", align=64)
    array = rng.standard_normal(layout.size).astype(np.float32)
    indices = rng.integers(0, 5000, (512, 26))
    out = functional.lookup(array, layout, indices, threads=2)  # 6.8 MB: streamed
    for part in range(0, 512, 64):
        np.testing.assert_array_equal(
            functional.lookup(array, layout, indices[part : part + 64], threads=1),
            out[part : part + 64],
        )
    table, sample = 7, 300
    where = reference.positions(layout, table, indices[sample, [table]])[0]
    np.testing.assert_array_equal(out[sample, table], array[where])


@pytest.mark.parametrize("dim", [4, 16, 33, 128])
def test_the_dot_interaction_is_every_pair_below_the_diagonal(dim):
    rng = np.random.default_rng(dim)
    dense = rng.standard_normal((70, dim)).astype(np.float32)
    embeddings = rng.standard_normal((70, 26, dim)).astype(np.float32)
    found = functional.dot_interaction(dense, embeddings, threads=2)
    vectors = np.concatenate([dense[:, None], embeddings], axis=1).astype(np.float64)
    products = vectors @ vectors.transpose(0, 2, 1)
    lower = np.tril_indices(27, -1)
    np.testing.assert_array_equal(found[:, :dim], dense)
    np.testing.assert_allclose(found[:, dim:], products[:, *lower], rtol=1e-4, atol=1e-4)
