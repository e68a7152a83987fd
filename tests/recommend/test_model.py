"""DLRM against its formulas in plain NumPy, against TorchRec's figures, and against the published sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gnomon.core.errors import DataError, SettingsError  # noqa: E402
from gnomon.embedding.rivals import make_embedding  # noqa: E402
from gnomon.recommend import DLRM_SMALL, DLRM_V1, DLRM_V2, DlrmConfig  # noqa: E402
from gnomon.recommend.model import Dlrm, lookup_arguments  # noqa: E402

ROWS, SAMPLES = (7, 4, 5), 5
DOT = DlrmConfig(dense=3, tables=3, dim=4, bottom=(6, 4), top=(5, 4, 1))
CROSS = replace(DOT, interaction="cross", cross_layers=3, cross_rank=2)


def made(config, rows=ROWS, **options):
    torch.manual_seed(3)
    return Dlrm(config, make_embedding("full", rows, config.dim, **options))


def numbers(shape, start):
    k = np.arange(int(np.prod(shape))) + start
    return (np.sin(k * 0.53 + np.cos(k * 1.7)) * 0.7).astype(np.float32).reshape(shape)


def fill(parameters, start=1):
    for parameter in parameters:
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(numbers(tuple(parameter.shape), start)))
        start += parameter.numel()


def samples(hotness):
    dense = np.abs(numbers((SAMPLES, 3), 1000)) * 3
    ids = [
        [(3 * i + 5 * look + t) % ROWS[t] for t in range(3) for look in range(hotness[t])]
        for i in range(SAMPLES)
    ]
    return torch.from_numpy(dense), torch.tensor(ids)


def by_formula(model, config, dense, ids, hotness):
    """The logits as the papers write them, sample by sample, in float64."""
    w = {name: p.detach().double().numpy() for name, p in model.named_parameters()}

    def relu(x):
        return np.maximum(x, 0)

    logits = []
    for x, looked_up in zip(dense.double().numpy(), ids.numpy(), strict=True):
        for layer in range(len(config.bottom)):
            x = relu(w[f"bottom.{2 * layer}.weight"] @ x + w[f"bottom.{2 * layer}.bias"])
        vectors, start = [x], 0
        for table, count in enumerate(hotness):
            rows = w[f"embedding.bags.{table}.weight"][looked_up[start : start + count]]
            vectors.append(rows.sum(axis=0))
            start += count
        if config.interaction == "dot":
            pairs = [vectors[i] @ vectors[j] for i in range(len(vectors)) for j in range(i)]
            z = np.concatenate([x, pairs])
        else:
            first = z = np.concatenate(vectors)
            for layer in range(config.cross_layers):
                low = w[f"cross.v.{layer}"] @ z
                z = first * (w[f"cross.w.{layer}"] @ low + w[f"cross.b.{layer}"]) + z
        for layer in range(len(config.top)):
            z = w[f"top.{2 * layer}.weight"] @ z + w[f"top.{2 * layer}.bias"]
            z = relu(z) if layer < len(config.top) - 1 else z
        logits.append(z[0])
    return np.array(logits)


@pytest.mark.parametrize("config", [DOT, CROSS])
@pytest.mark.parametrize("hotness", [(1, 1, 1), (2, 2, 2), (2, 1, 3)])
def test_logits_follow_the_formulas(config, hotness):
    model = made(config)
    if model.cross is not None:
        fill(model.cross.b)  # they begin at zero, which would hide them
    dense, ids = samples(hotness)
    logits = model(dense, *lookup_arguments(ids, hotness))
    assert logits.shape == (SAMPLES,)
    np.testing.assert_allclose(
        logits.detach(), by_formula(model, config, dense, ids, hotness), rtol=2e-5, atol=2e-6
    )
    np.testing.assert_allclose(
        model.probability(dense, *lookup_arguments(ids, hotness)).detach(),
        torch.sigmoid(logits).detach(),
    )


# torchrec 1.9.2 on torch 2.13.0: torchrec.models.dlrm.DLRM and DLRM_DCN (3 layers of rank 2) with these
# rows, widths, samples and `numbers` as weights, in the order embedding, dense, cross W, V, b, over arch.
TORCHREC_DLRM = [-0.761089504, -0.619706035, -0.553283393, -0.565760732, -1.39633393]
TORCHREC_DLRM_DCN = [0.84948045, 8.83214569, 5.9071064, 7.00147533, 22.7129688]


def test_dot_interaction_gives_torchrecs_logits_once_its_pairs_are_in_our_order():
    model = made(DOT)
    fill([*model.embedding.parameters(), *model.bottom.parameters(), *model.top.parameters()])
    # TorchRec walks the upper triangle of the 4 x 4 products row by row; here it is the lower one.
    upper = list(zip(*np.triu_indices(4, 1), strict=True))
    order = [upper.index((j, i)) for i, j in zip(*np.tril_indices(4, -1), strict=True)]
    with torch.no_grad():
        first = model.top[0].weight
        first[:, 4:] = first[:, 4:][:, order].clone()
    dense, ids = samples((1, 1, 1))
    np.testing.assert_allclose(model(dense, ids).detach(), TORCHREC_DLRM, rtol=2e-6)


def test_cross_interaction_gives_torchrecs_logits_for_multi_hot_samples():
    model, hotness = made(CROSS), (2, 1, 3)
    cross = model.cross
    fill(
        [
            *model.embedding.parameters(),
            *model.bottom.parameters(),
            *cross.w,
            *cross.v,
            *cross.b,
            *model.top.parameters(),
        ]
    )
    dense, ids = samples(hotness)
    logits = model(dense, *lookup_arguments(ids, hotness)).detach()
    np.testing.assert_allclose(logits, TORCHREC_DLRM_DCN, rtol=2e-6)


def test_published_widths_have_the_published_sizes():
    assert (DLRM_V1.features, DLRM_V1.pairs) == (479, 351)
    assert DLRM_V1.parameters == 2_368_897  # "2.4 M"
    assert DLRM_V1.flops == 4_916_992  # 0.341 M + 0.187 M + 4.389 M
    assert DLRM_V2.features == 3456
    assert DLRM_V2.parameters == 16_044_545
    assert DLRM_V2.flops == 340_992 + 21_233_664 + 10_486_272
    assert DLRM_SMALL.features == 16 + 351


@pytest.mark.parametrize("config", [DLRM_V1, DLRM_V2, DLRM_SMALL])
def test_a_model_has_as_many_parameters_as_its_configuration_says(config):
    rows = (3,) * config.tables
    model = made(config, rows)
    assert sum(p.numel() for p in model.other_parameters()) == config.parameters
    with torch.no_grad():
        ids = torch.zeros(2, config.tables, dtype=torch.int64)
        assert model(torch.ones(2, config.dense), ids).shape == (2,)


def test_weights_begin_as_each_reference_draws_them():
    torch.manual_seed(0)
    v1 = Dlrm(DLRM_V1, torch.nn.Identity())
    weight, bias = v1.top[2].weight, v1.top[2].bias
    assert float(weight.detach().std()) == pytest.approx((2 / 2048) ** 0.5, rel=0.01)
    assert float(bias.detach().std()) == pytest.approx((1 / 1024) ** 0.5, rel=0.1)
    v2 = Dlrm(DLRM_V2, torch.nn.Identity())
    assert float(v2.cross.w[1].detach().std()) == pytest.approx((2 / (3456 + 512)) ** 0.5, rel=0.01)
    assert float(v2.cross.b[1].detach().abs().max()) == 0
    # torch's own: U(-a, a) with a = sqrt(1 / inputs)
    assert float(v2.top[2].weight.detach().abs().max()) == pytest.approx(1024**-0.5, rel=0.001)


@pytest.mark.parametrize("kind", ["robe", "hash-shared", "hash-capped", "qr", "tt"])
def test_every_embedding_fits_in_and_gets_a_gradient(kind):
    config = replace(DLRM_SMALL, tables=3)
    model = Dlrm(config, make_embedding(kind, (3000, 900, 40), 16, compression=4))
    ids, offsets = lookup_arguments(torch.tensor([[1, 2, 800, 39], [0, 0, 5, 1]]), (2, 1, 1))
    model(torch.ones(2, 13), ids, offsets).sum().backward()
    assert any(float(p.grad.abs().sum()) > 0 for p in model.embedding.parameters())


def test_what_does_not_fit_is_refused_in_one_line():
    for changes, words in (
        ({"bottom": (6, 3)}, "must end with dim = 4"),
        ({"top": (5, 2)}, "must end with 1"),
        ({"interaction": "sum"}, "dot or cross"),
        ({"interaction": "cross"}, "needs cross_layers"),
        ({"cross_layers": 3}, "go with interaction cross"),
        ({"dense": 0}, "at least 1"),
    ):
        with pytest.raises(SettingsError, match=words):
            replace(DOT, **changes)
    with pytest.raises(DataError, match=r"\(n, 3\), got \(5, 4\)"):
        made(DOT)(torch.ones(5, 4), torch.zeros(5, 3, dtype=torch.int64))
    with pytest.raises(DataError, match=r"\(n, 4\), got \(2, 3\)"):
        lookup_arguments(torch.zeros(2, 3, dtype=torch.int64), (2, 1, 1))
    with pytest.raises(SettingsError, match="at least one lookup"):
        lookup_arguments(torch.zeros(2, 3, dtype=torch.int64), (2, 1, 0))


def test_a_configuration_survives_json():
    assert DlrmConfig.from_dict(DLRM_V2.as_dict()) == DLRM_V2
    with pytest.raises(SettingsError, match="does not describe a DLRM"):
        DlrmConfig.from_dict({"dense": 13})
