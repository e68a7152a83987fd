"""The grouped CNN held against one torch module a client, trained by torch.optim.SGD on the same batches."""

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.core.task import DataSource
from gnomon.fleet.cnn import CnnLearner
from gnomon.fleet.data import FederatedData, dealt
from gnomon.fleet.learner import LocalTraining, drawn_rows

torch = pytest.importorskip("torch")

TRAINING = LocalTraining(
    local_iterations=4, batch_size=6, learning_rate=0.1, proximal=0.0, seed=3, round_number=2
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of torch wait for each other by spinning, which a busy machine pays for dearly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(side=8, sizes=(20, 7, 31, 12, 9, 25, 5, 16), classes=4, shape=None):
    """Bright quarters: the class says which corner of the noisy image is lit."""
    generator = np.random.default_rng(11)
    labels = generator.integers(0, classes, sum(sizes) + 40)
    pixels = generator.uniform(0, 0.4, (len(labels), side, side)).astype(np.float32)
    half = side // 2
    for image, label in zip(pixels, labels, strict=True):
        row, column = divmod(int(label) % 4, 2)
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 0.5
    features = pixels.reshape(len(labels), *(shape or (-1,)))
    ends = np.cumsum((0, *sizes))
    parts = [np.arange(first, last) for first, last in itertools.pairwise(ends)]
    dealt_features, dealt_labels, offsets = dealt(features[: ends[-1]], labels[: ends[-1]], parts)
    return FederatedData(
        features=dealt_features,
        labels=dealt_labels,
        offsets=offsets,
        test_features=features[ends[-1] :],
        test_labels=labels[ends[-1] :],
        classes=classes,
        source=DataSource("lit quarters", official=False, sha256=""),
        partition="in turn",
    )


@pytest.fixture(scope="module")
def data():
    return images()


@pytest.fixture(scope="module")
def learner(data):
    return CnnLearner(data)


def reference_module(side, classes):
    flat = 32 * (side // 4) ** 2
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(flat, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, classes),
    )


def filled(parameters, side, classes):
    module = reference_module(side, classes)
    torch.nn.utils.vector_to_parameters(torch.tensor(parameters), module.parameters())
    return module


def reference_training(data, parameters, client, training, regularisation=0.0):
    """One client by module and optimiser: its update and mean cross-entropy."""
    features, labels = data.of(client)
    side = int(np.sqrt(features[0].size))
    module = filled(parameters, side, data.classes)
    before = [part.detach().clone() for part in module.parameters()]
    optimiser = torch.optim.SGD(
        module.parameters(), lr=training.learning_rate, weight_decay=regularisation
    )
    rows = drawn_rows(data, np.array([client]), training)[0] - data.offsets[client]
    losses = []
    for chosen in rows:
        optimiser.zero_grad()
        batch = torch.tensor(features[chosen]).reshape(-1, 1, side, side)
        loss = torch.nn.functional.cross_entropy(module(batch), torch.tensor(labels[chosen]))
        losses.append(float(loss.detach()))
        away = sum(
            ((part - start) ** 2).sum()
            for part, start in zip(module.parameters(), before, strict=True)
        )
        (loss + training.proximal / 2 * away).backward()
        optimiser.step()
    after = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    return after - parameters, np.mean(losses)


@pytest.mark.parametrize(
    ("side", "regularisation", "proximal"),
    [(8, 0.0, 0.0), (8, 0.02, 0.0), (8, 0.0, 0.5), (28, 0.01, 0.1), (11, 0.0, 0.0)],
)
def test_clients_train_as_modules_of_their_own_would(side, regularisation, proximal):
    data = images(side)
    learner = CnnLearner(data, regularisation)
    parameters = learner.initial(5)
    clients = np.array([1, 2, 6])
    training = replace(TRAINING, proximal=proximal)
    updates, losses = learner.train(parameters, clients, training)
    for row, client in enumerate(clients):
        update, loss = reference_training(data, parameters, client, training, regularisation)
        assert np.abs(update).max() > 1e-3
        np.testing.assert_allclose(updates[row], update, atol=1e-5)
        assert losses[row] == pytest.approx(loss, abs=1e-5)


def test_a_clients_row_does_not_depend_on_the_others(learner):
    parameters = learner.initial(0)
    together, losses = learner.train(parameters, np.array([1, 3, 7]), TRAINING)
    alone, loss = learner.train(parameters, np.array([3]), TRAINING)
    np.testing.assert_allclose(alone[0], together[1], atol=1e-6)
    assert loss[0] == pytest.approx(losses[1], abs=1e-6)
    assert not np.allclose(together[0], together[1])


def test_more_clients_than_go_through_at_once_train_the_same(data):
    learner = CnnLearner(data)
    parameters, clients = learner.initial(0), np.arange(8)
    whole, losses = learner.train(parameters, clients, TRAINING)
    learner._images_at_once = 3 * TRAINING.batch_size
    pieces, piece_losses = learner.train(parameters, clients, TRAINING)
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    np.testing.assert_allclose(piece_losses, losses, atol=1e-6)
    learner._images_at_once = 17
    assert learner.loss(parameters) == pytest.approx(CnnLearner(data).loss(parameters), rel=1e-6)


def test_the_same_call_gives_the_same_bits(learner):
    parameters, clients = learner.initial(0), np.array([4, 0, 2])
    first, first_losses = learner.train(parameters, clients, TRAINING)
    second, second_losses = learner.train(parameters, clients, TRAINING)
    assert first.tobytes() == second.tobytes()
    assert first_losses.tobytes() == second_losses.tobytes()


def test_another_round_or_seed_draws_other_batches(learner):
    parameters, clients = learner.initial(0), np.array([0])
    first, _ = learner.train(parameters, clients, TRAINING)
    for training in (replace(TRAINING, round_number=3), replace(TRAINING, seed=4)):
        assert not np.array_equal(first, learner.train(parameters, clients, training)[0])


def test_training_leaves_parameters_generators_and_threads_alone(learner):
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    parameters = learner.initial(0)
    kept = parameters.copy()
    learner.train(parameters, np.array([0, 1]), TRAINING)
    learner.loss(parameters)
    assert np.array_equal(parameters, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_no_client_and_no_iteration_change_nothing(learner):
    parameters = learner.initial(0)
    updates, losses = learner.train(parameters, np.array([], dtype=np.int64), TRAINING)
    assert updates.shape == (0, learner.size)
    assert losses.shape == (0,)
    updates, _ = learner.train(parameters, np.array([1]), replace(TRAINING, local_iterations=0))
    assert not updates.any()


def test_loss_is_the_mean_cross_entropy_plus_the_penalty(data):
    learner = CnnLearner(data, regularisation=0.1)
    parameters = learner.initial(2)
    module = filled(parameters, 8, data.classes)
    scores = module(torch.tensor(data.features).reshape(-1, 1, 8, 8))
    entropies = torch.nn.functional.cross_entropy(
        scores, torch.tensor(data.labels), reduction="none"
    )
    each = np.split(entropies.detach().numpy(), data.offsets[1:-1])
    wanted = sum(
        share * part.mean() for share, part in zip(data.weights, each, strict=True)
    ) + 0.05 * np.sum(parameters.astype(np.float64) ** 2)
    assert learner.loss(parameters) == pytest.approx(wanted, rel=1e-5)


def test_averaged_rounds_learn_what_can_be_learnt(learner, data):
    parameters = learner.initial(0)
    before = learner.loss(parameters)
    training = replace(TRAINING, local_iterations=10, learning_rate=0.2)
    for number in range(12):
        updates, _ = learner.train(parameters, np.arange(8), replace(training, round_number=number))
        parameters = parameters + data.weights.astype(np.float32) @ updates
    assert learner.loss(parameters) < before / 2
    assert learner.quality(parameters) > 0.9


def test_parameters_that_are_not_numbers_have_no_quality(learner):
    assert learner.quality(np.full(learner.size, np.nan, dtype=np.float32)) == 0


def test_initial_parameters_come_from_the_seed_within_torchs_bounds(learner):
    parameters = learner.initial(1)
    assert np.array_equal(parameters, learner.initial(1))
    assert not np.array_equal(parameters, learner.initial(2))
    module = filled(parameters, 8, 4)
    for layer in (module[0], module[3], module[7], module[9]):
        bound = 1 / np.sqrt(layer.weight[0].numel())
        largest = float(layer.weight.detach().abs().max())
        assert 0.9 * bound < largest <= bound * (1 + 1e-6)


@pytest.mark.parametrize(("side", "size"), [(8, 13_706), (28, 105_866)])
def test_sizes_are_as_documented(side, size):
    learner = CnnLearner(images(side, classes=10))
    assert learner.size == len(learner.initial(0)) == size
    assert learner.describe()["parameters"] == size


def test_images_with_sides_and_flat_ones_are_the_same(data, learner):
    shaped = CnnLearner(images(shape=(8, 8)))
    parameters = learner.initial(0)
    assert shaped.loss(parameters) == learner.loss(parameters)


def test_read_only_data_is_taken(data):
    features = data.features.copy()
    features.flags.writeable = False
    labels = data.labels.copy()
    labels.flags.writeable = False
    learner = CnnLearner(replace(data, features=features, labels=labels))
    assert np.isfinite(learner.loss(learner.initial(0)))


@pytest.mark.parametrize("pixels", [60, 9])
def test_samples_that_are_no_square_images_are_refused(data, pixels):
    narrow = replace(data, features=np.ascontiguousarray(data.features[:, :pixels]))
    with pytest.raises(DataError, match=f"lit quarters has {pixels} features a sample"):
        CnnLearner(narrow)


def test_a_device_that_is_not_there_is_refused(data):
    for device in ("cuda:99", "no such device"):
        with pytest.raises(SettingsError, match="use cpu"):
            CnnLearner(data, device=device)


def test_without_torch_the_extra_is_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"gnomon\[train\]"):
        CnnLearner(data)
