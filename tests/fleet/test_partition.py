"""Partitions: what is asked for is dealt, every sample once; shares against theory and flwr-datasets."""

import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from gnomon.core.errors import MissingExtraError, SettingsError, UnknownNameError
from gnomon.fleet.label_counts import apportioned
from gnomon.fleet.partition import Partition, Sizes, from_flower, parse_partition, partition_rows

MNIST_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
MNIST_LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), MNIST_COUNTS))
TEXTS = (
    "iid",
    "iid,limit=6000",
    "iid,sizes=normal:0.03",
    "iid,sizes=power-law:2",
    "dirichlet:0.5",
    "dirichlet:0.1,sizes=equal",
    "dirichlet:100,limit=1000,min=5",
    "labels:2",
    "labels:2,limit=6000",
    "labels:2,sizes=normal:0.0335",
    "labels:3,sizes=power-law:1.5,min=3",
    "natural",
    "natural,min=10",
)


def examples(count):
    return hypothesis.settings(deadline=None, derandomize=True, max_examples=count)


def deal(text, labels, clients, seed=0, natural=None):
    return partition_rows(parse_partition(text), labels, clients, seed, natural)


def sizes_of(rows):
    return np.array([len(part) for part in rows])


def label_counts(rows, labels):
    return np.array([np.bincount(labels[part], minlength=10) for part in rows])


def possible(partition, labels, clients, natural):
    if partition.kind == "natural":
        return clients <= (np.bincount(natural) >= partition.least).sum()
    total = partition.limit or len(labels)
    return clients * partition.least <= total <= len(labels)


@pytest.mark.parametrize("text", TEXTS)
def test_a_partition_is_written_as_it_is_read(text):
    assert str(parse_partition(text)) == text


def test_power_law_is_short_for_sizes_of_samples_dealt_at_random():
    assert parse_partition("power-law") == Partition("iid", sizes=Sizes("power-law", 2.0))
    assert str(parse_partition("power-law:1.5,limit=100")) == "iid,sizes=power-law:1.5,limit=100"


@given(
    alpha=st.floats(1e-3, 1e6),
    spread=st.floats(0, 1),
    limit=st.none() | st.integers(1, 10**9),
    least=st.integers(1, 10**6),
)
@examples(200)
def test_any_partition_survives_being_written(alpha, spread, limit, least):
    for sizes in (None, Sizes("equal"), Sizes("normal", spread), Sizes("power-law", spread * 5)):
        partition = Partition("dirichlet", alpha, sizes, limit, least)
        assert parse_partition(str(partition)) == partition


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "unknown partition ''"),
        ("idd", "did you mean 'iid'"),
        ("iid:2", "takes no number"),
        ("dirichlet", r"needs alpha .* \(dirichlet:0.5\)"),
        ("dirichlet:0", "needs alpha"),
        ("dirichlet:nan", "needs a number after the colon, got 'nan'"),
        ("dirichlet:", "needs a number after the colon, got ''"),
        ("labels", r"whole number of labels a client, got None \(labels:2\)"),
        ("labels:2.5", "whole number of labels a client, got 2.5"),
        ("labels:0", "whole number of labels a client"),
        ("labels:2,size=equal", "did you mean 'sizes'"),
        ("labels:2,limit", "must give limit once, as limit=VALUE"),
        ("labels:2,limit=5,limit=6", "must give limit once"),
        ("labels:2,limit=-5", "must be a whole number, got '-5'"),
        ("labels:2,limit=0", "limit of a partition must be 1 or more"),
        ("iid,min=0", "min of a partition must be 1 or more"),
        ("iid,sizes=normal", "needs the standard deviation over the mean"),
        ("iid,sizes=normal:2", "takes a spread from 0 to 1, got 2"),
        ("iid,sizes=equal:1", "takes a spread from 0 to 0, got 1"),
        ("iid,sizes=uniform", "unknown sizes 'uniform'"),
        ("power-law:x", "needs a number after the colon, got 'x'"),
        ("power-law:", "needs a number after the colon"),
        ("power-law,sizes=equal", "gives sizes twice"),
        ("natural,limit=5", "takes neither sizes nor limit"),
        ("natural,sizes=equal", "takes neither sizes nor limit"),
    ],
)
def test_what_is_no_partition_is_refused_in_one_line_with_its_mend(text, words):
    with pytest.raises((SettingsError, UnknownNameError), match=words) as caught:
        parse_partition(text)
    assert "\n" not in str(caught.value)


