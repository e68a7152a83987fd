"""Server optimisers held against Flower's strategies, and where those differ from the paper, against it."""

import io
from dataclasses import replace
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.fleet.server_optimizers import (
    KINDS,
    ServerOptimizer,
    initial_state,
    parse_server_optimizer,
    restored_state,
    step,
)

ROUNDS = 6
SIZE = 11


def directions(rounds=ROUNDS, size=SIZE):
    """Of shrinking length, as in training; every third coordinate does not move in every other round."""
    generator = np.random.default_rng(4)
    drawn = generator.normal(size=(rounds, size)) / np.arange(1, rounds + 1)[:, None]
    drawn[::2, ::3] = 0
    return drawn.astype(np.float32)


def start(size=SIZE):
    return np.random.default_rng(5).normal(size=size).astype(np.float32)


def stepped(optimizer, moves=None):
    """Parameters after each round, shape (R, P)."""
    parameters, state = start(), initial_state(optimizer, SIZE)
    course = []
    for move in directions() if moves is None else moves:
        state, parameters = step(optimizer, state, parameters, move)
        course.append(parameters)
    return np.array(course)


def flower(name, **settings):
    """Parameters after each round under one of Flower's strategies, with one client that took the move."""
    app = pytest.importorskip("flwr.app")
    strategy = getattr(pytest.importorskip("flwr.serverapp.strategy"), name)(**settings)
    parameters, course = start(), []
    for number, move in enumerate(directions(), start=1):
        arrays = app.ArrayRecord({"w": app.Array(parameters)})
        # What configure_train does before it looks for clients.
        if name == "FedAvgM":
            strategy.current_arrays = strategy.current_arrays or arrays
        else:
            strategy.current_arrays = {"w": parameters}
        content = app.RecordDict(
            {
                "arrays": app.ArrayRecord({"w": app.Array(parameters + move)}),
                "metrics": app.MetricRecord({"num-examples": 1}),
            }
        )
        reply = SimpleNamespace(content=content, has_error=lambda: False)
        answer, _ = strategy.aggregate_train(number, [reply])
        parameters = answer["w"].numpy().astype(np.float32)
        course.append(parameters)
    return np.array(course)


@pytest.mark.parametrize("name", ["FedAdagrad", "FedYogi"])
def test_adagrad_and_yogi_are_flowers_from_its_initial_variance(name):
    ours = replace(
        parse_server_optimizer(name.removeprefix("Fed").lower()), initial_variance=0.0, tau=0.01
    )
    np.testing.assert_allclose(stepped(ours), flower(name, eta=0.1, tau=0.01), rtol=1e-5, atol=1e-6)


def test_adam_is_flowers_but_for_its_bias_correction():
    theirs = flower("FedAdam", eta=0.1, beta_1=0.9, beta_2=0.99, tau=0.01)
    parameters, course = start(), []
    state = initial_state(ServerOptimizer("adam", initial_variance=0.0), SIZE)
    for number, move in enumerate(directions(), start=1):
        correction = np.sqrt(1 - 0.99 ** (number + 1)) / (1 - 0.9 ** (number + 1))
        optimizer = ServerOptimizer("adam", 0.1 * correction, 0.9, 0.99, 0.01)
        state, parameters = step(optimizer, state, parameters, move)
        course.append(parameters)
    np.testing.assert_allclose(np.array(course), theirs, rtol=1e-5, atol=1e-6)
    plain = stepped(ServerOptimizer("adam", 0.1, 0.9, 0.99, 0.01, initial_variance=0.0))
    assert np.abs(plain - theirs).max() > 0.01


@pytest.mark.parametrize(("rate", "momentum"), [(1.0, 0.9), (0.5, 0.7)])
def test_avgm_is_flowers(rate, momentum):
    ours = stepped(ServerOptimizer("avgm", rate, momentum))
    theirs = flower("FedAvgM", server_learning_rate=rate, server_momentum=momentum)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["adagrad", "adam", "yogi"])
def test_adaptive_steps_are_those_of_the_papers_algorithm_2(kind):
    optimizer = parse_server_optimizer(kind)
    eta, tau, beta2 = 0.1, 1e-3, 0.99
    beta1 = 0.0 if kind == "adagrad" else 0.9
    wanted = []
    weights, momenta, variances = start().tolist(), [0.0] * SIZE, [tau**2] * SIZE
    for move in directions().tolist():
        for place, delta in enumerate(move):
            momenta[place] = beta1 * momenta[place] + (1 - beta1) * delta
            v, square = variances[place], delta**2
            if kind == "adagrad":
                v = v + square
            elif kind == "adam":
                v = beta2 * v + (1 - beta2) * square
            elif v != square:
                v = v - (1 - beta2) * square * (1 if v > square else -1)
            variances[place] = v
            weights[place] += eta * momenta[place] / (v**0.5 + tau)
        wanted.append(list(weights))
    np.testing.assert_allclose(stepped(optimizer), wanted, rtol=1e-5, atol=1e-6)


