"""Clipping and noise as declared; the privacy spent, against closed forms and Google's tighter accountant."""

import math
import sys

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.fleet.aggregate import parse_aggregation
from gnomon.fleet.privacy import (
    ASSUMPTIONS,
    Privacy,
    central_mean,
    local_update,
    require_accountable,
    spent,
)

CENTRAL = Privacy(clip_norm=0.5, noise_multiplier=1.2)
LOCAL = Privacy(clip_norm=0.5, noise_multiplier=1.2, place="local")
SIZE = 20_000


def updates(count=4, size=SIZE):
    generator = np.random.default_rng(2)
    return generator.normal(size=(count, size)).astype(np.float32)


def test_central_noise_on_the_mean_has_the_declared_deviation():
    noisy = central_mean(CENTRAL, updates(), 8, seed=1, round_number=3)
    quiet = central_mean(Privacy(0.5, 0.0), updates(), 8, seed=1, round_number=3)
    noise = noisy - quiet
    assert noisy.dtype == np.float32
    assert noise.std() == pytest.approx(1.2 * 0.5 / 8, rel=0.02)
    assert abs(noise.mean()) < 4 * noise.std() / math.sqrt(SIZE)


def test_without_noise_it_is_the_sum_of_clipped_updates_over_the_clients_asked():
    rows = updates(3, 4)
    rows[1] *= 0.01
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths[1] < 0.5 < lengths[0]
    wanted = (rows[0] / lengths[0] * 0.5 + rows[1] + rows[2] / lengths[2] * 0.5) / 5
    mean = central_mean(Privacy(0.5, 0.0), rows, 5, seed=0, round_number=0)
    np.testing.assert_allclose(mean, wanted, rtol=1e-5)


def test_no_client_moves_the_sum_by_more_than_the_norm():
    quiet = Privacy(0.5, 0.0)
    rows = updates(3, 50)
    for lie in (1e3, -3e38):
        liar = np.vstack([rows, np.full((1, 50), lie, dtype=np.float32)])
        with_liar = central_mean(quiet, liar, 4, seed=0, round_number=0)
        without = central_mean(quiet, rows, 4, seed=0, round_number=0)
        assert np.linalg.norm(with_liar - without) * 4 <= 0.5 * (1 + 1e-5)


def test_a_round_without_reports_is_noise_alone():
    noise = central_mean(CENTRAL, np.empty((0, SIZE), np.float32), 8, seed=1, round_number=3)
    assert noise.std() == pytest.approx(1.2 * 0.5 / 8, rel=0.02)


def test_local_noise_is_on_each_update():
    row = updates(1)[0]
    noisy = local_update(LOCAL, row, seed=1, round_number=0, client=7)
    clipped = row / np.linalg.norm(row) * 0.5
    assert noisy.dtype == np.float32
    assert (noisy - clipped).std() == pytest.approx(0.6, rel=0.02)


