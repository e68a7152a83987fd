"""The fit of progress: it finds what made a history, says how sure it is, and else keeps to its prior."""

import math

import numpy as np
import pytest

from gnomon.fleet.ledger import ROUND
from gnomon.fleet.progress import CURVATURE, SAMPLING_POWER, Progress, fit

EQUAL = np.full(100, 0.01)
AVERAGED = 8


def history_of(exponent, sampling, choices, noise=0.0, decline=0.5, seed=0, norm_exponent=None):
    """A ledger's rounds whose loss falls as the model has it, with jumps that average out.

    Norms of updates go as E to `norm_exponent` and fall in the course of training; None for no norms.
    """
    rows = np.zeros(len(choices), dtype=ROUND)
    rows["clients_per_round"], rows["local_iterations"] = np.array(choices).T
    rows["step"] = rows["round"] = np.arange(len(choices))
    x = np.log(rows["local_iterations"] / 10)
    few = sampling * rows["clients_per_round"].astype(float) ** -SAMPLING_POWER
    progress = np.cumsum(np.exp(exponent * x - CURVATURE * x**2) / (1 + few))
    logs = 0.8 - decline * np.log(8 + progress)
    jumps = noise * np.random.default_rng(seed).normal(size=len(choices))
    rows["loss"] = np.exp(logs + np.abs(jumps))
    windows = [logs[max(0, i - AVERAGED + 1) : i + 1].mean() for i in range(len(logs))]
    rows["average_loss"] = np.exp(np.array(windows) + jumps / 3)
    rows["update_norm"] = math.nan
    if norm_exponent is not None:
        scatter = 0.1 * np.random.default_rng(seed + 1).normal(size=len(choices))
        falling = -0.2 * np.log1p(rows["step"])
        rows["update_norm"] = np.exp(norm_exponent * x + falling + scatter)
    return rows


def alternating(rounds, clients=(10,), iterations=(7, 13), every=6):
    return [
        (clients[i // (2 * every) % len(clients)], iterations[i // every % 2])
        for i in range(rounds)
    ]


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.6])
def test_the_exponent_is_found_from_iterations_that_alternate(exponent):
    history = history_of(exponent, 0.8, alternating(90, iterations=(5, 20)))
    found = fit(history, Progress.prior(EQUAL), AVERAGED)
    assert found.exponent == pytest.approx(exponent, abs=0.05)
    assert math.sqrt(found.covariance[0, 0]) < 0.1


def test_what_few_clients_cost_is_found_when_k_changes():
    history = history_of(0.3, 5.0, alternating(96, clients=(2, 20)))
    found = fit(history, Progress.prior(EQUAL), AVERAGED)
    assert found.sampling == pytest.approx(5.0, rel=0.3)


def test_constants_that_nothing_tells_stay_at_the_prior():
    prior = Progress.prior(EQUAL)
    found = fit(history_of(0.6, 5.0, [(10, 10)] * 60), prior, AVERAGED)
    assert found.exponent == pytest.approx(prior.exponent, abs=0.05)
    assert found.covariance[0, 0] == pytest.approx(prior.covariance[0, 0], rel=0.1)


def test_more_noise_leaves_more_doubt():
    quiet, noisy = (
        fit(history_of(0.3, 0.8, alternating(60), noise=noise), Progress.prior(EQUAL), AVERAGED)
        for noise in (0.005, 0.1)
    )
    assert noisy.covariance[0, 0] > quiet.covariance[0, 0]


def test_the_rate_and_the_loss_are_those_of_the_latest_rounds():
    history = history_of(0.3, 0.8, alternating(80))
    found = fit(history, Progress.prior(EQUAL), AVERAGED)
    fell = np.log(history["loss"][-7] / history["loss"][-1]) / 6
    assert found.rate == pytest.approx(fell, rel=0.25)
    assert found.loss == pytest.approx(history["loss"][-1], rel=0.02)


def test_losses_that_were_not_evaluated_are_left_out():
    history = history_of(0.3, 0.8, alternating(90, iterations=(5, 20)))
    whole = fit(history, Progress.prior(EQUAL), AVERAGED)
    gaps = history.copy()
    gaps["loss"][1::2] = gaps["average_loss"][1::2] = math.nan
    assert fit(gaps, Progress.prior(EQUAL), AVERAGED).exponent == pytest.approx(
        whole.exponent, abs=0.1
    )
    gaps["loss"] = gaps["average_loss"] = math.nan
    prior = Progress.prior(EQUAL)
    assert fit(gaps, prior, AVERAGED) is prior


def test_unequal_clients_make_few_of_them_noisier_beforehand():
    unequal = np.random.default_rng(0).lognormal(0, 1.3, 100)
    assert Progress.prior(unequal / unequal.sum()).sampling > 2 * Progress.prior(EQUAL).sampling


def test_rounds_fall_with_more_clients_and_more_iterations_up_to_a_point():
    rounds = Progress.prior(EQUAL).rounds(np.array([[1], [10], [40]]), np.array([1, 10, 100]), 100)
    assert (np.diff(rounds, axis=1) < 0).all()
    assert (rounds[1] < rounds[0]).all()


def test_draws_spread_as_the_covariance_says_and_come_out_the_same_every_time():
    prior = Progress.prior(EQUAL)
    draws = prior.draws(64)
    assert [d.exponent for d in draws] == [d.exponent for d in prior.draws(64)]
    spread = math.sqrt(prior.covariance[0, 0])
    assert np.std([d.exponent for d in draws]) == pytest.approx(spread, rel=0.35)
    assert np.mean([d.exponent for d in draws]) == pytest.approx(prior.exponent, abs=1e-9)


@pytest.mark.parametrize("norm_exponent", [0.1, 0.3, 0.6])
def test_norms_of_updates_tell_the_exponent_long_before_a_noisy_loss_does(norm_exponent):
    told = 1.5 * norm_exponent - 0.15
    choices = alternating(16, every=8)
    by_loss = fit(history_of(told, 0.5, choices, noise=0.1), Progress.prior(EQUAL), AVERAGED)
    history = history_of(told, 0.5, choices, noise=0.1, norm_exponent=norm_exponent)
    by_norms = fit(history, Progress.prior(EQUAL), AVERAGED)
    assert by_norms.exponent == pytest.approx(told, abs=0.15)
    assert by_norms.covariance[0, 0] < 0.4 * by_loss.covariance[0, 0]


def test_norms_at_one_e_tell_nothing():
    plain = history_of(0.3, 0.5, [(10, 10)] * 20)
    with_norms = history_of(0.3, 0.5, [(10, 10)] * 20, norm_exponent=0.9)
    exponents = [
        fit(rows, Progress.prior(EQUAL), AVERAGED).exponent for rows in (plain, with_norms)
    ]
    assert exponents[0] == exponents[1]
