"""The layout: what it refuses, and the properties that its definition promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.embedding import RobeLayout, reference
from tests.embedding.layouts import random_layout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ()}, "at least one table"),
        ({"rows": (3, 0)}, "each of at least one row"),
        ({"dim": 0}, "dim must be a whole number of at least 1, got 0"),
        ({"block": 0}, "block must be a whole number of at least 1"),
        ({"size": 15}, "size 15 is below block 16; use a smaller block or less compression"),
        ({"size": 2038074743}, "must be below the modular hash's prime.*use hash='mixer'"),
        ({"rows": (2038074743,)}, "the number of rows must be below the modular hash's prime"),
        ({"size": 2**32, "hash": "mixer"}, "size must be at most"),
        ({"wrap": "round"}, "wrap must be clipped or circular, got 'round'"),
        ({"sign": "row"}, "sign must be none or element"),
        ({"hash": "md5"}, "hash must be modular or mixer or identity"),
        ({"align": 32}, "align must be 0 or 64 bytes, got 32"),
        ({"seed": -1}, "seed must be in 0 to"),
        ({"span": True}, "span lets blocks run over rows and needs block > dim"),
        ({"hash": "identity"}, "full tables of 30 rows by 16 have 480 weights, size says 100"),
        ({"hash": "identity", "size": 480, "align": 64}, "take no wrap, sign, align or span"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_with_the_mend(arguments, message):
    sound = {"rows": (10, 20), "dim": 16, "size": 100, "block": 16}
    with pytest.raises(SettingsError, match=message):
        RobeLayout(**(sound | arguments))


def test_compression_is_of_the_weights_of_all_tables():
    layout = RobeLayout.compressed([1000, 3000], 32, 100)
    assert (layout.size, layout.block, layout.compression) == (1280, 32, 100)
    with pytest.raises(SettingsError, match=r"compression must be at least 1, got 0\.5"):
        RobeLayout.compressed([10], 4, 0.5)
    with pytest.raises(SettingsError, match="less compression"):
        RobeLayout.compressed([10], 4, 100)


def test_the_published_size_is_108_megabytes():
    layout = RobeLayout((204_184_588,), 128, 27_000_000, 128)
    assert round(layout.compression) == 968
    assert layout.size * 4 == 108_000_000


def test_a_layout_comes_back_from_its_description():
    for seed in range(20):
        layout = random_layout(np.random.default_rng(seed))
        assert RobeLayout.from_dict(layout.as_dict()) == layout
    with pytest.raises(SettingsError, match="does not describe an embedding layout"):
        RobeLayout.from_dict({"rows": [3]})


@given(seed=st.integers(0, 10_000))
def test_every_element_lies_inside_and_blocks_are_contiguous(seed):
    layout = random_layout(np.random.default_rng(seed))
    for table, rows in enumerate(layout.rows):
        where = reference.positions(layout, table, np.arange(rows))
        assert where.shape == (rows, layout.dim)
        assert where.min() >= 0
        assert where.max() < layout.size
        steps = (np.diff(where, axis=1) % layout.size) == 1
        if layout.span:
            x = (np.arange(rows) + layout.first_rows[table])[:, None] * layout.dim
            inside = (x + np.arange(1, layout.dim)) % layout.block != 0
        else:
            block = min(layout.block, layout.dim)
            inside = np.broadcast_to(np.arange(1, layout.dim) % block != 0, steps.shape)
        assert (steps | ~inside).all()
        if layout.wrap == "clipped":
            assert ((np.diff(where, axis=1) == 1) | ~inside).all()
        if layout.align and not layout.span:
            assert (where[:, :: min(layout.block, layout.dim)] % 16 == 0).all()


def test_spanning_blocks_put_neighbouring_rows_side_by_side():
    layout = RobeLayout((64,), 16, 1000, 64, span=True)
    where = reference.positions(layout, 0, np.arange(4)).ravel()
    assert (np.diff(where) == 1).all()


@pytest.mark.parametrize("kind", ["modular", "mixer"])
def test_signs_are_even_and_fixed(kind):
    layout = RobeLayout((4000,), 32, 5000, 32, sign="element", hash=kind)
    found = reference.signs(layout, 0, np.arange(4000))
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert abs(found.mean()) < 0.02
    np.testing.assert_array_equal(found, reference.signs(layout, 0, np.arange(4000)))


@pytest.mark.parametrize("kind", ["modular", "mixer"])
def test_starts_spread_evenly_over_the_array(kind):
    layout = RobeLayout((200_000,), 8, 6400, 8, hash=kind, wrap="circular")
    starts = reference.positions(layout, 0, np.arange(200_000))[:, 0]
    counts = np.bincount(starts // 64, minlength=100)
    assert counts.std() / counts.mean() < 0.05


def test_the_mixer_breaks_the_lattice_of_the_modular_hash():
    """Under the modular hash neighbouring rows lie one of few constant steps apart."""
    steps = {}
    for kind in ("modular", "mixer"):
        layout = RobeLayout((10_000,), 8, 100_000, 8, hash=kind)
        starts = reference.positions(layout, 0, np.arange(10_000))[:, 0]
        steps[kind] = len(np.unique(np.diff(starts)))
    assert steps["modular"] <= 4
    assert steps["mixer"] > 9_000


def test_inner_products_of_signed_rows_are_unbiased_with_the_derived_variance():
    """Var = sum over pairs in different blocks of (x_i^2 y_j^2 + x_i y_i x_j y_j) / m.

    For signs and circular offsets that are drawn uniformly; here they come from 4,000 seeds.
    """
    rng = np.random.default_rng(0)
    n, m, block = 16, 20, 4
    x, y = rng.standard_normal((2, n)).astype(np.float32)
    found = []
    for seed in range(4000):
        layout = RobeLayout(
            (1,), n, m, block, wrap="circular", sign="element", hash="mixer", seed=seed
        )
        where = reference.positions(layout, 0, np.array([0]))[0]
        sign = reference.signs(layout, 0, np.array([0]))[0]
        sketches = np.zeros((2, m))
        for sketch, vector in zip(sketches, (x, y), strict=True):
            np.add.at(sketch, where, sign * vector)
        found.append(sketches[0] @ sketches[1])
    blocks = np.arange(n) // block
    apart = blocks[:, None] != blocks[None, :]
    pairs = np.outer(x**2, y**2) + np.outer(x * y, x * y)
    variance = (pairs * apart).sum() / m
    assert abs(np.mean(found) - x @ y) < 4 * np.sqrt(variance / 4000)
    assert np.var(found) == pytest.approx(variance, rel=0.12)