def test_the_server_leaves_locally_noised_updates_as_they_are():
    noisy = np.stack([local_update(LOCAL, row, 1, 0, k) for k, row in enumerate(updates())])
    mean = central_mean(LOCAL, noisy, 4, seed=1, round_number=0)
    np.testing.assert_allclose(mean, noisy.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_noise_is_keyed_by_seed_round_and_client():
    def local(seed, number, client):
        return local_update(LOCAL, np.zeros(8, np.float32), seed, number, client)

    def central(seed, number):
        return central_mean(CENTRAL, np.zeros((1, 8), np.float32), 1, seed, number)

    assert np.array_equal(local(1, 2, 3), local(1, 2, 3))
    assert np.array_equal(central(1, 2), central(1, 2))
    drawn = [local(1, 2, 3), local(1, 2, 0), local(1, 3, 3), local(2, 2, 3)]
    drawn += [central(1, 2), central(1, 3), central(2, 2)]
    assert len({values.tobytes() for values in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("clip_norm", "noise"), [(0.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (1.0, -0.1), (1.0, math.nan)]
)
def test_impossible_settings_are_refused(clip_norm, noise):
    with pytest.raises(SettingsError, match=r"clip_norm must be|noise_multiplier must be"):
        Privacy(clip_norm, noise)


def test_what_the_noise_is_not_made_for_is_refused():
    require_accountable(parse_aggregation("mean"), "uniform")
    for text in ("samples", "unbiased", "median", "krum:1"):
        with pytest.raises(SettingsError, match=f"aggregation {text} is not: use mean"):
            require_accountable(parse_aggregation(text), "uniform")
    with pytest.raises(SettingsError, match="use uniform"):
        require_accountable(parse_aggregation("mean"), "weighted")


def gaussian_epsilon(shift, delta):
    """Of a Gaussian whose mean moves by so many deviations: Balle and Wang (ICML 2018), Theorem 8."""

    def excess(epsilon):
        far = norm.cdf(-shift / 2 - epsilon / shift) * math.exp(epsilon)
        return norm.cdf(shift / 2 - epsilon / shift) - far - delta

    return brentq(excess, 0, 100)


@pytest.mark.parametrize("sampling", ["fixed", "poisson", "none"])
def test_with_everybody_sampled_it_is_the_plain_gaussian(sampling):
    pytest.importorskip("dp_accounting")
    multiplier, rounds = 8.0, 4
    changed = 1 if sampling == "poisson" else 2
    exact = gaussian_epsilon(changed * math.sqrt(rounds) / multiplier, 1e-5)
    figure = spent(multiplier, [10] * rounds, 10, 1e-5, sampling)
    assert exact * 0.999 <= figure.epsilon <= exact * (1.2 if sampling == "fixed" else 1.001)
    assert figure.assumption == ASSUMPTIONS[sampling]


def test_sampling_helps_and_rounds_and_clients_cost():
    pytest.importorskip("dp_accounting")

    def epsilon(multiplier=4.0, sampled=10, rounds=50, sampling="fixed"):
        return spent(multiplier, [sampled] * rounds, 1000, 1e-5, sampling).epsilon

    usual = epsilon()
    assert epsilon(multiplier=8.0) < usual < epsilon(sampled=100)
    assert usual < epsilon(rounds=200)
    assert epsilon(sampling="poisson") < usual < epsilon(sampling="none")


def test_rounds_of_several_sizes_lie_between_those_of_one():
    pytest.importorskip("dp_accounting")
    small, large = (spent(2.0, [size] * 30, 500, 1e-5).epsilon for size in (5, 50))
    mixed = spent(2.0, [5] * 15 + [50] * 15, 500, 1e-5).epsilon
    assert small < mixed < large
    assert mixed == spent(2.0, [50, 5] * 15, 500, 1e-5).epsilon


def test_poisson_figures_are_those_of_privacy_loss_distributions():
    accounting = pytest.importorskip("dp_accounting")
    loss = pytest.importorskip("dp_accounting.pld")
    event = accounting.PoissonSampledDpEvent(0.01, accounting.GaussianDpEvent(1.0))
    tight = loss.PLDAccountant().compose(event, 100).get_epsilon(1e-5)
    assert spent(1.0, [10] * 100, 1000, 1e-5, "poisson").epsilon == pytest.approx(tight)


def test_hardly_any_noise_is_accounted_for_without_delay():
    pytest.importorskip("dp_accounting")
    assert spent(0.01, [10] * 100, 100, 1e-5, "poisson").epsilon > 1000


def test_without_rounds_nothing_is_spent_and_without_noise_everything():
    assert spent(1.0, [], 10, 1e-5).epsilon == 0
    assert spent(0.0, [3], 10, 1e-5).epsilon == math.inf


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1.0, [3], 10, 1e-5), "noise_multiplier must be 0 or more"),
        ((1.0, [3], 10, 0.0), "delta must be between 0 and 1"),
        ((1.0, [3, 11], 10, 1e-5), "clients per round must be from 1 to 10, got 3 to 11"),
        ((1.0, [0], 10, 1e-5), "clients per round must be from 1 to 10"),
    ],
)
def test_impossible_runs_are_refused(arguments, words):
    with pytest.raises(SettingsError, match=words):
        spent(*arguments)


def test_without_the_accountant_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(MissingExtraError, match=r"dp-accounting: pip install 'gnomon\[fed\]'"):
        spent(1.0, [3], 10, 1e-5)
