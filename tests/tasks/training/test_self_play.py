"""Self-play: the problems and their score, the search, and that two processes compute what one does."""

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.tasks.training.board_game import COLUMNS, Positions, empty, legal, solve
from gnomon.tasks.training.self_play import TrainingSelfPlay
from gnomon.tasks.training.self_play_search import SearchSettings, play_games, search
from gnomon.timetotrain.task import Recipe

torch = pytest.importorskip("torch")

TASK = TrainingSelfPlay()
HYPERPARAMETERS = {"global_batch_size": 128, "opt_name": "adam", "opt_base_learning_rate": 0.004}
EASY = SearchSettings(simulations=6)


def no_idea(positions):
    """A model that finds all moves equal and every position even."""
    count = len(positions.own)
    return np.full((count, COLUMNS), 1 / COLUMNS, np.float32), np.zeros(count, np.float32)


def learner(seed=1, rank=0, world_size=1, **others):
    return TASK.learner(Recipe(seed, HYPERPARAMETERS | others, rank=rank, world_size=world_size))


@pytest.fixture
def few_games(monkeypatch):
    from gnomon.tasks.training import self_play_learner

    monkeypatch.setattr(self_play_learner, "GAMES", 16)


def test_in_every_problem_some_legal_move_is_wrong_and_some_is_best():
    positions, best = TASK.problems
    allowed = legal(positions.stones)
    assert len(best) == len(TASK) == 4000
    assert best.any(axis=1).all()
    assert not (best & ~allowed).any()
    assert (allowed & ~best).any(axis=1).all()
    assert len(np.unique(positions.stones << 20 | positions.own)) == 4000


def test_the_problems_are_those_that_the_reference_points_were_measured_on():
    assert TASK.source().sha256.startswith("df45e562f3c1f0068426")


def test_a_random_legal_move_is_right_in_44_percent():
    positions, best = TASK.problems
    rate = best.sum(axis=1) / legal(positions.stones).sum(axis=1)
    assert rate.mean() == pytest.approx(0.44, abs=0.005)


def test_the_score_is_the_share_of_best_moves_by_a_plain_loop():
    samples = np.random.default_rng(0).permutation(4000)[:200]
    answers = np.random.default_rng(1).integers(0, COLUMNS, 200).astype(np.int8)
    best = TASK.problems.best
    right = [bool(best[sample, move]) for sample, move in zip(samples, answers, strict=True)]
    assert TASK.score(samples, answers) == sum(right) / 200
    decoded = [TASK.decode(TASK.encode(move)) for move in answers]
    assert TASK.score(samples, decoded) == sum(right) / 200


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (np.array([0, 4]), "sample 9 .*column 4"),
        (np.array([-1, 0]), "sample 3 .*column -1"),
        (np.array([0.0, 1.0]), "float64"),
        (np.array([0]), "2 positions"),
    ],
)
def test_answers_that_are_no_columns_are_refused(answers, words):
    with pytest.raises(DataError, match=words):
        TASK.score(np.array([3, 9]), answers)


def test_a_search_without_any_knowledge_finds_most_best_moves():
    positions, best = TASK.problems
    some = np.arange(300)
    settings = SearchSettings(simulations=200, noise=0.0)
    visits = search(positions.at(some), no_idea, settings, np.random.default_rng(0))
    assert visits.sum(axis=1).tolist() == [200] * 300
    assert not visits[~legal(positions.stones[some])].any()
    assert best[some, visits.argmax(axis=1)].mean() > 0.85


def test_a_search_of_one_position_is_the_same_alone_and_among_others():
    settings = SearchSettings(simulations=30, noise=0.0)
    positions = TASK.problems.positions
    together = search(positions.at(np.arange(20)), no_idea, settings, np.random.default_rng(0))
    for number in (0, 7, 19):
        alone = positions.at(np.array([number]))
        np.testing.assert_array_equal(
            search(alone, no_idea, settings, np.random.default_rng(0))[0], together[number]
        )