def test_plain_averaging_adds_the_direction():
    assert np.array_equal(stepped(parse_server_optimizer("avg"))[0], start() + directions()[0])
    half = stepped(parse_server_optimizer("avg:0.5"))[0]
    np.testing.assert_allclose(half, start() + directions()[0] / 2, rtol=1e-6)


def test_avgm_without_momentum_is_avg():
    without = stepped(parse_server_optimizer("avgm:0.5,beta1=0"))
    assert np.array_equal(without, stepped(parse_server_optimizer("avg:0.5")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_state_goes_on_with_the_same_bits(kind):
    optimizer = parse_server_optimizer(kind)
    whole = stepped(optimizer)
    state, parameters = initial_state(optimizer, SIZE), start()
    for move in directions()[:3]:
        state, parameters = step(optimizer, state, parameters, move)
    buffer = io.BytesIO()
    np.savez(buffer, parameters=parameters, **state)
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as stored:
        state, parameters = restored_state(optimizer, SIZE, stored), stored["parameters"]
    for move in directions()[3:]:
        state, parameters = step(optimizer, state, parameters, move)
    assert parameters.tobytes() == whole[-1].tobytes()


def test_a_state_of_another_optimiser_or_model_is_refused():
    state = initial_state(parse_server_optimizer("avgm"), SIZE)
    with pytest.raises(DataError, match="no variance for adam: start the federation anew"):
        restored_state(parse_server_optimizer("adam"), SIZE, state)
    with pytest.raises(DataError, match=r"shape \(11,\), avgm needs float64 of shape \(12,\)"):
        restored_state(parse_server_optimizer("avgm"), 12, state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_leaves_what_it_was_given(kind):
    optimizer = parse_server_optimizer(kind)
    state, parameters, move = initial_state(optimizer, SIZE), start(), directions()[1]
    kept = {name: values.copy() for name, values in state.items()}
    after, moved = step(optimizer, state, parameters, move)
    assert after.keys() == state.keys()
    assert all(np.array_equal(state[name], kept[name]) for name in kept)
    assert np.array_equal(parameters, start())
    assert moved.dtype == np.float32
    assert not np.shares_memory(moved, parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_an_endless_direction_does_not_raise(kind):
    endless = np.full(SIZE, np.inf, dtype=np.float32)
    assert not np.isfinite(stepped(parse_server_optimizer(kind), [endless, endless])).any()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("avg", ServerOptimizer("avg", 1.0)),
        ("avg:0.5", ServerOptimizer("avg", 0.5)),
        ("avgm", ServerOptimizer("avgm", 1.0, beta1=0.9)),
        ("adagrad", ServerOptimizer("adagrad", 0.1, beta1=0.0, tau=1e-3)),
        ("adam:0.01", ServerOptimizer("adam", 0.01, 0.9, 0.99, 1e-3)),
        ("yogi:tau=1e-2,learning_rate=1", ServerOptimizer("yogi", 1.0, 0.9, 0.99, 1e-2)),
        (" yogi:1, beta1=0.5", ServerOptimizer("yogi", 1.0, 0.5, 0.99, 1e-3)),
    ],
)
def test_text_is_read_with_the_papers_settings_where_none_is_named(text, wanted):
    assert parse_server_optimizer(text) == wanted


@given(
    kind=st.sampled_from(KINDS),
    rate=st.floats(1e-9, 1e6),
    beta=st.floats(0, 1, exclude_max=True),
    tau=st.floats(1e-9, 10),
)
@hypothesis.settings(deadline=None, derandomize=True, max_examples=60)
def test_an_optimiser_in_words_is_read_back(kind, rate, beta, tau):
    optimizer = replace(parse_server_optimizer(kind), learning_rate=rate)
    if kind != "avg":
        optimizer = replace(optimizer, beta1=beta)
    if kind in ("adam", "yogi"):
        optimizer = replace(optimizer, tau=tau, initial_variance=beta)
    assert parse_server_optimizer(str(optimizer)) == optimizer


@pytest.mark.parametrize(
    "text",
    [
        *("avg:0", "avg:-1", "avg:nan", "avg:inf", "avg:x", "avgm:beta1=1", "adam:beta2=-0.1"),
        *("adam:tau=0", "yogi:1,1", "yogi:tau=", "yogi:initial_variance=-1", "adam:1,,"),
    ],
)
def test_wrong_settings_are_refused(text):
    with pytest.raises(SettingsError, match="server optimiser"):
        parse_server_optimizer(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("adma", "did you mean 'adam'"),
        ("adam:beta3=1", "did you mean 'beta"),
        ("avg:beta1=0.9", "unknown setting of server optimiser avg 'beta1'"),
    ],
)
def test_unknown_names_are_refused(text, words):
    with pytest.raises(UnknownNameError, match=words):
        parse_server_optimizer(text)
