"""One training: it learns, it is the same for a seed, its AUC and its times are what they are called."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sklearn.metrics import log_loss, roc_auc_score  # noqa: E402

from gnomon.core.errors import DataError, SettingsError, UnknownNameError  # noqa: E402
from gnomon.recommend.data import ClickArrays, ClickData, CriteoClicks  # noqa: E402
from gnomon.recommend.model import lookup_arguments  # noqa: E402
from gnomon.recommend.recipe import (  # noqa: E402
    RECIPES,
    Optimizer,
    Recipe,
    TrainConfig,
    Variant,
)
from gnomon.recommend.record import TrainRecord  # noqa: E402
from gnomon.recommend.train import train, train_on, weights_of  # noqa: E402
from gnomon.tasks.clicks import ClickBatch, ClickSchema  # noqa: E402
from tests.recommend.samples import MODEL, RECIPE, SOURCE  # noqa: E402

DATA = SOURCE.load()
ROBE = Variant("robe", 4)


def config(variant=ROBE, **changes):
    return TrainConfig(MODEL, variant, **{"recipe": RECIPE, "epochs": 2, "seed": 1} | changes)


@pytest.mark.parametrize(
    "variant",
    [
        Variant("full"),
        ROBE,
        Variant("robe", 4, (("sign", "element"), ("block", 4))),
        Variant("hash-shared", 4),
        Variant("hash-capped", 4),
    ],
    ids=lambda variant: variant.slug,
)
def test_every_variant_learns_the_log_and_none_beats_the_best_possible(variant):
    _, record = train(config(variant), DATA)
    first, last = record.by_epoch
    assert 0.65 < last.auc < DATA.source["bayes_auc"] + 0.01
    assert (first.epoch, last.epoch, last.samples) == (1, 2, 12000)
    assert record.compression == pytest.approx(variant.compression, rel=0.05)
    assert record.full_weights == 468 * 8


def test_auc_and_log_loss_are_those_of_scikit_learn_over_all_held_out_samples():
    model, record = train(config(), DATA)
    held_out = DATA.held_out
    with torch.no_grad():
        ids, _ = lookup_arguments(torch.from_numpy(held_out.ids).long(), (1, 1, 1))
        scores = model.probability(torch.from_numpy(held_out.dense), ids).double().numpy()
    assert record.evaluations[-1].auc == pytest.approx(roc_auc_score(held_out.labels, scores))
    assert record.evaluations[-1].log_loss == pytest.approx(
        log_loss(held_out.labels, scores), rel=1e-5
    )


@pytest.mark.parametrize("variant", [Variant("full"), ROBE, Variant("hash-capped", 4)])
def test_a_seed_settles_every_weight_bit_for_bit(variant):
    (one, first), (other, second) = train(config(variant), DATA), train(config(variant), DATA)
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[name], right[name]) for name in left)
    assert [found.auc for found in first.evaluations] == [found.auc for found in second.evaluations]
    third, _ = train(config(variant, seed=2), DATA)
    assert not np.array_equal(left["top.0.weight"], weights_of(third)["top.0.weight"])


def test_torchs_own_generator_and_threads_are_left_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train(config(epochs=1), DATA)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_full_tables_learn_the_same_with_sparse_and_with_dense_gradients():
    sparse, _ = train(config(Variant("full"), epochs=1), DATA)
    dense, _ = train(config(Variant("full", 1, (("sparse", False),)), epochs=1), DATA)
    for name, weight in weights_of(sparse).items():
        np.testing.assert_allclose(weight, weights_of(dense)[name], atol=2e-5)


def test_training_stops_at_the_first_evaluation_that_reaches_the_target():
    _, whole = train(config(evaluate_every=4), DATA)
    aucs = [found.auc for found in whole.evaluations]
    target = sorted(aucs)[len(aucs) // 2]
    if target <= 0.5:
        pytest.fail("the log is not learned")
    _, record = train(config(evaluate_every=4, target=target), DATA)
    reached = next(number for number, auc in enumerate(aucs) if auc >= target)
    assert [found.auc for found in record.evaluations] == aucs[: reached + 1]
    last = record.evaluations[-1]
    assert record.time_to_target_s == last.training_s
    assert record.time_to_target_with_evaluation_s == last.elapsed_s > last.training_s
    assert [found.batches for found in whole.evaluations] == list(range(4, 49, 4))
    assert [found.batches for found in whole.by_epoch] == [24, 48]
    _, missed = train(config(target=0.999), DATA)
    assert missed.time_to_target_s is None
    assert len(missed.evaluations) == 2


def test_time_of_evaluation_is_no_time_of_training():
    def slow():
        time.sleep(0.3)
        yield from DATA.held_out.batches(1000)

    _, record = train_on(
        config(epochs=1), DATA.schema, lambda _: list(DATA.train.batches(3000)), slow
    )
    last = record.evaluations[-1]
    assert last.elapsed_s - last.training_s >= 0.3


def test_every_sample_is_trained_on_once_an_epoch_in_an_order_of_its_own():
    counted = ClickArrays(
        np.arange(10, dtype=np.float32)[:, None],
        np.zeros((10, 1), np.int32),
        np.zeros(10, np.float32),
    )

    def order(seed, epoch):
        batches = list(counted.shuffled(4, seed, epoch))
        assert [len(batch) for batch in batches] == [4, 4, 2]
        return np.concatenate([batch.dense[:, 0] for batch in batches]).tolist()

    assert sorted(order(0, 0)) == list(range(10))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_multi_hot_samples_are_trained_on():
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 5, (64, 4))
    labels = (ids[:, 0] > 2).astype(np.float32)
    batch = ClickBatch(np.ones((64, 13), np.float32), ids, labels)
    arrays = ClickArrays.of([batch])
    data = ClickData(ClickSchema((5, 5, 5), (2, 1, 1)), arrays, arrays, {})
    _, record = train(config(Variant("full"), epochs=60), data)
    assert record.evaluations[-1].auc > 0.9


def test_the_observer_is_told_how_far_it_is(monkeypatch):
    monkeypatch.setattr("gnomon.recommend.train.OBSERVE_EVERY_S", 0.0)
    steps = []
    train(config(), DATA, steps.append)
    shares = [step.share_done for step in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert (steps[0].epoch, steps[0].auc) == (1, None)
    assert steps[-1].epoch == 2
    assert steps[-1].auc > 0.5


def test_the_recipes_are_the_references_own():
    v1, v2 = RECIPES["mlperf-v1"], RECIPES["mlperf-v2"]
    assert v1 == Recipe(Optimizer("sgd", 1.0), Optimizer("sgd", 1.0), 2048)
    assert v2.embedding == v2.mlp == Optimizer("adagrad", 0.005, 1e-8)
    assert v2.batch_size == 65536
    _, record = train(config(recipe=replace(v1, batch_size=256)), DATA)
    assert record.evaluations[-1].auc > 0.6


def test_a_model_that_diverges_is_told_in_one_line():
    wild = Recipe(Optimizer("sgd", 1e12), Optimizer("sgd", 1e12), 256)
    with pytest.raises(DataError, match=r"robe 4x, seed 1: .* NaN.*lower the learning rate"):
        train(config(recipe=wild), DATA)


def test_what_cannot_be_trained_is_refused_in_one_line():
    with pytest.raises(UnknownNameError, match="did you mean 'robe'"):
        Variant.of("roob")
    with pytest.raises(SettingsError, match="NAME=VALUE"):
        Variant.of("robe:block")
    with pytest.raises(SettingsError, match="do not compress"):
        Variant("full", 10)
    with pytest.raises(SettingsError, match=r"does not know.*blok"):
        train(config(Variant.of("robe:blok=4", 4)), DATA)
    with pytest.raises(SettingsError, match="adam keeps no rows"):
        Recipe(Optimizer("adam", 0.1), Optimizer("adam", 0.1), 1)
    for changes in ({"epochs": 0}, {"threads": 0}, {"target": 1.5}, {"seed": -1}):
        with pytest.raises(SettingsError):
            config(**changes)


def test_variants_and_records_survive_json():
    variant = Variant.of("robe:sign=element:block=4", 100)
    assert variant.name == "robe:block=4:sign=element 100x"
    assert variant.slug == "robe-block4-signelement-100x"
    assert Variant.from_dict(variant.as_dict()) == variant
    _, record = train(config(epochs=1), DATA)
    assert TrainRecord.from_dict(record.as_dict()) == record
    with pytest.raises(DataError, match="does not describe a training"):
        TrainRecord.from_dict({"evaluations": []})


def test_a_criteo_file_of_ones_own_is_trained_on(tmp_path):
    line = "\t".join(["{}", *map(str, range(13)), *(f"{n:08x}" for n in range(26))])
    path = tmp_path / "train.txt"
    path.write_text("".join(line.format(n % 2) + "\n" for n in range(30)))
    source = CriteoClicks("criteo-tsv", path, 20, 10, most_rows=50)
    data = source.load()
    assert (len(data.train), len(data.held_out), data.schema.rows) == (20, 10, (50,) * 26)
    assert "not comparable with published results" in data.source["name"]
    assert data.source["bayes_auc"] is None
    with pytest.raises(DataError, match="holds 30 samples, 40 are asked for"):
        CriteoClicks("criteo-tsv", path, 30, 10).load()
    rows = np.ones((30, 40), np.int32)
    rows[:, 0] = np.arange(30) % 2
    rows.tofile(tmp_path / "day_data.bin")
    np.savez(tmp_path / "day_fea_count.npz", counts=np.full(26, 60))
    stored = CriteoClicks("criteo-binary", tmp_path / "day_data.bin", 20, 10, most_rows=50)
    assert stored.load().schema.rows == (50,) * 26
    assert stored.load().train.ids.max() == 1
    with pytest.raises(UnknownNameError, match="did you mean 'criteo-tsv'"):
        CriteoClicks("criteo", path, 1, 1)


def test_days_of_torchrecs_arrays_are_trained_on_in_their_order(tmp_path):
    for day in (10, 2):
        np.save(tmp_path / f"day_{day}_dense.npy", np.full((20, 13), day, np.float32))
        np.save(tmp_path / f"day_{day}_sparse.npy", np.full((20, 26), 60 + day, np.int64))
        np.save(tmp_path / f"day_{day}_labels.npy", (np.arange(20) % 2)[:, None].astype(np.int32))
    source = CriteoClicks("criteo-npy", tmp_path, 20, 10, most_rows=50)
    data = source.load()
    assert (data.train.dense == 2).all()
    assert (data.held_out.dense == 10).all()
    assert (data.train.ids == 12).all()  # 62, folded into 50 rows
    assert source.settings["file_bytes"] > 2 * 20 * 13 * 4
    with pytest.raises(DataError, match="holds 40 samples, 60 are asked for"):
        CriteoClicks("criteo-npy", tmp_path, 50, 10).load()
    with pytest.raises(DataError, match=r"holds no day_\*_dense\.npy"):
        CriteoClicks("criteo-npy", tmp_path / "elsewhere", 50, 10).load()
