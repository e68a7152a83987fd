"""Synthetic(alpha, beta): what FedProx's description says of it, and the sizes of the paper."""

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.fleet.partition import Partition
from gnomon.tasks.federated.synthetic import FederatedSynthetic, synthetic
from tests.tasks.federated.contract import check


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_clients_have_the_samples_of_the_papers_setup_3(seed):
    sizes = np.bincount(synthetic(1, 1, 100, seed).natural)
    assert sizes.sum() == 24_517
    assert round(sizes.mean()) == 245
    assert round(sizes.std()) == 362
    assert sizes.min() >= 50


@pytest.mark.parametrize("clients", [1, 2, 7, 1000])
def test_any_number_of_clients_is_generated_by_itself(clients):
    data = check(FederatedSynthetic(), clients, Partition("natural"))
    assert data.source.official is False
    assert "generated" in data.source.name
    assert data.features.shape[1] == 60
    assert data.classes == 10


def test_of_each_client_about_a_tenth_is_held_out():
    pool = synthetic(1, 1, 100, 0)
    held_out = len(pool.test_labels) / (len(pool.labels) + len(pool.test_labels))
    assert held_out == pytest.approx(0.1, abs=0.003)


def test_another_seed_is_another_federation_with_another_fingerprint():
    one, other = (synthetic(1, 1, 10, seed) for seed in (1, 2))
    assert one.source.sha256 != other.source.sha256
    assert not np.array_equal(one.features[:50], other.features[:50])


def test_features_vary_around_each_clients_centre_as_the_generator_says():
    pool = synthetic(1, 1, 200, 3)
    groups = [pool.features[pool.natural == client] for client in range(200)]
    within = np.mean([group.var(axis=0, ddof=1) for group in groups], axis=0)
    np.testing.assert_allclose(within, np.arange(1, 61) ** -1.2, rtol=0.08)
    centres = np.array([group.mean(axis=0) for group in groups])
    # v_k has variance 1 around B_k, the mean has 1 / n_k and less of its own.
    assert centres.var(axis=1, ddof=1).mean() == pytest.approx(1, rel=0.05)
    assert centres.mean(axis=1).std() == pytest.approx(1, rel=0.2)


def test_beta_is_how_much_the_centres_of_clients_differ():
    spread = [
        np.std(
            [
                pool.features[pool.natural == client].mean()
                for pool in [synthetic(0, beta, 200, 4)]
                for client in range(200)
            ]
        )
        for beta in (0, 3)
    ]
    assert spread[0] < 0.2
    assert spread[1] == pytest.approx(3, rel=0.2)


def test_labels_are_linear_in_the_features_of_a_client_and_differ_between_clients():
    pool = synthetic(1, 1, 100, 0)
    client = int(np.argmax(np.bincount(pool.natural)))
    mine = pool.natural == client
    features = np.hstack([pool.features[mine], np.ones((mine.sum(), 1))])
    targets = np.eye(10)[pool.labels[mine]]
    fitted = np.linalg.lstsq(features, targets, rcond=None)[0]
    own = ((features @ fitted).argmax(axis=1) == pool.labels[mine]).mean()
    others = np.hstack([pool.features[~mine], np.ones(((~mine).sum(), 1))])
    foreign = ((others @ fitted).argmax(axis=1) == pool.labels[~mine]).mean()
    assert own > 0.8
    assert foreign < 0.4


def test_a_clients_held_out_samples_follow_its_own_model():
    pool = synthetic(1, 1, 1, 5)
    shares = [
        np.bincount(labels, minlength=10) / len(labels)
        for labels in (pool.labels, pool.test_labels)
    ]
    assert np.abs(shares[0] - shares[1]).max() < 0.25
    assert not np.isin(pool.test_features[:, 0], pool.features[:, 0]).any()


def test_other_partitions_deal_the_same_samples_anew():
    natural = check(FederatedSynthetic(), 20)
    anew = check(FederatedSynthetic(), 20, Partition("iid"))
    assert natural.source == anew.source
    np.testing.assert_array_equal(
        np.sort(natural.features, axis=None), np.sort(anew.features, axis=None)
    )
    assert np.ptp(np.diff(anew.offsets)) <= 1


def test_the_task_itself_is_the_held_out_part_of_a_hundred_clients_of_seed_0():
    task = FederatedSynthetic()
    data = task.deal(100, Partition("natural"), 0)
    assert task.source() == data.source
    np.testing.assert_array_equal(task.inputs(np.arange(len(task))), data.test_features)


def test_alpha_and_beta_are_a_subclasss_to_choose():
    class Alike(FederatedSynthetic):
        alpha = beta = 0.0

    data = Alike().deal(10, Partition("natural"), 0)
    assert data.source.name.startswith("Synthetic(0, 0)")
    assert (
        data.source.sha256 != FederatedSynthetic().deal(10, Partition("natural"), 0).source.sha256
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((-1, 1, 5, 0), "zero or more, got -1 and 1"), ((1, 1, 0, 0), "at least one client, got 0")],
)
def test_what_cannot_be_generated_is_refused(arguments, words):
    with pytest.raises(SettingsError, match=words):
        synthetic(*arguments)


def test_data_of_ones_own_is_refused_as_it_would_be_ignored(tmp_path):
    with pytest.raises(SettingsError, match=r"has data of its own: leave out --data"):
        FederatedSynthetic(tmp_path)


def test_scores_of_another_shape_are_refused_with_both_shapes():
    with pytest.raises(DataError, match=r"10 class scores a sample, got outputs of shape \(2, 9\)"):
        FederatedSynthetic().score(np.arange(2), np.zeros((2, 9)))
