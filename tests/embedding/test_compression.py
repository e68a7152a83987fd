"""Existing models whose embedding bags become views of one array."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from gnomon.core.errors import DataError, SettingsError  # noqa: E402
from gnomon.embedding import functional, reference  # noqa: E402
from gnomon.embedding.compression import SharedEmbeddingBag, compress  # noqa: E402


class Model(nn.Module):
    """Two users of embedding bags, one of them in a list, dims that differ, and a table used twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.users = nn.EmbeddingBag(1000, 16, mode="sum")
        self.items = nn.ModuleList([nn.EmbeddingBag(500, 8), nn.EmbeddingBag(10, 8)])
        self.again = self.items[0]
        self.top = nn.Linear(40, 1)

    def forward(self, ids):
        offsets = torch.arange(len(ids))
        pooled = [
            self.users(ids, offsets),
            self.items[0](ids % 500, offsets),
            self.items[1](input=ids[:, None] % 10),
            self.again(ids[:, None] % 500),
        ]
        return self.top(torch.cat(pooled, 1)).squeeze(1)


IDS = torch.tensor([0, 7, 499, 999, 7])


def test_a_model_shrinks_and_trains_on():
    model, report = compress(Model(), 10)
    assert report.weights_before == 1000 * 16 + 500 * 8 + 10 * 8
    assert report.weights_after == report.weights_before // 10
    assert report.compression == pytest.approx(10, rel=0.01)
    assert [table.names for table in report.tables] == [
        ("users",),
        ("items.0", "again"),
        ("items.1",),
    ]
    assert report.kept == ()
    assert "3 tables of 20,080 weights" in str(report)
    assert sum(weight.numel() for weight in model.parameters()) == report.weights_after + 41
    assert model.again is model.items[0]

    optimiser = torch.optim.Adagrad(model.parameters(), lr=0.1)
    target = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(model(IDS), target)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 5


def test_views_look_up_what_their_layouts_say():
    model, report = compress(Model(), 10, sign="element", wrap="circular", block=4)
    array = model.users.array.weight.detach().numpy()
    for table in report.tables:
        view = model.get_submodule(table.names[0])
        assert view.layout == table.layout
        ids = np.arange(table.rows)[:, None]
        expected = functional.lookup(array, table.layout, ids, pooling=view.mode)[:, 0]
        np.testing.assert_array_equal(view(torch.from_numpy(ids)).detach(), expected)
    seeds = [table.layout.seed for table in report.tables]
    assert len(set(seeds)) == 3


def test_views_share_one_array_through_copies_casts_and_checkpoints():
    model, _ = compress(Model(), 10)
    assert (
        sum("weight" in name for name in model.state_dict()) == 2
    )  # the array and the linear layer
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(IDS), model(IDS))
        with torch.no_grad():
            copied.users.array.weight.zero_()
        assert not copied.items[0](IDS[:, None] % 500).any()
        assert model.items[0](IDS[:, None] % 500).any()
    other, _ = compress(Model(), 10)
    with torch.no_grad():
        other.users.array.weight.zero_()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(IDS), model(IDS))
    with pytest.raises(DataError, match="size 2008 in place of 4016"):
        compress(Model(), 5)[0].load_state_dict(model.state_dict())
    model.bfloat16()
    assert model.items[1](IDS[:, None] % 10).dtype == torch.bfloat16


def test_a_compressed_model_compiles_into_one_graph():
    torch._dynamo.reset()
    model, _ = compress(Model(), 10)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(IDS), model(IDS))


def test_mean_writes_the_average_of_what_collides():
    model = Model()
    full = [bag.weight.detach().numpy() for bag in (model.users, *model.items)]
    model, report = compress(model, 10, initialise_with="mean", sign="element")
    array = model.users.array.weight.detach().numpy()
    shared = [[] for _ in range(report.weights_after)]
    for table, weight in zip(report.tables, full, strict=True):
        ids = np.arange(table.rows)
        where = reference.positions(table.layout, 0, ids)
        signs = reference.signs(table.layout, 0, ids)
        for place, value in zip(where.ravel(), (weight * signs).ravel(), strict=True):
            shared[place].append(value)
    for found, values in zip(array, shared, strict=True):
        if values:
            assert found == pytest.approx(np.mean(values), abs=1e-6)


