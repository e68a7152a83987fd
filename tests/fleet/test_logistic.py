"""Logistic regression held against plain float64 gradients and against torch's autograd."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.fleet.learner import LocalTraining
from gnomon.fleet.logistic import LogisticLearner
from gnomon.fleet.randomness import batch_indices
from tests.fleet.small_fleet import small_data

DATA = small_data()
CLASSES, FEATURES = 3, 5


def training(**changes):
    return LocalTraining(
        **{
            "local_iterations": 7,
            "batch_size": 4,
            "learning_rate": 0.3,
            "proximal": 0.0,
            "seed": 1,
            "round_number": 2,
            **changes,
        }
    )


def some_parameters(seed=3):
    generator = np.random.default_rng(seed)
    return generator.standard_normal(CLASSES * (FEATURES + 1)).astype(np.float32)


def chances(parameters, x):
    """Softmax in float64, rows are samples."""
    weights = parameters[: CLASSES * FEATURES].reshape(CLASSES, FEATURES)
    scores = x @ weights.T + parameters[CLASSES * FEATURES :]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def plainly_trained(parameters, client, how, regularisation):
    """SGD as the textbook writes it, in float64; returns the update and the mean loss."""
    start = parameters.astype(np.float64)
    now = start.copy()
    features, labels = DATA.of(client)
    drawn = batch_indices(
        how.seed, how.round_number, client, how.local_iterations, how.batch_size, len(labels)
    )
    losses = []
    for rows in drawn:
        x, y = features[rows].astype(np.float64), labels[rows]
        p = chances(now, x)
        losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        p[np.arange(len(y)), y] -= 1
        gradient = np.concatenate([(p.T @ x).ravel(), p.sum(axis=0)]) / len(y)
        gradient += regularisation * now + how.proximal * (now - start)
        now = now - how.learning_rate * gradient
    return now - start, float(np.mean(losses))


@pytest.mark.parametrize("regularisation", [0.0, 0.1])
@pytest.mark.parametrize("proximal", [0.0, 0.5])
def test_local_training_is_plain_sgd_on_the_clients_batches(regularisation, proximal):
    learner = LogisticLearner(DATA, regularisation)
    how = training(proximal=proximal)
    updates, losses = learner.train(some_parameters(), np.array([0, 3]), how)
    for place, client in enumerate((0, 3)):
        update, loss = plainly_trained(some_parameters(), client, how, regularisation)
        np.testing.assert_allclose(updates[place], update, rtol=2e-4, atol=2e-6)
        assert losses[place] == pytest.approx(loss, rel=1e-5)


def test_local_training_is_what_torch_makes_of_the_same_batches():
    torch = pytest.importorskip("torch")
    how = training(proximal=0.2)
    learner = LogisticLearner(DATA, 0.05)
    updates, _ = learner.train(some_parameters(), np.array([4]), how)
    features, labels = (torch.from_numpy(part.copy()) for part in DATA.of(4))
    start = torch.from_numpy(some_parameters())
    now = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([now], lr=how.learning_rate)
    drawn = batch_indices(1, 2, 4, 7, 4, len(labels))
    for rows in torch.from_numpy(drawn):
        weights = now[: CLASSES * FEATURES].reshape(CLASSES, FEATURES)
        scores = features[rows] @ weights.T + now[CLASSES * FEATURES :]
        loss = torch.nn.functional.cross_entropy(scores, labels[rows])
        loss = loss + 0.05 / 2 * now.square().sum() + 0.2 / 2 * (now - start).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    np.testing.assert_allclose(updates[0], (now - start).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_the_loss_weighs_clients_by_their_samples_and_adds_the_regularisation():
    parameters = some_parameters()
    by_client = []
    for client in range(DATA.clients):
        x, y = DATA.of(client)
        by_client.append(-np.log(chances(parameters, x)[np.arange(len(y)), y]).mean())
    expected = DATA.weights @ by_client + 0.1 / 2 * float(parameters @ parameters)
    assert LogisticLearner(DATA, 0.1).loss(parameters) == pytest.approx(expected, rel=1e-5)


def test_without_training_every_class_is_as_likely():
    learner = LogisticLearner(DATA)
    assert learner.loss(learner.initial(0)) == pytest.approx(math.log(CLASSES))


def test_quality_is_the_share_of_held_out_samples_with_the_right_label_and_nan_scores_nothing():
    parameters = some_parameters()
    said = chances(parameters, DATA.test_features).argmax(axis=1)
    learner = LogisticLearner(DATA)
    assert learner.quality(parameters) == pytest.approx((said == DATA.test_labels).mean())
    assert learner.quality(np.full_like(parameters, np.nan)) == 0


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.sets(st.integers(0, 5), min_size=1), st.integers(1, 9), st.integers(0, 2**60))
def test_a_clients_bits_do_not_depend_on_who_else_is_trained(chosen, iterations, seed):
    learner = LogisticLearner(DATA)
    how = training(local_iterations=iterations, seed=seed)
    clients = np.array(sorted(chosen))
    together, losses = learner.train(some_parameters(), clients, how)
    for place, client in enumerate(clients):
        alone, loss = learner.train(some_parameters(), np.array([client]), how)
        assert alone[0].tobytes() == together[place].tobytes()
        assert loss[0] == losses[place]


def test_a_client_that_does_not_exist_is_refused():
    with pytest.raises(IndexError, match="from 0 to 5"):
        LogisticLearner(DATA).train(some_parameters(), np.array([6]), training())