@given(
    text=st.sampled_from(TEXTS),
    stock=st.lists(st.integers(1, 60), min_size=3, max_size=12),
    clients=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
@examples(250)
def test_no_client_is_empty_and_no_sample_is_dealt_twice(text, stock, clients, seed):
    labels = np.repeat(np.arange(len(stock)) * 3, stock)
    natural = np.arange(len(labels)) % 17
    partition = parse_partition(text)
    if not possible(partition, labels, clients, natural):
        with pytest.raises(SettingsError, match="use"):
            partition_rows(partition, labels, clients, seed, natural)
        return
    rows = partition_rows(partition, labels, clients, seed, natural)
    assert len(rows) == clients
    assert sizes_of(rows).min() >= partition.least
    dealt = np.concatenate(rows)
    assert len(np.unique(dealt)) == len(dealt)
    assert dealt.min() >= 0
    assert dealt.max() < len(labels)
    assert all((np.diff(part) > 0).all() for part in rows)
    if partition.kind in ("iid", "dirichlet"):
        assert len(dealt) == (partition.limit or len(labels))
    if partition.kind == "labels":
        assert max(len(np.unique(labels[part])) for part in rows) <= partition.parameter
    again = partition_rows(partition, labels, clients, seed, natural)
    assert all(np.array_equal(one, other) for one, other in zip(rows, again, strict=True))


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5", "labels:2", "power-law"])
def test_another_seed_deals_otherwise(text):
    one, other = (np.concatenate(deal(text, MNIST_LABELS, 10, seed)) for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_setup_1_of_the_paper_has_20_clients_with_300_samples_of_two_labels():
    rows = deal("labels:2,limit=6000", MNIST_LABELS, 20)
    counts = label_counts(rows, MNIST_LABELS)
    np.testing.assert_array_equal(counts[counts > 0], 150)
    np.testing.assert_array_equal((counts > 0).sum(axis=1), 2)


def test_setup_2_of_the_paper_uses_all_samples_with_sizes_of_mean_600_and_standard_deviation_20():
    deviations = []
    for seed in range(10):
        rows = deal("labels:2,sizes=normal:0.0335", MNIST_LABELS, 100, seed)
        sizes = sizes_of(rows)
        assert sizes.sum() == 60_000
        assert ((label_counts(rows, MNIST_LABELS) > 0).sum(axis=1) == 2).all()
        deviations.append(sizes.std())
    assert np.mean(deviations) == pytest.approx(20.1, rel=0.1)


@pytest.mark.parametrize("seed", range(10))
def test_equal_sizes_and_few_labels_need_no_sample_left_over(seed):
    rows = deal("labels:2", MNIST_LABELS, 100, seed)
    counts = label_counts(rows, MNIST_LABELS)
    np.testing.assert_array_equal(sizes_of(rows), 600)
    assert ((counts > 0).sum(axis=1) == 2).all()
    assert counts[counts > 0].min() > 150  # neither label is there in name only


def test_few_clients_with_few_labels_are_made_smaller_together():
    rows = deal("labels:1", MNIST_LABELS, 10)
    np.testing.assert_array_equal(sizes_of(rows), min(MNIST_COUNTS))


def test_clients_whose_labels_can_never_reach_the_least_are_refused():
    with pytest.raises(
        SettingsError, match=r"labels:1 cannot be dealt to 4 clients from 20 samples"
    ):
        deal("labels:1,min=5", np.repeat(np.arange(5), 4), 4)


def test_a_giant_leaves_something_to_clients_with_the_same_labels():
    for seed in range(20):
        rows = deal("labels:2,sizes=power-law:4", MNIST_LABELS[:300], 60, seed)
        assert sizes_of(rows).min() >= 1


def test_labels_are_shared_by_clients_in_proportion_to_their_samples():
    labels = np.repeat(np.arange(10), [100] * 5 + [300] * 5)
    counts = label_counts(deal("labels:2", labels, 100), labels)
    np.testing.assert_array_equal((counts > 0).sum(axis=0), [10] * 5 + [30] * 5)


def test_dirichlet_shares_have_the_mean_and_variance_of_theory():
    clients, alpha = 20, 0.5
    shares = np.concatenate(
        [
            label_counts(deal(f"dirichlet:{alpha}", MNIST_LABELS, clients, seed), MNIST_LABELS)
            / MNIST_COUNTS
            for seed in range(30)
        ]
    )
    mean = 1 / clients
    variance = mean * (1 - mean) / (alpha * clients + 1)  # of a Beta(alpha, alpha * (clients - 1))
    assert shares.mean() == pytest.approx(mean, rel=1e-12)
    assert shares.var() == pytest.approx(variance, rel=0.06)  # 6,000 shares


def test_dirichlet_mixes_of_equal_clients_have_the_variance_of_theory():
    # Few of the samples are used, so that no label runs out.
    prior, alpha, size = np.array(MNIST_COUNTS) / 60_000, 2.0, 400
    mixes = np.concatenate(
        [
            label_counts(
                deal(f"dirichlet:{alpha},sizes=equal,limit=8000", MNIST_LABELS, 20, seed),
                MNIST_LABELS,
            )
            / size
            for seed in range(30)
        ]
    )
    sampling = 1 + alpha / size  # of the multinomial draw, relative to a Dirichlet's variance
    variance = prior * (1 - prior) / (alpha + 1) * sampling
    np.testing.assert_allclose(mixes.mean(axis=0), prior, atol=0.03)
    assert mixes.var(axis=0).mean() == pytest.approx(variance.mean(), rel=0.1)


def test_a_large_alpha_deals_as_evenly_as_chance_allows():
    counts = label_counts(deal("dirichlet:1000000", MNIST_LABELS, 10), MNIST_LABELS)
    np.testing.assert_allclose(counts / MNIST_COUNTS, 0.1, atol=0.002)


def test_a_small_alpha_leaves_no_client_below_the_least():
    assert sizes_of(deal("dirichlet:0.001,min=10", MNIST_LABELS, 500)).min() == 10


def test_power_law_sizes_have_the_spread_of_their_log_normal():
    logs = np.concatenate(
        [np.log(sizes_of(deal("power-law:1", MNIST_LABELS, 100, seed))) for seed in range(20)]
    )
    assert logs.std() == pytest.approx(1, rel=0.05)
    assert logs.mean() == pytest.approx(np.log(600) - 0.5, abs=0.1)


def test_natural_clients_keep_what_is_theirs():
    natural = np.array([7, 7, 3, 9, 3, 7])
    rows = deal("natural", np.zeros(6, int), 3, natural=natural)
    assert [part.tolist() for part in rows] == [[2, 4], [0, 1, 5], [3]]


def test_fewer_clients_than_natural_ones_are_drawn_by_the_seed():
    natural = np.repeat(np.arange(50), 2)
    draws = [
        {tuple(part) for part in deal("natural", natural, 10, seed, natural)} for seed in (1, 2)
    ]
    assert draws[0] != draws[1]
    assert all(len(draw) == 10 for draw in draws)
    assert all(natural[a] == natural[b] for draw in draws for a, b in draw)


def test_natural_clients_with_too_few_samples_are_left_out():
    natural = np.repeat(np.arange(4), [1, 5, 2, 6])
    rows = deal("natural,min=5", natural, 2, natural=natural)
    assert [natural[part[0]] for part in rows] == [1, 3]


@pytest.mark.parametrize(
    ("text", "clients", "natural", "words"),
    [
        ("iid", 7, None, r"6 samples cannot be dealt to 7 clients, .* use --clients 6 or fewer"),
        ("iid,min=3", 3, None, "at least 3 each: use --clients 2 or fewer"),
        ("iid,limit=4", 5, None, "4 samples cannot be dealt to 5 clients"),
        ("iid,limit=7", 2, None, "limit=7 is more than the 6 samples"),
        ("iid", 0, None, r"at least one client, got 0 \(--clients\)"),
        ("labels:3", 2, None, "labels:3 asks for more labels than the 2 there are"),
        ("natural", 2, None, r"comes with clients of its own.*use iid.*\(--partition\)"),
        (
            "natural",
            4,
            [0, 0, 1, 1, 2, 2],
            "4 clients were asked for, the data has 3 .*--clients 3",
        ),
    ],
)
def test_what_cannot_be_dealt_is_refused_with_its_mend(text, clients, natural, words):
    natural = None if natural is None else np.array(natural)
    with pytest.raises(SettingsError, match=words):
        deal(text, np.array([0, 0, 0, 1, 1, 1]), clients, natural=natural)


@given(
    weights=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40),
    least=st.integers(0, 20),
    room=st.integers(0, 1000),
    share=st.floats(0, 1),
)
@examples(300)
def test_apportioned_numbers_keep_their_sum_their_bounds_and_the_order_of_the_weights(
    weights, least, room, share
):
    weights = np.array(weights)
    total = least * len(weights) + round(share * room * len(weights))
    numbers = apportioned(weights, total, least, least + room)
    assert numbers.sum() == total
    assert numbers.min() >= least
    assert numbers.max() <= least + room
    order = np.argsort(weights, kind="stable")
    assert (np.diff(numbers[order])[np.diff(weights[order]) > 0] >= 0).all()


class EveryOther:
    """A partitioner with the interface of flwr-datasets, as far as it is used."""

    num_partitions = 2
    dataset = None

    def load_partition(self, client):
        return self.dataset[client::2]


def test_without_the_package_a_partitioner_of_flower_is_refused_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="flwr-datasets"):
        from_flower(EveryOther(), MNIST_LABELS)