def test_games_end_as_the_rules_say():
    """Every position is reachable and not over; a player's outcomes in a game are opposite to the other's."""
    played = play_games(200, no_idea, EASY, np.random.default_rng(0))
    solution = solve()
    known = set(zip(*(part.tolist() for part in solution.positions), strict=True))
    assert set(zip(*(part.tolist() for part in played.positions), strict=True)) <= known
    np.testing.assert_allclose(played.policies.sum(axis=1), 1, rtol=1e-5)
    assert set(np.unique(played.outcomes)) == {-1.0, 0.0, 1.0}
    # One stone before the end of a full board, the only move decides.
    last = np.vectorize(int.bit_count)(played.positions.stones.astype(object)) == 15
    places = zip(*(part.tolist() for part in solution.positions), strict=True)
    values = dict(zip(places, solution.values.tolist(), strict=True))
    ending = played.positions.at(last)
    expected = [
        values[position] for position in zip(*(part.tolist() for part in ending), strict=True)
    ]
    assert played.outcomes[last].tolist() == expected


def test_a_model_that_has_diverged_still_plays_by_the_rules_and_ends():
    def diverged(positions):
        policy, values = no_idea(positions)
        return policy * np.nan, values * np.nan

    played = play_games(20, diverged, EASY, np.random.default_rng(0))
    assert not played.policies[~legal(played.positions.stones)].any()
    assert np.isfinite(played.policies).all()


def test_games_from_an_empty_board_begin_there():
    settings = SearchSettings(simulations=2, opening=0)
    played = play_games(3, no_idea, settings, np.random.default_rng(0))
    assert played.positions.stones[:3].tolist() == [0, 0, 0]
    assert isinstance(played.positions, Positions)
    assert empty(3).own.tolist() == [0, 0, 0]


def test_an_iteration_is_a_fixed_number_of_positions_and_follows_from_seed_and_epoch(few_games):
    def first(seed, epoch):
        return torch.cat([part.flatten() for part in next(iter(learner(seed).batches(epoch)))])

    batches = list(learner().batches(1))
    assert len(batches) * 128 == TASK.training_size
    assert torch.equal(first(1, 1), first(1, 1))
    assert not torch.equal(first(1, 1), first(2, 1))
    assert not torch.equal(first(1, 1), first(1, 2))


def test_gradients_of_two_processes_average_to_those_of_one(few_games):
    def gradients(made):
        made.loss(made.model, next(iter(made.batches(1)))).backward()
        return [weight.grad for weight in made.model.parameters()]

    halves = [gradients(learner(rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, left, right in zip(gradients(learner()), *halves, strict=True):
        torch.testing.assert_close((left + right) / 2, whole, rtol=1e-4, atol=1e-7)


def test_a_mirrored_position_keeps_its_policy_on_the_mirrored_columns(few_games):
    made = learner()
    full = []
    for seen, policies, _ in made.batches(1):
        filled = seen.reshape(-1, 2, 4, COLUMNS).sum(dim=(1, 2)) == 4
        full.append(policies[filled])
    assert not torch.cat(full).any()


def test_a_made_up_batch_looks_like_a_real_one(few_games):
    made = learner(world_size=2)
    for invented, real in zip(made.made_up_batch(), next(iter(made.batches(1))), strict=True):
        assert (invented.shape, invented.dtype) == (real.shape, real.dtype)


def test_answers_are_legal_and_get_better_by_self_play(monkeypatch):
    from gnomon.tasks.training import self_play_learner

    monkeypatch.setattr(self_play_learner, "GAMES", 64)
    made, samples = learner(), TASK.held_out
    made.load_data()
    for epoch in (1, 2):
        for batch in made.batches(epoch):
            made.optimizer.zero_grad()
            made.loss(made.model, batch).backward()
            made.optimizer.step()
    with torch.inference_mode():
        answers = made.answers(samples)
        some = made.answers(np.array([5, 2]))
    assert legal(TASK.problems.positions.stones)[samples, answers].all()
    np.testing.assert_array_equal(some, answers[[5, 2]])
    assert TASK.score(samples, answers) > 0.52


@pytest.mark.parametrize("size", [0, 8193, 127])
def test_a_batch_that_no_iteration_has_or_processes_cannot_share_is_refused(size):
    with pytest.raises(SettingsError, match="global_batch_size"):
        learner(global_batch_size=size, world_size=2)
