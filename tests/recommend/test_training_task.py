"""DLRM to train: generated clicks, Criteo's binary files, and that two processes compute what one does."""

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.recommend import training_task
from gnomon.recommend.training_task import TrainingClicks, TrainingCriteo
from gnomon.tasks.clicks import ClickLog, ClickSchema, CriteoBinary, roc_auc
from gnomon.timetotrain.task import Recipe

torch = pytest.importorskip("torch")

from gnomon.recommend import training_learner  # noqa: E402
from gnomon.recommend.config import DLRM_SMALL, DLRM_V1  # noqa: E402
from gnomon.recommend.training_learner import StackedTables  # noqa: E402

ROWS = tuple(3 + 2 * table for table in range(26))


class FewClicks(TrainingClicks):
    """The same log, less of it."""

    training_size = 4000

    def __len__(self):
        return 1000


FEW = FewClicks()


def learner(task=FEW, seed=1, rank=0, world_size=1, **others):
    hyperparameters = {
        "global_batch_size": 512,
        "opt_name": "adagrad",
        "opt_base_learning_rate": 0.02,
    } | others
    return task.learner(Recipe(seed, hyperparameters, rank=rank, world_size=world_size))


def gradients(made):
    made.loss(made.model, next(iter(made.batches(1)))).backward()
    return [weight.grad.to_dense() for weight in made.model.parameters()]


@pytest.fixture
def criteo(tmp_path, monkeypatch):
    """A folder as dlrm's preprocessing leaves it, of 300 and 90 impressions; widths of the small model."""
    rng = np.random.default_rng(0)
    for name, count in (("train_data.bin", 300), ("test_data.bin", 90)):
        stored = np.empty((count, 40), "<i4")
        stored[:, 0] = rng.random(count) < 0.3
        stored[:, 1:14] = rng.integers(0, 1000, (count, 13))
        stored[:, 14:] = rng.integers(0, ROWS, (count, 26))
        stored.tofile(tmp_path / name)
    np.savez(tmp_path / "day_fea_count.npz", counts=np.array(ROWS))
    monkeypatch.setattr(training_learner, "DLRM_V1", DLRM_SMALL)
    return tmp_path


def test_the_generated_clicks_are_the_logs_own_rows_and_held_out_ones_come_after():
    log = ClickLog(rows=training_task.ROWS)
    inputs = FEW.inputs(np.array([999, 0, 1000, 4999]))
    for place, row in enumerate((4999, 4000, 0, 3999)):
        expected = log.generate(row, row + 1)
        np.testing.assert_array_equal(inputs["dense"][place], expected.dense[0])
        np.testing.assert_array_equal(inputs["ids"][place], expected.ids[0])


def test_the_score_is_the_auc_of_the_held_out_labels():
    samples = np.random.default_rng(0).permutation(1000)[:300]
    scores = np.random.default_rng(1).standard_normal(300).astype(np.float32)
    assert FEW.score(samples, scores) == roc_auc(scores, FEW.data.labels[samples])
    decoded = [FEW.decode(FEW.encode(score)) for score in scores]
    assert FEW.score(samples, decoded) == FEW.score(samples, scores)


def test_the_log_is_the_one_that_the_reference_points_were_measured_on():
    assert TrainingClicks().source().sha256.startswith("9de98268299a92cbf944")


def test_the_log_says_what_it_is():
    source = FEW.source()
    assert "synthetic" in source.name
    assert not source.official
    assert source == FewClicks().source()


def test_stacked_tables_look_up_what_separate_tables_do():
    torch.manual_seed(0)
    stacked = StackedTables((4, 7, 2), 8, sparse=False)
    tables = stacked.weight.split([4, 7, 2])
    ids = torch.tensor([[3, 0, 1], [0, 6, 0]])
    expected = torch.stack([table[ids[:, number]] for number, table in enumerate(tables)], 1)
    torch.testing.assert_close(stacked(ids + torch.tensor([0, 4, 11])), expected)
    assert tables[2].abs().max() <= 2**-0.5
    assert tables[1].abs().max() <= 7**-0.5


def test_a_batch_is_the_logs_impressions_in_an_order_of_seed_and_epoch():
    made = learner()
    dense, ids, labels = (torch.cat(part).numpy() for part in zip(*made.batches(1), strict=True))
    offsets = np.r_[0, np.cumsum(training_task.ROWS)[:-1]]
    data = FEW.data
    rows = {
        (one.tobytes(), two.tobytes(), label)
        for one, two, label in zip(data.dense, data.ids, data.labels.tolist(), strict=True)
    }
    back = (ids - offsets).astype(np.int32)
    assert len(labels) == 7 * 512
    assert all(
        (one.tobytes(), two.tobytes(), label) in rows
        for one, two, label in zip(dense, back, labels.tolist(), strict=True)
    )
    again = next(iter(learner().batches(1)))[0]
    np.testing.assert_array_equal(again.numpy(), dense[:512])
    assert not np.array_equal(next(iter(learner(seed=2).batches(1)))[0].numpy(), dense[:512])
    assert not np.array_equal(next(iter(made.batches(2)))[0].numpy(), dense[:512])


