"""The layout against the authors' own code: lookups and gradients bit for bit.

`authors_robe.npz` holds what `HashedEmbeddingCPU` of apd10/universal_memory_allocation (d685e03, MIT) gave
on PyTorch 2.13 with its seed 1024: blocks shorter than a row, as long, longer, and of uneven fit.
"""

from pathlib import Path

import numpy as np
import pytest

from gnomon.embedding import RobeLayout, backward, functional, lookup

STORED = np.load(Path(__file__).with_name("authors_robe.npz"))
CASES = range(sum(name.endswith("_settings") for name in STORED))


def case(number):
    stored = {
        name.removeprefix(f"{number}_"): STORED[name]
        for name in STORED
        if name.startswith(f"{number}_")
    }
    dim, block, table, size = (int(value) for value in stored["settings"])
    layout = RobeLayout(tuple(stored["rows"]), dim, size, block)
    count = len(stored["ids"])
    offsets = np.zeros(layout.tables * count + 1, dtype=np.int64)
    offsets[table * count : (table + 1) * count + 1] = np.arange(count + 1)
    offsets[(table + 1) * count :] = count
    return stored, layout, table, offsets


@pytest.fixture(params=["compiled", "NumPy"], autouse=True)
def kernels(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(functional, "_native", None)
    elif functional.compiled() is None:
        pytest.skip("installed without compiled kernels")


def test_there_are_cases_for_every_kind_of_block():
    settings = [STORED[f"{number}_settings"] for number in CASES]
    assert {np.sign(block - dim) for dim, block, _, _ in settings} == {-1, 0, 1}


@pytest.mark.parametrize("number", CASES)
def test_rows_are_the_authors_bit_for_bit(number):
    stored, layout, table, offsets = case(number)
    found = lookup(stored["array"], layout, stored["ids"], offsets)[:, table]
    np.testing.assert_array_equal(found, stored["rows_found"])


@pytest.mark.parametrize("number", CASES)
def test_the_gradient_is_the_authors_bit_for_bit(number):
    stored, layout, table, offsets = case(number)
    gradient = np.zeros((len(stored["ids"]), layout.tables, layout.dim), dtype=np.float32)
    gradient[:, table] = stored["gradient"]
    found = backward(layout, stored["ids"], gradient, offsets)
    np.testing.assert_array_equal(found, stored["array_gradient"])


def test_the_random_numbers_are_those_of_the_authors_seed():
    layout = RobeLayout((10,), 4, 100, 4)
    assert layout.numbers[:4] == (2038074743, 634329019, 1825252241, 871205356)