def flower():
    return pytest.importorskip("flwr_datasets.partitioner")


@pytest.mark.parametrize("clients", [7, 100])
def test_iid_sizes_are_those_of_flower(clients):
    theirs = from_flower(flower().IidPartitioner(clients), MNIST_LABELS[:1000])
    ours = deal("iid", MNIST_LABELS[:1000], clients)
    np.testing.assert_array_equal(sorted(sizes_of(theirs)), sorted(sizes_of(ours)))


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_dirichlet_shares_and_sizes_are_distributed_as_those_of_flower(alpha):
    labels, clients = MNIST_LABELS[:6000], 20
    shares, sizes = ([], []), ([], [])
    for seed in range(10):
        partitioner = flower().DirichletPartitioner(
            num_partitions=clients,
            partition_by="label",
            alpha=alpha,
            min_partition_size=0,
            self_balancing=False,
            seed=seed,
        )
        both = (
            from_flower(partitioner, labels),
            deal(f"dirichlet:{alpha}", labels, clients, seed),
        )
        for place, rows in enumerate(both):
            counts = label_counts(rows, labels)
            shares[place].append(counts / counts.sum(axis=0))
            sizes[place].append(counts.sum(axis=1))
    for theirs, ours in (shares, sizes):
        theirs, ours = np.ravel(theirs), np.ravel(ours)
        assert ks_2samp(theirs, ours).pvalue > 0.01
        assert ours.std() == pytest.approx(theirs.std(), rel=0.15)


def test_clients_have_as_many_labels_as_those_of_flowers_pathological_partitioner():
    labels = MNIST_LABELS[:6000]
    partitioner = flower().PathologicalPartitioner(
        num_partitions=20,
        partition_by="label",
        num_classes_per_partition=2,
        class_assignment_mode="first-deterministic",
    )
    theirs = label_counts(from_flower(partitioner, labels), labels)
    ours = label_counts(deal("labels:2", labels, 20), labels)
    np.testing.assert_array_equal((theirs > 0).sum(axis=1), (ours > 0).sum(axis=1))


def test_natural_clients_are_those_of_flower():
    natural = np.array(["b", "a", "c", "a", "b", "a"])
    partitioner = flower().NaturalIdPartitioner(partition_by="writer")
    theirs = from_flower(partitioner, np.zeros(6, int), {"writer": natural.tolist()})
    ours = deal("natural", np.zeros(6, int), 3, natural=np.unique(natural, return_inverse=True)[1])
    assert {tuple(part) for part in theirs} == {tuple(part) for part in ours}