def test_gradients_of_two_processes_average_to_those_of_one(criteo):
    for task in (FEW, TrainingCriteo(criteo)):
        size = {"global_batch_size": 128}
        halves = [gradients(learner(task, rank=rank, world_size=2, **size)) for rank in (0, 1)]
        for whole, left, right in zip(gradients(learner(task, **size)), *halves, strict=True):
            torch.testing.assert_close((left + right) / 2, whole, rtol=1e-4, atol=1e-7)


def test_a_step_on_sparse_gradients_is_the_step_on_dense_ones(criteo, monkeypatch):
    def after_two_steps(sparse):
        made = training_learner.CriteoLearner(TrainingCriteo(criteo), recipe)
        made.model.embedding.sparse = sparse
        for batch in made.batches(1):
            made.optimizer.zero_grad()
            made.loss(made.model, batch).backward()
            made.optimizer.step()
        return made.model.embedding.weight

    for name in ("adagrad", "sgd"):
        settings = {"global_batch_size": 150, "opt_name": name, "opt_base_learning_rate": 0.1}
        recipe = Recipe(1, settings)
        torch.testing.assert_close(after_two_steps(True), after_two_steps(False))


def test_a_made_up_batch_looks_like_a_real_one(criteo):
    for task in (FEW, TrainingCriteo(criteo)):
        made = learner(task, world_size=2, global_batch_size=100)
        real = next(iter(made.batches(1)))
        invented = made.made_up_batch()
        for one, other in zip(invented, real, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
        with torch.no_grad():
            assert torch.isfinite(made.loss(made.model, invented))


def test_training_finds_who_clicks():
    made, samples = learner(), FEW.held_out
    made.load_data()
    for epoch in (1, 2, 3):
        for batch in made.batches(epoch):
            made.optimizer.zero_grad()
            made.loss(made.model, batch).backward()
            made.optimizer.step()
    with torch.inference_mode():
        answers = made.answers(samples)
        some = made.answers(np.array([5, 2]))
    assert answers.shape == (1000,)
    assert FEW.score(samples, answers) > 0.65
    np.testing.assert_allclose(some, answers[[5, 2]], rtol=1e-4, atol=1e-6)


def test_criteos_files_are_read_batch_by_batch_in_an_order_of_the_seed(criteo):
    task = TrainingCriteo(criteo)
    assert (len(task), task.training_size) == (90, 300)
    stored = CriteoBinary(criteo / "test_data.bin", ClickSchema(ROWS))
    whole = next(stored.batches(0, 90, 90))
    asked = np.array([5, 6, 7, 2, 89])
    inputs = task.inputs(asked)
    np.testing.assert_array_equal(inputs["ids"], whole.ids[asked])
    np.testing.assert_array_equal(inputs["dense"], whole.dense[asked])
    np.testing.assert_array_equal(task.labels, whole.labels)
    trained = next(CriteoBinary(criteo / "train_data.bin", ClickSchema(ROWS)).batches(0, 300, 300))

    def seen(seed, epoch=1):
        made = learner(task, seed=seed, rank=1, world_size=2, global_batch_size=100)
        return [labels.tolist() for _, _, labels in made.batches(epoch)]

    parts = [trained.labels[start : start + 100][1::2].tolist() for start in (0, 100, 200)]
    assert sorted(seen(1)) == sorted(parts)
    assert seen(1) == seen(1)
    assert len({str(seen(seed)) for seed in range(10)}) > 1


def test_criteos_model_is_the_fields(criteo):
    assert DLRM_V1.dim == 128
    made = learner(TrainingCriteo(criteo), global_batch_size=100)
    made.load_data()
    with torch.inference_mode():
        answers = made.answers(np.arange(90))
    assert 0 <= TrainingCriteo(criteo).score(np.arange(90), answers) <= 1
    assert not TrainingCriteo(criteo).source().official


def test_a_missing_file_is_told_by_its_name(criteo):
    (criteo / "test_data.bin").unlink()
    with pytest.raises(DataError, match=r"test_data\.bin does not exist"):
        TrainingCriteo(criteo).source()
    (criteo / "day_fea_count.npz").unlink()
    with pytest.raises(DataError, match=r"day_fea_count\.npz does not exist"):
        len(TrainingCriteo(criteo).schema.rows)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"opt_name": "adam"}, "opt_name must be adagrad or sgd, got 'adam'"),
        ({"opt_base_learning_rate": 0}, "opt_base_learning_rate must be"),
        ({"opt_adagrad_epsilon": "small"}, "opt_adagrad_epsilon must be a number"),
        ({"opt_sgd_momentum": 0.9}, "opt_sgd_momentum is read by"),
        ({"global_batch_size": 5000}, "global_batch_size must be"),
    ],
)
def test_a_wrong_hyperparameter_is_told_by_its_key(criteo, wrong, words):
    for task in (FEW, TrainingCriteo(criteo)):
        with pytest.raises(SettingsError, match=words):
            next(iter(learner(task, **wrong).batches(1)))
