"""Optimisers and schedules against PyTorch's plain ones, the formulas of the papers, and what is refused."""

import math

import pytest

from gnomon.core.errors import SettingsError
from gnomon.timetotrain.task import Recipe

torch = pytest.importorskip("torch")

from gnomon.tasks.training.optimizers import learning_rate_factor, make_optimizer  # noqa: E402

RATE = {"opt_base_learning_rate": 0.1}


def recipe(**hyperparameters):
    return Recipe(0, {"global_batch_size": 4, **RATE, **hyperparameters})


def small_model():
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1, bias=False)
    )


def trained(make, count=4):
    """Weights after a few steps."""
    model = small_model()
    optimizer, schedule = make(model)
    inputs = torch.linspace(-1, 1, 20).reshape(4, 5)
    for _ in range(count):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
        if schedule:
            schedule.step()
    return list(model.parameters())


def factors(count=12, **hyperparameters):
    factor = learning_rate_factor(recipe(opt_name="sgd", **hyperparameters))
    return [round(factor(step), 6) for step in range(count)]


@pytest.mark.parametrize(
    ("hyperparameters", "plain"),
    [
        (
            {"opt_name": "sgd", "opt_sgd_momentum": 0.8, "opt_weight_decay": 0.01},
            lambda model: torch.optim.SGD(
                model.parameters(), lr=0.1, momentum=0.8, weight_decay=0.01, foreach=False
            ),
        ),
        (
            {"opt_name": "adam", "opt_adam_beta_1": 0.7, "opt_adam_epsilon": 1e-6},
            lambda model: torch.optim.Adam(
                model.parameters(), lr=0.1, betas=(0.7, 0.999), eps=1e-6, foreach=False
            ),
        ),
        (
            {"opt_name": "adamw", "opt_adamw_beta_2": 0.9, "opt_adamw_weight_decay": 0.1},
            lambda model: torch.optim.AdamW(
                model.parameters(), lr=0.1, betas=(0.9, 0.9), weight_decay=0.1, foreach=False
            ),
        ),
    ],
)
def test_an_optimiser_takes_the_steps_of_the_plain_one(hyperparameters, plain):
    ours = trained(lambda model: make_optimizer(model, recipe(**hyperparameters)))
    theirs = trained(lambda model: (plain(model), None))
    torch.testing.assert_close(ours, theirs)


def test_lars_scales_each_layer_by_the_ratio_of_its_norms():
    model = small_model()
    hyperparameters = recipe(
        opt_name="lars",
        opt_sgd_momentum=0.9,
        opt_weight_decay=0.1,
        lars_trust_coefficient=0.02,
        lars_epsilon=1e-3,
    )
    optimizer, _ = make_optimizer(model, hyperparameters)
    expected = [weight.detach().clone() for weight in model.parameters()]
    momenta = [torch.zeros_like(weight) for weight in expected]
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 5)).square().mean().backward()
        for place, weight in enumerate(model.parameters()):
            gradient, old = weight.grad, expected[place]
            rate = 0.1
            if weight.ndim > 1:
                ratio = gradient.norm() + 0.1 * old.norm() + 1e-3
                rate = 0.1 * 0.02 * old.norm() / ratio
                gradient = gradient + 0.1 * old
            momenta[place] = 0.9 * momenta[place] + rate * gradient
        optimizer.step()
        expected = [old - step for old, step in zip(expected, momenta, strict=True)]
        torch.testing.assert_close([weight.detach() for weight in model.parameters()], expected)


def test_lars_moves_a_layer_that_starts_at_zero():
    layer = torch.nn.Linear(3, 2)
    torch.nn.init.zeros_(layer.weight)
    optimizer, _ = make_optimizer(layer, recipe(opt_name="lars"))
    (layer(torch.ones(1, 3)) - 1).square().sum().backward()
    optimizer.step()
    assert (layer.weight > 0).all()


def test_weight_decay_spares_vectors_where_asked():
    model = small_model()
    optimizer, _ = make_optimizer(
        model, recipe(opt_name="sgd", opt_weight_decay=0.5), decay_vectors=False
    )
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * (0.95 if old.ndim > 1 else 1.0))


