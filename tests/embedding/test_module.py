"""`RobeEmbeddingBag` against `nn.EmbeddingBag`, and through all that torch does to a module."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from gnomon.core.errors import DataError, SettingsError  # noqa: E402
from gnomon.embedding import RobeLayout, functional  # noqa: E402
from gnomon.embedding.module import RobeEmbeddingBag  # noqa: E402

ROWS = (7, 5, 9)
INDICES = torch.tensor([[1, 4, 8], [6, 0, 8], [0, 0, 0], [1, 2, 3]])
FLAT = torch.tensor([1, 6, 0, 0, 4, 8, 8])
OFFSETS = torch.tensor([0, 2, 2, 4, 5, 6])  # 2 samples, 3 tables; one bag is empty


def small(**options):
    torch.manual_seed(0)
    return RobeEmbeddingBag(ROWS, 6, **({"compression": 3} | options))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("mode", "form"),
    [("sum", "2d"), ("sum", "flat"), ("sum", "weighted"), ("mean", "2d"), ("mean", "flat")],
)
@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_full_layout_is_an_embedding_bag(mode, form, last, kind):
    theirs = nn.EmbeddingBag(9, 4, mode=mode, include_last_offset=last)
    ours = RobeEmbeddingBag(9, 4, hash="identity", mode=mode, include_last_offset=last)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.view(-1))
    weights = [None, None]
    if form == "2d":
        given = (torch.randint(0, 9, (5, 3), dtype=kind),)
    else:
        offsets = torch.tensor([0, 3, 3, 5] + [8] * last, dtype=kind)  # an empty bag
        given = (torch.randint(0, 9, (8,), dtype=kind), offsets)
        if form == "weighted":
            weights = [torch.arange(8.0, requires_grad=True) for _ in range(2)]
    theirs_out = theirs(*given, per_sample_weights=weights[0])
    ours_out = ours(*given, per_sample_weights=weights[1])
    torch.testing.assert_close(ours_out, theirs_out)
    gradient = torch.randn_like(ours_out)
    theirs_out.backward(gradient)
    ours_out.backward(gradient)
    torch.testing.assert_close(ours.weight.grad.view(9, 4), theirs.weight.grad)
    if form == "weighted":
        torch.testing.assert_close(weights[1].grad, weights[0].grad)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block": 2, "wrap": "circular", "sign": "element"},
        {"hash": "mixer", "seed": 5, "align": 64, "mode": "mean"},
        {"block": 16, "span": True, "compression": 2},
    ],
)
def test_several_tables_are_the_numpy_library(options):
    bags = small(**options)
    layout, array = bags.layout, bags.weight.detach().numpy()
    expected = functional.lookup(array, layout, INDICES.numpy(), pooling=bags.mode)
    np.testing.assert_array_equal(bags(INDICES).detach(), expected)
    expected = functional.lookup(
        array, layout, FLAT.numpy(), np.array([*OFFSETS, 7]), pooling=bags.mode
    )
    np.testing.assert_array_equal(bags(FLAT, OFFSETS).detach(), expected)
    assert bags.weight_count == layout.size
    assert bags.bytes == 4 * layout.size


def test_initial_weights_are_the_authors():
    bags = RobeEmbeddingBag([100, 400], 16, compression=4)
    assert 0.049 < bags.weight.abs().max() <= 0.05
    assert RobeEmbeddingBag([100], 16, size=99, init=0.5).weight.abs().max() > 0.4
    assert (RobeEmbeddingBag([100], 16, size=99, init=nn.init.zeros_).weight == 0).all()


def test_state_dict_round_trip():
    bags = small(fused="adagrad")
    bags(INDICES).sum().backward()
    stored = io.BytesIO()
    torch.save(bags.state_dict(), stored)
    stored.seek(0)
    other = small(fused="adagrad", init=0.0)
    other.load_state_dict(torch.load(stored, weights_only=True))
    assert torch.equal(other.weight, bags.weight)
    assert torch.equal(other.accumulators, bags.accumulators)
    assert other.accumulators.any()


@pytest.mark.parametrize(
    ("rows", "change", "words"),
    [
        (ROWS, {"compression": 2}, "size 42 in place of 63"),
        (ROWS, {"seed": 7}, "seed 1024 in place of 7"),
        (ROWS, {"block": 3}, "block 6 in place of 3"),
        (ROWS, {"hash": "mixer", "sign": "element"}, "hash modular in place of mixer, sign none"),
        ((7, 5, 9, 1), {"compression": None, "size": 42}, r"rows \[7, 5, 9\] in place of"),
    ],
)
def test_checkpoint_of_another_layout_is_refused_whole(rows, change, words):
    model = nn.Sequential(RobeEmbeddingBag(rows, 6, **({"compression": 3} | change)))
    before = model[0].weight.detach().clone()
    with pytest.raises(DataError, match=words) as raised:
        model.load_state_dict(nn.Sequential(small()).state_dict())
    assert "\n" not in str(raised.value)
    assert "checkpoint of 0 " in str(raised.value)
    assert torch.equal(model[0].weight, before)


def test_checkpoint_without_a_layout_is_refused():
    with pytest.raises(RuntimeError, match="_extra_state"):
        small().load_state_dict({"weight": torch.zeros(42)})
    with pytest.raises(DataError, match="holds no embedding layout"):
        small().load_state_dict({"weight": torch.zeros(42), "_extra_state": 3})


def test_copies_and_casts():
    bags = small(fused="adagrad")
    bags(INDICES).sum().backward()
    for copied in (copy.deepcopy(bags), pickle.loads(pickle.dumps(bags))):
        assert torch.equal(copied(INDICES), bags(INDICES))
        assert copied.weight.data_ptr() != bags.weight.data_ptr()
    exact = bags.accumulators.clone()
    bags.to(torch.bfloat16)
    assert bags.weight.dtype == torch.bfloat16
    assert torch.equal(bags.accumulators, exact)  # and still float32
    before = bags.weight.detach().clone()
    bags(INDICES).float().square().sum().backward()
    assert not torch.equal(bags.weight, before)
    plain = small(dtype=torch.bfloat16)
    plain(INDICES).sum().backward()
    assert plain.weight.grad.dtype == torch.bfloat16
    assert "7, 5, 9" in repr(plain)
    assert "fused='adagrad'" in repr(bags)


def test_a_module_without_memory_gets_some_later():
    bags = small(fused="adagrad", device="meta")
    assert bags(INDICES.to("meta")).shape == (4, 3, 6)
    bags.to_empty(device="cpu").reset_parameters()
    assert bags(INDICES).isfinite().all()
    assert torch.equal(bags.accumulators, torch.zeros(3))


def test_exports_with_its_layout():
    bags = small()
    exported = torch.export.export(bags, (INDICES,)).module()
    assert torch.equal(exported(INDICES), bags(INDICES))


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("form", ["one row", "bags"])
def test_fused_descent_is_descent(mode, form):
    given = (INDICES,) if form == "one row" else (FLAT, OFFSETS)
    fused, plain = (small(mode=mode, fused=kind, learning_rate=0.5) for kind in ("sgd", None))
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        for bags in (fused, plain):
            bags(*given).square().sum().backward()
        optimiser.step()
    assert fused.weight.grad is None
    assert torch.equal(fused.weight, plain.weight)


def test_fused_adagrad_is_adagrad():
    fused = small(fused="adagrad", learning_rate=0.5, cell=1, epsilon=1e-10)
    plain = small()
    optimiser = torch.optim.Adagrad(plain.parameters(), lr=0.5, eps=1e-10)
    weights = torch.rand(7, requires_grad=True), torch.rand(7, requires_grad=True)
    weights[1].data.copy_(weights[0].data)
    for _ in range(3):
        optimiser.zero_grad()
        for bags, each in zip((fused, plain), weights, strict=True):
            bags(FLAT, OFFSETS, each).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(fused.weight, plain.weight)
    torch.testing.assert_close(weights[0].grad, weights[1].grad)


def test_fused_module_steps_once_for_each_call_and_follows_a_schedule():
    fused, plain = small(fused="sgd", learning_rate=0.5), small()
    start = fused.weight.detach().clone()
    for bags in (fused, plain):
        (bags(INDICES).sum() + bags(INDICES).sum()).backward()
    torch.testing.assert_close(fused.weight, start - 0.5 * plain.weight.grad)
    fused.learning_rate.fill_(0.0)
    before = fused.weight.detach().clone()
    fused(INDICES).sum().backward()
    assert torch.equal(fused.weight, before)
    fused.requires_grad_(False)
    assert not fused(INDICES).requires_grad


# Torch's tracer instantiates autograd functions, and warns of it itself.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("fused", [None, "sgd", "adagrad"])
def test_compiles_into_one_graph(fused):
    torch._dynamo.reset()
    eager, module = small(fused=fused), small(fused=fused)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    for given in ((INDICES,), (FLAT, OFFSETS), (FLAT[:5], torch.tensor([0, 2, 2]))):
        out, expected = compiled(*given), eager(*given)
        assert torch.equal(out, expected)
        for pooled in (out, expected):
            pooled.square().sum().backward()
    if fused is None:
        assert torch.equal(module.weight.grad, eager.weight.grad)
    assert torch.equal(module.weight, eager.weight)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compression": None}, "give compression"),
        ({"size": 42}, "not both"),
        ({"compression": 100}, "at least one block"),
        ({"compression": 0.5}, "at least 1"),
        ({"compression": None, "size": 5}, "at least one block"),
        ({"compression": None, "size": 2_038_074_743}, "prime"),
        ({"mode": "max"}, "sum or mean"),
        ({"hash": "identity"}, "do not compress"),
        ({"fused": "adam"}, "sgd or adagrad"),
        ({"learning_rate": 0}, "positive"),
        ({"epsilon": -1}, "negative"),
        ({"cell": 0}, "whole number"),
        ({"dtype": torch.int8}, "dtype must be"),
        ({"span": True}, "span"),
    ],
)
def test_settings_that_mean_nothing_are_one_line(options, words):
    with pytest.raises(SettingsError, match=words) as raised:
        small(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((torch.tensor([1, 2]),), r"\(batch, L\)"),
        ((torch.tensor([[1, 2]]), torch.tensor([0])), r"\(N,\) with offsets"),
        (
            (torch.tensor([[1, 9]]),),
            "index 9 of sample 0 is not a row of table 0, which has 9 rows",
        ),
        ((torch.tensor([[1, -1]]),), "index -1"),
        ((torch.tensor([1, 2]), torch.tensor([1])), "from 0 to"),
        ((torch.tensor([1, 2]), torch.tensor([[0]])), "flat"),
        ((torch.tensor([[1, 2]]), None, torch.ones(2)), "shape of indices"),
        ((torch.tensor([[1, 2]]), None, torch.tensor([[1.0, float("nan")]])), "NaN"),
        ((torch.tensor([[1.0, 2.0]]),), "int32 or int64"),
    ],
)
def test_input_that_does_not_fit_one_table_is_one_line(given, words):
    with pytest.raises(DataError, match=words) as raised:
        RobeEmbeddingBag(9, 4, compression=2)(*given)
    assert "\n" not in str(raised.value)


def test_empty_batches_have_empty_output():
    bags = small()
    assert bags(INDICES[:0]).shape == (0, 3, 6)
    assert bags(INDICES[:, :, None][:, :, :0]).eq(0).all()
    bags(INDICES[:0]).sum().backward()
    assert not bags.weight.grad.any()


def test_importing_the_numpy_library_leaves_torch_alone():
    code = "import sys, gnomon.embedding; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["module", "ops", "compression", "rivals"])
def test_missing_torch_names_the_extra(module):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from gnomon.core.errors import MissingExtraError\n"
        f"try:\n    import gnomon.embedding.{module}\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert "pip install 'gnomon[train]'" in told


def test_layout_is_a_value():
    assert small().layout == RobeLayout.compressed(ROWS, 6, 3)


DOCUMENT = Path(__file__).parents[2] / "docs" / "embedding.md"


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S))
def test_examples_in_the_document_run(example, capsys):
    exec(compile(example, str(DOCUMENT), "exec"), {})
    assert capsys.readouterr().out
