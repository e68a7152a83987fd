"""Logistic regression held against plain float64 gradients and against torch's autograd."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.fleet import softmax_sgd
from gnomon.fleet.learner import LocalTraining, drawn_rows
from gnomon.fleet.logistic import LogisticLearner
from tests.fleet.small_fleet import small_data

DATA = small_data()
CLASSES, FEATURES = 3, 5
STEP = softmax_sgd.Step(0.3, 1.0, 0.0)
needs_the_kernel = pytest.mark.skipif(
    not softmax_sgd.compiled(), reason="installed without the compiled kernel"
)


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
    drawn = drawn_rows(DATA, np.array([client]), how)[0] - DATA.offsets[client]
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


def some_work(clients=3, iterations=4, batch=9, features=37, classes=11, seed=0):
    """Samples, parameters, rows; sizes that fill no register."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((50, features)).astype(np.float32)
    labels = generator.integers(0, classes, 50)
    parameters = generator.standard_normal(classes * (features + 1)).astype(np.float32)
    rows = generator.integers(0, 50, (clients, iterations, batch))
    return softmax_sgd.samples_of(x, labels, classes), parameters, rows


def trained(how, samples, parameters, rows, step=STEP, **options):
    updates = np.full((len(rows), len(parameters)), np.nan, dtype=np.float32)
    chances = np.full(rows.shape, np.nan, dtype=np.float32)
    how(samples, parameters, rows, step, updates, chances, **options)
    return updates, chances


def in_numpy(samples, parameters, rows, step=STEP):
    plain = replace(samples, features=samples.features[:, : samples.width])
    return trained(softmax_sgd.train_numpy, plain, parameters, rows, step)


@needs_the_kernel
@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 35),
    st.integers(1, 70),
    st.integers(1, 12),
    st.sampled_from([STEP, replace(STEP, keep=0.9, pull=0.05), replace(STEP, keep=0.97)]),
)
def test_the_compiled_kernel_computes_what_numpy_does(k, e, batch, features, classes, step):
    work = some_work(k, e, batch, features, classes)
    updates, chances = trained(softmax_sgd.train_compiled, *work, step)
    expected, expected_chances = in_numpy(*work, step)
    np.testing.assert_allclose(updates, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(chances, expected_chances, rtol=1e-3, atol=1e-6)


@needs_the_kernel
def test_neither_the_instruction_set_nor_the_threads_change_the_kernels_bits():
    work = some_work(clients=7)
    plain = trained(softmax_sgd.train_compiled, *work, threads=1)
    for isa in softmax_sgd._native.isas():
        for threads in (1, 2, 5, 300):
            other = trained(softmax_sgd.train_compiled, *work, isa=isa, threads=threads)
            assert [part.tobytes() for part in other] == [part.tobytes() for part in plain]


@needs_the_kernel
@pytest.mark.parametrize("scale", [1e3, 1e20, np.inf, np.nan])
def test_a_model_that_runs_away_does_so_in_both(scale):
    samples, parameters, rows = some_work()
    with np.errstate(all="ignore"):
        parameters = parameters * np.float32(scale)
        updates, chances = trained(softmax_sgd.train_compiled, samples, parameters, rows)
        expected, expected_chances = in_numpy(samples, parameters, rows)
    np.testing.assert_array_equal(np.isnan(chances), np.isnan(expected_chances))
    np.testing.assert_array_equal(np.isfinite(updates), np.isfinite(expected))


@needs_the_kernel
def test_a_row_that_does_not_exist_is_refused():
    samples, parameters, rows = some_work()
    rows[1, 2, 3] = 50
    with pytest.raises(IndexError, match="from 0 to 49"):
        trained(softmax_sgd.train_compiled, samples, parameters, rows)


def test_without_the_kernel_numpy_trains(monkeypatch):
    learner = LogisticLearner(DATA, 0.1)
    compiled, losses = learner.train(some_parameters(), np.arange(6), training())
    monkeypatch.setattr(softmax_sgd, "_native", None)
    plain = LogisticLearner(DATA, 0.1)
    assert plain.describe()["local_training"] == "numpy"
    updates, other = plain.train(some_parameters(), np.arange(6), training())
    np.testing.assert_allclose(compiled, updates, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses, other, rtol=1e-5)


def test_local_training_is_what_torch_makes_of_the_same_batches():
    torch = pytest.importorskip("torch")
    how = training(proximal=0.2)
    learner = LogisticLearner(DATA, 0.05)
    updates, _ = learner.train(some_parameters(), np.array([4]), how)
    features, labels = (torch.from_numpy(part.copy()) for part in DATA.of(4))
    start = torch.from_numpy(some_parameters())
    now = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([now], lr=how.learning_rate)
    drawn = drawn_rows(DATA, np.array([4]), how)[0] - DATA.offsets[4]
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