def test_a_rate_that_never_changes_has_no_schedule():
    assert make_optimizer(small_model(), recipe(opt_name="sgd"))[1] is None


def test_warm_up_grows_in_equal_steps_to_the_base_rate():
    assert factors(5, opt_learning_rate_warmup_steps=4) == [0.25, 0.5, 0.75, 1, 1]
    assert factors(3, opt_learning_rate_warmup_steps=2, opt_learning_rate_warmup_factor=0.5) == [
        0.75,
        1,
        1,
    ]


def test_decays_are_those_of_their_formulas():
    drops = {"opt_learning_rate_decay_boundary_steps": "2,4", "opt_learning_rate_decay_factor": 0.1}
    assert factors(6, opt_learning_rate_decay_schedule="multistep", **drops) == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    to_end = {"opt_learning_rate_decay_steps": 4, "opt_end_learning_rate": 0.02}
    assert factors(6, opt_learning_rate_decay_schedule="cosine", **to_end) == pytest.approx(
        [0.2 + 0.8 * (1 + math.cos(math.pi * step / 4)) / 2 for step in (0, 1, 2, 3, 4, 4)],
        abs=1e-6,
    )
    assert factors(
        7,
        opt_learning_rate_decay_schedule="polynomial",
        opt_learning_rate_decay_poly_power=2,
        opt_learning_rate_warmup_steps=1,
        **to_end,
    ) == pytest.approx([1, *(0.2 + 0.8 * (1 - step / 4) ** 2 for step in (0, 1, 2, 3, 4, 4))])
    assert factors(
        4,
        opt_learning_rate_decay_schedule="inverse-square-root",
        opt_learning_rate_warmup_steps=2,
    ) == pytest.approx([0.5, 1, math.sqrt(2 / 3), math.sqrt(0.5)], abs=1e-6)


def test_the_schedule_moves_the_rate_of_every_group():
    optimizer, schedule = make_optimizer(
        small_model(),
        recipe(opt_name="sgd", opt_learning_rate_warmup_steps=4, opt_weight_decay=0.1),
        decay_vectors=False,
    )
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.025, 0.025])
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.05])


@pytest.mark.parametrize(
    ("hyperparameters", "complaint"),
    [
        ({}, "opt_name must be adam, adamw, lars, sgd"),
        ({"opt_name": "rmsprop"}, "got 'rmsprop'"),
        ({"opt_name": "sgd", "opt_base_learning_rate": -1}, "must be above 0"),
        ({"opt_name": "sgd", "opt_base_learning_rate": float("nan")}, "must be above 0"),
        ({"opt_name": "sgd", "opt_base_learning_rate": "fast"}, "must be a number"),
        ({"opt_name": "sgd", "opt_sgd_momentum": 1}, "below 1"),
        ({"opt_name": "sgd", "opt_sgd_momentun": 0.9}, "did you mean opt_sgd_momentum"),
        ({"opt_name": "adam", "opt_sgd_momentum": 0.9}, "read by neither adam"),
        ({"opt_name": "sgd", "opt_learning_rate_decay_schedule": "linear"}, "got 'linear'"),
        ({"opt_name": "sgd", "opt_learning_rate_decay_schedule": "cosine"}, "decay_steps"),
        (
            {
                "opt_name": "sgd",
                "opt_learning_rate_decay_schedule": "multistep",
                "opt_learning_rate_decay_factor": 0.1,
                "opt_learning_rate_decay_boundary_steps": "30,10",
            },
            "growing numbers of steps",
        ),
    ],
)
def test_a_wrong_hyperparameter_is_named(hyperparameters, complaint):
    with pytest.raises(SettingsError, match=complaint):
        make_optimizer(small_model(), recipe(**hyperparameters))


def test_a_missing_rate_is_named():
    with pytest.raises(SettingsError, match="opt_base_learning_rate must be a number"):
        make_optimizer(small_model(), Recipe(0, {"opt_name": "sgd"}))
