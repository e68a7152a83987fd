"""NeuMF: its batches, its negatives, and that two processes compute what one does."""

import numpy as np
import pytest

from gnomon.core.errors import SettingsError
from gnomon.timetotrain.task import Recipe

torch = pytest.importorskip("torch")

from gnomon.tasks.training import ncf_learner  # noqa: E402
from gnomon.tasks.training.interactions import TrainingInteractions  # noqa: E402
from gnomon.tasks.training.ncf_learner import NeuMf, NeuMfConfig  # noqa: E402

TASK = TrainingInteractions()
HYPERPARAMETERS = {
    "global_batch_size": 1024,
    "opt_name": "adam",
    "opt_base_learning_rate": 0.003,
}


def learner(seed=1, rank=0, world_size=1, **others):
    made = TASK.learner(Recipe(seed, HYPERPARAMETERS | others, rank=rank, world_size=world_size))
    made.load_data()
    return made


def gradients(made):
    made.loss(made.model, next(iter(made.batches(1)))).backward()
    return [weight.grad for weight in made.model.parameters()]


def test_the_model_is_the_papers_layer_by_layer():
    torch.manual_seed(0)
    model = NeuMf(5, 7, NeuMfConfig(4, (6, 5, 3)))
    users, items = torch.tensor([0, 4]), torch.tensor([6, 1])
    with torch.no_grad():
        user, item = model.users.weight[users], model.items.weight[items]
        hidden = torch.cat([user[:, 4:], item[:, 4:]], 1)
        for layer in model.layers:
            hidden = torch.clamp(hidden @ layer.weight.T + layer.bias, min=0)
        both = torch.cat([user[:, :4] * item[:, :4], hidden], 1)
        expected = both @ model.last.weight[0] + model.last.bias
        torch.testing.assert_close(model(users, items), expected)


@pytest.mark.parametrize("most_flags", [1 << 28, 0], ids=["looked up", "searched"])
def test_an_epoch_has_every_pair_and_four_never_taken_for_each(monkeypatch, most_flags):
    monkeypatch.setattr(ncf_learner, "MOST_FLAGS", most_flags)
    users, items, labels = (
        torch.cat(part).numpy()
        for part in zip(*learner(global_batch_size=1000).batches(1), strict=True)
    )
    keys = users * 600 + items
    taken = TASK.data.pairs @ np.array([600, 1])
    assert sorted(keys[labels == 1]) == sorted(taken)
    drawn = keys[labels == 0]
    assert not np.isin(drawn, taken).any()
    assert np.bincount(drawn // 600).tolist() == [120] * 1000
    assert len(np.unique(drawn % 600)) == 600


def test_the_incomplete_last_batch_is_left_out():
    assert [len(users) for users, _, _ in learner().batches(1)] == [1024] * 146


def test_negatives_and_order_follow_from_seed_and_epoch():
    def first(seed, epoch):
        return torch.stack([part.double() for part in next(iter(learner(seed).batches(epoch)))])

    assert torch.equal(first(1, 1), first(1, 1))
    assert not torch.equal(first(1, 1), first(2, 1))
    assert not torch.equal(first(1, 1), first(1, 2))


def test_initial_weights_follow_from_the_seed():
    def weights(seed):
        return torch.cat([weight.flatten() for weight in learner(seed).model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_gradients_of_two_processes_average_to_those_of_one():
    halves = [gradients(learner(rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, left, right in zip(gradients(learner()), *halves, strict=True):
        torch.testing.assert_close((left + right) / 2, whole, rtol=1e-4, atol=1e-8)


def test_a_made_up_batch_looks_like_a_real_one():
    made = learner(world_size=2)
    for invented, real in zip(made.made_up_batch(), next(iter(made.batches(1))), strict=True):
        assert (invented.shape, invented.dtype) == (real.shape, real.dtype)


@pytest.mark.slow
def test_training_finds_what_users_take():
    made, samples = learner(), TASK.held_out
    with torch.inference_mode():
        before = TASK.score(samples, made.answers(samples))
    for epoch in (1, 2):
        for batch in made.batches(epoch):
            made.optimizer.zero_grad()
            made.loss(made.model, batch).backward()
            made.optimizer.step()
    with torch.inference_mode():
        answers = made.answers(samples)
        some = made.answers(np.array([5, 2]))
    assert before < 0.2
    assert TASK.score(samples, answers) > 0.4
    np.testing.assert_array_equal(some, answers[[5, 2]])


def test_weights_that_are_not_finite_hit_no_more_than_chance():
    made = learner()
    with torch.inference_mode():
        for weight in made.model.parameters():
            weight.fill_(torch.nan)
        assert TASK.score(TASK.held_out, made.answers(TASK.held_out)) < 0.2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"global_batch_size": 200_000}, "global_batch_size"),
        ({"opt_base_learning_rate": "fast"}, "opt_base_learning_rate"),
        ({"opt_name": "adm"}, "opt_name"),
    ],
)
def test_a_wrong_hyperparameter_is_told_by_its_key(wrong, words):
    with pytest.raises(SettingsError, match=words):
        next(iter(learner(**wrong).batches(1)))
