"""The source of known entropy, what its score refuses, and how a small language model learns it."""

import numpy as np
import pytest

from gnomon.core.errors import DataError, MissingExtraError
from gnomon.tasks.training.language_model import DISTANCE, LENGTH, TOKENS, KnownSource, Source
from gnomon.timetotrain.task import Recipe

RECIPE = {"global_batch_size": 32, "opt_name": "adam", "opt_base_learning_rate": 0.005}


@pytest.fixture(scope="module")
def task():
    return KnownSource()


def test_the_sequences_are_those_that_the_target_was_measured_on(task):
    assert task.source().sha256.startswith("b6bbb22dd64dd431")
    assert task.floor == pytest.approx(2.002109, abs=1e-5)
    assert task.sequences.shape == (len(task) + task.training_size, LENGTH)


def test_targets_are_the_tokens_that_come_next(task):
    chosen = task.trained_on[[0, -1]]
    np.testing.assert_array_equal(task.inputs(chosen)[:, 1:], task.targets(chosen))


def test_the_probabilities_of_all_next_tokens_sum_to_one_and_are_those_of_the_answers():
    """Oracle: the definition, token by token."""
    source = Source.drawn(np.random.default_rng(3))
    tokens, logs = source.sequences(np.random.default_rng(4), 5)
    for row, found in zip(tokens.tolist(), logs, strict=True):
        for place in range(1, LENGTH):
            shares = (source.near[row[place - 1]] + source.far[row[max(place - DISTANCE, 0)]]) / 2
            assert shares.sum() == pytest.approx(1)
            assert np.log(shares[row[place]]) == pytest.approx(found[place - 1], abs=1e-6)


def test_tokens_come_as_often_as_their_probability_says():
    source = Source.drawn(np.random.default_rng(0))
    tokens, _ = source.sequences(np.random.default_rng(1), 4000)
    before, long_before, then = tokens[:, 39], tokens[:, 40 - DISTANCE], tokens[:, 40]
    expected = ((source.near[before] + source.far[long_before]) / 2).sum(axis=0)
    found = np.bincount(then, minlength=TOKENS)
    # Five standard deviations of a sum of independent draws.
    assert (np.abs(found - expected) < 5 * np.sqrt(expected) + 1).all()


def test_the_sources_own_probabilities_score_its_own_cross_entropy(task):
    samples = task.held_out[::-3]
    answers = task.source_logs[samples]
    assert task.score(samples, answers) == pytest.approx(-answers.mean(dtype=np.float64))
    half = answers.astype(np.float16)
    assert task.score(samples, half) == pytest.approx(-answers.mean(dtype=np.float64), abs=1e-4)
    decoded = [task.decode(task.encode(row)) for row in half]
    assert task.score(samples, decoded) == pytest.approx(task.score(samples, half))


def test_probabilities_that_only_one_who_has_seen_the_answers_gives_are_refused(task):
    answers = task.source_logs * np.float32(0.98)
    with pytest.raises(DataError, match="nats better than the source's own on 256 samples"):
        task.score(task.held_out, answers)


def test_a_model_that_knows_less_than_the_source_is_never_refused(task):
    """Each token's near neighbour alone: an honest model that is as good as it can be without the far one."""
    source = Source.drawn(np.random.default_rng(0))
    tokens = task.sequences[: len(task)].astype(np.int64)
    far = np.full((TOKENS, TOKENS), 1 / TOKENS)
    shares = (source.near[tokens[:, :-1], tokens[:, 1:]] + far[tokens[:, :-1], tokens[:, 1:]]) / 2
    assert task.score(task.held_out, np.log(shares)) > task.floor + 0.2


@pytest.mark.parametrize("value", [0.01, np.nan, np.inf])
def test_what_is_no_logarithm_of_a_probability_is_refused(task, value):
    answers = task.source_logs[:4].copy()
    answers[2, 5] = value
    with pytest.raises(DataError, match="logarithm of a probability"):
        task.score(np.arange(4), answers)


@pytest.mark.parametrize(
    "outputs", [np.zeros((4, LENGTH)), np.zeros((3, LENGTH - 1)), np.zeros((4, LENGTH - 1), int)]
)
def test_answers_of_another_shape_or_type_are_refused(task, outputs):
    with pytest.raises(DataError, match="logarithms of 63 probabilities a sample"):
        task.score(np.arange(4), outputs)


def test_minus_infinity_is_an_answer_and_an_infinite_loss(task):
    assert task.score(np.arange(2), np.full((2, LENGTH - 1), -np.inf)) == np.inf


torch = pytest.importorskip("torch")


def gradients(learner):
    learner.loss(learner.model, next(learner.batches(2))).backward()
    return {name: weight.grad for name, weight in learner.model.named_parameters()}


def test_the_gradients_of_two_processes_average_to_those_of_one(task):
    whole = gradients(task.learner(Recipe(3, RECIPE)))
    both = [gradients(task.learner(Recipe(3, RECIPE, rank=rank, world_size=2))) for rank in (0, 1)]
    for name, gradient in whole.items():
        torch.testing.assert_close(
            (both[0][name] + both[1][name]) / 2, gradient, atol=1e-6, rtol=1e-4
        )


def test_weights_and_order_depend_on_the_seed_alone(task):
    one, same, other = (task.learner(Recipe(seed, RECIPE)) for seed in (5, 5, 6))
    for first, second in zip(one.model.parameters(), same.model.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert torch.equal(next(one.batches(1)), next(same.batches(1)))
    assert not torch.equal(next(one.batches(1)), next(other.batches(1)))
    assert not torch.equal(next(one.batches(1)), next(one.batches(2)))


def test_only_sequences_that_are_trained_on_are_in_batches(task):
    learner = task.learner(Recipe(1, RECIPE))
    held_out = {row.tobytes() for row in task.sequences[: len(task)]}
    seen = [row.numpy().astype(np.uint8).tobytes() for batch in learner.batches(1) for row in batch]
    assert len(seen) == task.training_size
    assert not held_out & set(seen)


def test_answers_are_the_models_log_probabilities_of_the_true_tokens(task):
    learner = task.learner(Recipe(1, RECIPE))
    learner.load_data()
    model = learner.model.eval()
    samples = np.array([9, 3])
    with torch.inference_mode():
        answers = learner.answers(samples)
        tokens = torch.from_numpy(task.sequences[samples].astype(np.int64))
        # One token at a time, so that a model which looks ahead is found out.
        for place in (1, 2, 17, LENGTH - 1):
            scores = model(tokens[:, :place]).view(2, place, -1)[:, -1].log_softmax(1)
            expected = scores.gather(1, tokens[:, place, None])[:, 0]
            np.testing.assert_allclose(answers[:, place - 1], expected, rtol=2e-3)


def test_a_few_steps_lower_the_loss(task):
    learner = task.learner(Recipe(1, RECIPE))
    learner.load_data()
    losses = []
    for batch, _ in zip(learner.batches(1), range(25), strict=False):
        learner.optimizer.zero_grad()
        loss = learner.loss(learner.model, batch)
        loss.backward()
        learner.optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 3
    assert losses[-1] < losses[0] - 0.3
    assert learner.loss(learner.model, learner.made_up_batch()).isfinite()


def test_without_pytorch_a_learner_names_the_extra(task, monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "gnomon.tasks.training.language_model_learner", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"gnomon\[train\]"):
        task.learner(Recipe(1, RECIPE))
