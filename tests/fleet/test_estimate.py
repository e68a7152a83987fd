"""Constants of the bound from sampled runs: exact without noise, honest with it, or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.fleet.estimate import METHODS, SampledRun, estimate
from gnomon.fleet.rounds import Bound, ThreeParameter, sampling_spread

CLIENTS = 100
PAIRS = [(1, 10), (5, 10), (10, 20), (20, 20), (40, 50)]
"""(E, K), as in the study that compared the methods."""


def runs_of(model, pairs=PAIRS, noise=0.0, seed=0, clients=CLIENTS):
    generator = np.random.default_rng(seed)
    return [
        SampledRun(e, k, float(model.rounds(e, k, clients)) * np.exp(noise * generator.normal()))
        for e, k in pairs
    ]


@settings(max_examples=40, deadline=None)
@given(ratio=st.floats(1, 1e4), scale=st.floats(1e-3, 1e3), method=st.sampled_from([*METHODS]))
def test_every_method_finds_the_ratio_of_runs_without_noise(ratio, scale, method):
    found = estimate(runs_of(Bound(ratio * scale, scale)), CLIENTS, method)
    assert found.ratio == pytest.approx(ratio, rel=1e-6)


def test_three_parameters_are_told_apart():
    found = estimate(runs_of(ThreeParameter(50.0, 2.0, 6.0)), CLIENTS, "three-parameter")
    assert isinstance(found.model, ThreeParameter)
    assert found.model.a0 / found.model.b0 == pytest.approx(25)
    assert found.model.c0 / found.model.b0 == pytest.approx(3)


def test_least_squares_is_steadier_than_the_pairwise_mean():
    pairwise, squares = (
        [estimate(runs_of(Bound(500, 1), noise=0.1, seed=s), CLIENTS, m).ratio for s in range(60)]
        for m in ("pairwise", "least-squares")
    )
    assert np.std(np.log(squares)) < 0.5 * np.std(np.log(np.maximum(pairwise, 1.0)))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(80):
        found = estimate(runs_of(Bound(500, 1), noise=0.1, seed=seed), CLIENTS)
        low, high = found.ratio_interval
        held += low <= 500 <= high
    assert 0.72 <= held / 80 <= 1.0  # noise itself is estimated from three runs to spare


def test_noise_is_measured_where_runs_are_to_spare_and_assumed_where_not():
    assert not estimate(runs_of(Bound(500, 1), PAIRS[1:3]), CLIENTS).noise_measured
    noisy = [estimate(runs_of(Bound(500, 1), noise=0.2, seed=s), CLIENTS).noise for s in range(40)]
    assert np.median(noisy) == pytest.approx(0.2, rel=0.35)


def test_the_same_runs_give_the_same_interval():
    runs = runs_of(Bound(500, 1), noise=0.1)
    assert estimate(runs, CLIENTS).ratio_interval == estimate(runs, CLIENTS).ratio_interval


def test_too_few_runs_are_refused_with_what_to_sample_next():
    with pytest.raises(
        SettingsError, match="needs 2 sampled runs or more, got 1: sample a run with E=40"
    ):
        estimate([SampledRun(10, 10, 20.0)], CLIENTS)


def test_runs_that_differ_too_little_are_refused_with_what_to_sample_next():
    runs = [SampledRun(10, 10, 20.0), SampledRun(10, 12, 19.0)]
    with pytest.raises(
        SettingsError, match=r"A0 and B0 cannot be told apart.*sample a run with E=40"
    ):
        estimate(runs, CLIENTS)


def test_runs_of_one_k_cannot_tell_what_sampling_costs():
    runs = [SampledRun(e, 10, 20.0) for e in (5, 10, 40)]
    with pytest.raises(SettingsError, match="C0 cannot be told from B0"):
        estimate(runs, CLIENTS, "three-parameter")


@pytest.mark.parametrize("rounds", [0.0, -1.0, float("nan"), float("inf")])
def test_runs_without_a_positive_number_of_rounds_are_refused(rounds):
    with pytest.raises(SettingsError, match="positive number of rounds"):
        estimate([SampledRun(1, 10, rounds), SampledRun(10, 10, 5.0)], CLIENTS)


def test_drift_that_was_not_seen_is_said():
    runs = [SampledRun(e, 10, 1000.0 / e) for e in (1, 5, 10)]
    found = estimate(runs, CLIENTS)
    assert found.ratio == float("inf") or found.ratio > 1e6
    if found.ratio == float("inf"):
        assert "no drift" in found.warning
    falling = [SampledRun(e, 10, 2000.0 / e**1.2) for e in (1, 5, 10)]
    assert "no drift of local models was visible up to E=10" in estimate(falling, CLIENTS).warning


def test_with_replacement_the_model_says_so():
    found = estimate(runs_of(Bound(50, 1)), CLIENTS, with_replacement=True)
    assert isinstance(found.model, Bound)
    assert found.model.with_replacement


def test_one_client_has_no_spread():
    assert float(sampling_spread(1, 1)) == 0
    runs = [SampledRun(1, 1, 50.0), SampledRun(10, 1, 15.0)]
    assert np.isfinite(estimate(runs, 1).ratio)
