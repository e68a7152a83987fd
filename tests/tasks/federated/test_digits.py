"""The digits that ship, dealt out: the images of the digits task, and no held-out one among them."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gnomon.core.errors import SettingsError
from gnomon.fleet.partition import parse_partition
from gnomon.tasks.digits import TRAINED, Digits
from gnomon.tasks.federated.digits import FederatedDigits
from tests.tasks.federated.contract import check


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_clients_hold_ten_images_each_of_two_digits(seed):
    data = check(FederatedDigits(), 100, seed=seed)
    np.testing.assert_array_equal(np.diff(data.offsets), 10)
    assert all(len(np.unique(data.of(client)[1])) <= 2 for client in range(100))
    assert data.partition == "labels:2"


def test_the_first_thousand_images_are_dealt_once_each_and_the_others_are_held_out():
    data = check(FederatedDigits(), 100)
    source = load_digits()
    images = source.data.astype(np.float32) / 16
    expected = np.hstack([images[:TRAINED], source.target[:TRAINED, None]])
    dealt = np.hstack([data.features, data.labels[:, None]])
    np.testing.assert_array_equal(
        dealt[np.lexsort(dealt.T)], expected[np.lexsort(expected.T)].astype(np.float32)
    )
    np.testing.assert_array_equal(data.test_features, images[TRAINED:])
    np.testing.assert_array_equal(data.test_labels, source.target[TRAINED:])


@pytest.mark.parametrize("partition", ["iid", "dirichlet:0.3", "power-law", "labels:2,limit=400"])
def test_other_partitions_hold_too(partition):
    check(FederatedDigits(), 20, parse_partition(partition))


def test_its_inputs_are_those_of_the_digits_task_flattened():
    every = np.arange(797)
    task = FederatedDigits()
    assert len(task) == 797
    np.testing.assert_array_equal(task.inputs(every), Digits().inputs(every).reshape(797, 64))


def test_its_source_is_not_that_of_the_digits_task_since_it_uses_all_images():
    source = FederatedDigits().source()
    assert source.official is False
    assert source.sha256 != Digits().source().sha256


def test_natural_clients_are_refused_with_what_to_use_instead():
    with pytest.raises(SettingsError, match=r"comes with clients of its own.*labels:2"):
        FederatedDigits().deal(10, parse_partition("natural"), 0)


def test_more_clients_than_images_are_refused_with_how_many_there_can_be():
    with pytest.raises(SettingsError, match="use --clients 1000 or fewer"):
        FederatedDigits().deal(1001, parse_partition("iid"), 0)


def test_data_of_ones_own_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="'federated-digits' has data of its own"):
        FederatedDigits(tmp_path)
