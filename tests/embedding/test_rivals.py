"""Every kind of embedding: one interface, equal budgets, and what each method says it computes."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from gnomon.core.errors import (  # noqa: E402
    DataError,
    GnomonWarning,
    SettingsError,
    UnknownNameError,
)
from gnomon.embedding.layout import PRIME, RobeLayout  # noqa: E402
from gnomon.embedding.rivals import KINDS, FullTables, make_embedding  # noqa: E402
from gnomon.embedding.rivals.hashed import capped  # noqa: E402
from gnomon.embedding.rivals.tensor_train import core_weights, cut, thirds  # noqa: E402

ROWS, DIM = (3000, 500, 40, 3), 16
REAL = (100_000, 60_000, 40_000, 10_000, 5000, 500, 100, 20, 10, 3)  # a spread as Criteo has it
COMPRESSED = {"full": 1, "int8": 1}
INDICES = torch.tensor([[2999, 499, 39, 2], [0, 0, 0, 0], [17, 17, 17, 1]])


def made(kind, rows=ROWS, dim=DIM, **options):
    return make_embedding(kind, rows, dim, compression=COMPRESSED.get(kind, 4), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_every_kind_pools_its_own_rows(kind, mode):
    single, pooling = made(kind), made(kind, mode=mode)
    alone = single(INDICES).detach()
    assert alone.shape == (3, 4, DIM)
    many = torch.stack([INDICES, INDICES.flip(0)], 2)
    both = alone + alone.flip(0)
    torch.testing.assert_close(pooling(many).detach(), both / 2 if mode == "mean" else both)

    # The same bags flat, table after table, and one empty bag for each table at the end.
    flat = torch.cat([many.permute(1, 0, 2).reshape(4, -1)], 1).reshape(-1)
    sizes = torch.tensor([2, 2, 2, 0] * 4)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)[:-1]])
    found = pooling(flat, offsets)
    torch.testing.assert_close(found[:3], pooling(many))
    assert not found[3].any()
    assert torch.equal(
        made(kind, mode=mode, include_last_offset=True)(
            flat, torch.cat([offsets, sizes.sum()[None]])
        ),
        found,
    )
    if mode == "sum":
        weights = torch.rand(INDICES.shape)
        expected = alone * weights[..., None]
        torch.testing.assert_close(pooling(INDICES, None, weights).detach(), expected)
        weighted = pooling(INDICES.t().reshape(-1), torch.arange(12), weights.t().reshape(-1))
        torch.testing.assert_close(weighted.detach(), expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "int8"])
def test_every_kind_trains_from_scratch(kind):
    embedding = make_embedding(kind, ROWS, DIM, compression=COMPRESSED.get(kind, 20))
    target = torch.randn(3, 4, DIM) / 10
    optimiser = torch.optim.Adam(embedding.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (embedding(INDICES) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in COMPRESSED])
@pytest.mark.parametrize("compression", [1.5, 10, 50, 1000])
def test_budgets_match_at_equal_compression(kind, compression):
    wanted = sum(REAL) * 16 / compression
    if kind == "qr" and compression == 1000:
        with pytest.raises(SettingsError, match=r"use compression .* or less"):
            make_embedding(kind, REAL, 16, compression=compression)
        return
    embedding = make_embedding(kind, REAL, 16, compression=compression)
    assert embedding.weight_count == pytest.approx(wanted, rel=0.05)
    assert embedding.weight_count == sum(weight.numel() for weight in embedding.parameters())
    assert embedding.bytes == 4 * embedding.weight_count


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_weights_and_leaves_torchs_generator_alone(kind):
    before = torch.random.get_rng_state()
    first, same, other = made(kind, seed=1), made(kind, seed=1), made(kind, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first(INDICES), same(INDICES))
    assert not torch.equal(first(INDICES), other(INDICES))


@pytest.mark.parametrize("kind", ["full", "hash-capped", "qr", "tt"])
def test_rows_begin_at_the_scale_of_full_tables(kind):
    embedding = make_embedding(kind, REAL, 16, compression=1 if kind == "full" else 3)
    indices = torch.stack([torch.randint(0, rows, (2000,)) for rows in REAL[:4]], 1)
    indices = torch.cat([indices, torch.zeros(2000, 6, dtype=torch.int64)], 1)
    spread = embedding(indices).detach()[:, :4].std(dim=(0, 2))
    for found, rows in zip(spread, REAL, strict=False):
        assert float(found) == pytest.approx(math.sqrt(1 / (3 * rows)), rel=0.35)


def test_full_tables_are_embedding_bags():
    embedding = made("full")
    for table in range(4):
        expected = embedding.bags[table].weight[INDICES[:, table]]
        assert torch.equal(embedding(INDICES)[:, table], expected)
        assert expected.abs().max() <= (1 / ROWS[table]) ** 0.5
    sparse = FullTables(ROWS, DIM, sparse=True)
    sparse(INDICES).sum().backward()
    assert sparse.bags[0].weight.grad.is_sparse


def test_hashed_rows_are_where_the_hash_says():
    embedding = made("hash-shared")
    _, r1, _, r3, *_ = RobeLayout.full(ROWS, DIM).numbers
    x = 17 + ROWS[0]
    row = (x * r3 + r1) % PRIME % len(embedding.weight)
    assert torch.equal(embedding(INDICES)[2, 1], embedding.weight[row])
    assert capped((1000, 100, 5), 305) == (200, 100, 5)
    assert capped((1000, 900, 5), 206) == (101, 100, 5)
    assert capped((10, 5), 99) == (10, 5)
    embedding = made("hash-capped")
    kept = capped(ROWS, int(sum(ROWS) / 4))
    assert torch.equal(embedding(INDICES)[0, 0], embedding.weight[2999 % kept[0]])


@pytest.mark.parametrize("operation", ["mult", "add"])
def test_quotient_and_remainder_name_each_row_once(operation):
    embedding = made("qr", operation=operation)
    divisor = int(embedding._divisor[0])
    pairs = {(row // divisor, row % divisor) for row in range(3000)}
    assert len(pairs) == 3000
    q, r = embedding.quotient[17 // divisor], embedding.remainder[17 % divisor]
    expected = q * r if operation == "mult" else q + r
    assert torch.equal(embedding(INDICES)[2, 0], expected)


def test_tensor_train_rows_are_products_of_cores():
    assert cut(3000) == (15, 15, 14)
    assert thirds(128) == (4, 8, 4)
    assert thirds(7) == (1, 7, 1)
    embedding = made("tt")
    table = embedding.tables[0]
    assert sum(core.numel() for core in table.cores) == core_weights(3000, DIM, table.rank)
    first, second, third = (core.detach() for core in table.cores)
    (n2, n3), (d1, d2, d3), rank = (table.n2, table.n3), (table.d1, table.d2, table.d3), table.rank
    whole = torch.einsum(
        "iar,jrbs,ksc->ijkabc",
        first.view(-1, d1, rank),
        second.view(n2, rank, d2, rank),
        third.view(n3, rank, d3),
    ).reshape(-1, DIM)
    torch.testing.assert_close(embedding(INDICES)[:, 0].detach(), whole[INDICES[:, 0]])


def test_int8_rows_are_near_what_they_were_made_from():
    full = made("full", seed=4)
    packed = make_embedding("int8", ROWS, DIM, source=full)
    scale = full(INDICES).detach().abs().amax(2, keepdim=True)
    assert ((packed(INDICES) - full(INDICES).detach()).abs() <= scale * 2 / 255 + 1e-6).all()
    assert packed.bytes == sum(buffer.numel() for buffer in packed.buffers()) - len(ROWS)
    assert packed.weight_count == full.weight_count


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in COMPRESSED])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_id_that_is_no_row_is_one_line(kind, wrong):
    with pytest.raises(DataError, match=f"index {wrong} .*table 3, which has 3 rows"):
        made(kind)(torch.tensor([[0, 0, 0, 1], [0, 0, 0, wrong]]))


def test_settings_that_mean_nothing_are_one_line():
    with pytest.raises(UnknownNameError, match="did you mean 'robe'"):
        make_embedding("rube", ROWS, DIM)
    for kind in COMPRESSED:
        with pytest.raises(SettingsError, match="keeps every weight"):
            make_embedding(kind, ROWS, DIM, compression=2)
    with pytest.raises(SettingsError, match="at least 1"):
        make_embedding("qr", ROWS, DIM, compression=0)
    with pytest.raises(SettingsError, match="at least one row"):
        make_embedding("qr", (3, 0), DIM)
    with pytest.raises(SettingsError, match="mult or add"):
        make_embedding("qr", ROWS, DIM, operation="concat")
    with pytest.raises(SettingsError, match="at least a row of each of 4 tables"):
        make_embedding("hash-capped", ROWS, DIM, compression=3000)
    with pytest.raises(SettingsError, match="sum pooling only"):
        made("qr", mode="mean")(INDICES, None, torch.ones(INDICES.shape))
    with pytest.raises(DataError, match="shape of indices"):
        made("qr")(INDICES, None, torch.ones(3))
    with pytest.raises(DataError, match=r"\(batch, 4\)"):
        made("qr")(INDICES[:, :2])
    with pytest.raises(DataError, match="flat"):
        made("qr")(INDICES, torch.arange(3))
    with pytest.warns(GnomonWarning, match="too few"):
        make_embedding("tt", (100_000, 90_000), 127, compression=450)


def test_kinds_are_modules_that_state_dicts_carry():
    for kind in KINDS:
        first, other = made(kind, seed=1), made(kind, seed=2)
        other.load_state_dict(first.state_dict())
        assert isinstance(first, nn.Module)
        assert torch.equal(first(INDICES), other(INDICES))