def test_some_tables_may_stay_full():
    model, report = compress(Model(), 10, minimum_rows=100)
    assert report.kept == ("items.1",)
    assert type(model.items[1]) is nn.EmbeddingBag
    model, report = compress(Model(), 10, where=lambda name, _: name.startswith("items"))
    assert report.kept == ("users", "again")
    assert isinstance(model.items[0], SharedEmbeddingBag)


def test_a_bag_alone_and_a_chain_are_models():
    bag = nn.EmbeddingBag(100, 4, include_last_offset=True)
    view, report = compress(bag.eval(), 4)
    assert isinstance(view, SharedEmbeddingBag)
    assert not view.training
    assert report.tables[0].names == ("",)
    assert view(torch.tensor([1, 2, 3]), torch.tensor([0, 2, 2, 3])).shape == (3, 4)
    chain, _ = compress(nn.Sequential(nn.EmbeddingBag(100, 4), nn.Linear(4, 1)), 4)
    assert chain(torch.tensor([[1, 2]])).shape == (1, 1)


class Odd(nn.EmbeddingBag):
    pass


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Linear(2, 2), {}, "the model has no torch.nn.EmbeddingBag"),
        (Model(), {"minimum_rows": 9999}, "none of the model's 4 embedding bags"),
        (nn.Sequential(nn.EmbeddingBag(9, 4, padding_idx=0)), {}, "'0' has padding_idx=0"),
        (nn.Sequential(nn.EmbeddingBag(9, 4, max_norm=1.0)), {}, "max_norm=1.0"),
        (nn.EmbeddingBag(9, 4, scale_grad_by_freq=True), {}, "scale_grad_by_freq=True"),
        (nn.EmbeddingBag(9, 4, mode="max"), {}, "mode 'max'"),
        (Odd(9, 4), {}, "is a Odd"),
        (
            nn.Sequential(nn.EmbeddingBag(9, 4), nn.EmbeddingBag(9, 4, dtype=torch.bfloat16)),
            {},
            "alike in dtype",
        ),
        (Model(), {"factor": 1}, "more than 1"),
        (Model(), {"factor": 5000}, "less compression"),
        (Model(), {"initialise_with": "zero"}, "random or mean"),
        (Model(), {"hash": "identity"}, "do not compress"),
    ],
)
def test_what_cannot_be_compressed_is_one_line(model, options, words):
    before = list(model.named_modules())
    with pytest.raises(SettingsError, match=words) as raised:
        compress(model, **({"factor": 2} | options))
    assert "\n" not in str(raised.value)
    assert list(model.named_modules()) == before


def test_a_table_that_others_use_is_refused():
    model = nn.ModuleDict({"bag": nn.EmbeddingBag(9, 4), "out": nn.Linear(4, 9, bias=False)})
    model["out"].weight = model["bag"].weight
    with pytest.raises(SettingsError, match="'bag' shares its weight with 'out'"):
        compress(model, 2)


@pytest.mark.filterwarnings("ignore")  # TorchRec warns as it is imported
def test_torchrec_collections_are_compressed_in_place():
    torchrec = pytest.importorskip("torchrec", reason="TorchRec is not installed")
    config = torchrec.EmbeddingBagConfig
    collection = torchrec.EmbeddingBagCollection(
        tables=[
            config(name="t1", embedding_dim=8, num_embeddings=100, feature_names=["a", "b"]),
            config(name="t2", embedding_dim=4, num_embeddings=50, feature_names=["c"]),
        ]
    )
    features = torchrec.KeyedJaggedTensor(
        keys=["a", "b", "c"],
        values=torch.tensor([1, 2, 99, 4, 49]),
        lengths=torch.tensor([2, 0, 1, 1, 0, 1]),
    )
    model, report = compress(nn.Sequential(collection), 4)
    pooled = model(features).to_dict()
    assert report.weights_after == 250
    assert {name: tuple(rows.shape) for name, rows in pooled.items()} == {
        "a": (2, 8),
        "b": (2, 8),
        "c": (2, 4),
    }
    view = model[0].embedding_bags["t1"]
    torch.testing.assert_close(pooled["a"][0], view(torch.tensor([[1, 2]]))[0])
    assert not pooled["a"][1].any()
    sum(rows.sum() for rows in pooled.values()).backward()
    assert view.array.weight.grad.any()
