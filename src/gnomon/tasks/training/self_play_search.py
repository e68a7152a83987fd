"""Tree search guided by a policy and a value, in many positions at once, and games played with it.

The search is that of AlphaZero (Silver et al. 2018, Science 362, supplement): one tree for each game, grown
by one position a simulation in all games together, so that the network always sees a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gnomon.tasks.training.board_game import (
    COLUMNS,
    Bits,
    Positions,
    empty,
    is_full,
    legal,
    play,
)

Floats: TypeAlias = NDArray[np.float32]
Evaluate: TypeAlias = Callable[[Positions], tuple[Floats, Floats]]
"""From positions (n,) to move probabilities (n, COLUMNS), full columns included, and values (n,) for whoever
is to move."""

OPEN, WON, DRAWN = 0, 1, 2


@dataclass(frozen=True)
class SearchSettings:
    """How hard the search looks, and how much games differ.

    Attributes:
        simulations: Positions added to each tree.
        exploration: Weight of the policy against what was found (c_puct).
        noise: Share of the root's policy that is Dirichlet noise.
        concentration: Of that noise.
        opening: Most stones placed at random before a game is played; each game draws how many.
    """

    simulations: int = 16
    exploration: float = 1.5
    noise: float = 0.25
    concentration: float = 1.0
    opening: int = 12


class Experience(NamedTuple):
    """Positions from games, what the search thought of their moves, and how their games ended.

    Attributes:
        positions: (n,).
        policies: Shares of the simulations, float32 (n, COLUMNS).
        outcomes: For whoever was to move: 1 won, 0 drawn, -1 lost, float32 (n,).
    """

    positions: Positions
    policies: Floats
    outcomes: Floats


def play_games(
    games: int, evaluate: Evaluate, settings: SearchSettings, rng: np.random.Generator
) -> Experience:
    """Games of a model against itself, all at once, each move drawn from the search's visits."""
    positions = _openings(games, settings.opening, rng)
    game = np.arange(games)
    played: list[tuple[NDArray[np.int64], Positions, Floats]] = []
    # From the side of whoever moves first after the opening.
    result = np.zeros(games, dtype=np.float32)
    turn = 0
    while len(game):
        visits = search(positions, evaluate, settings, rng)
        policy = visits / visits.sum(axis=1, keepdims=True)
        played.append((game, positions, policy))
        drawn = (policy.cumsum(axis=1) < rng.random((len(game), 1), dtype=np.float32)).sum(axis=1)
        following, won = play(positions, np.minimum(drawn, _last(policy)))
        result[game[won]] = 1 if turn % 2 == 0 else -1
        going_on = ~won & ~is_full(following.stones)
        game, positions = game[going_on], following.at(going_on)
        turn += 1
    outcomes = [
        result[who] if ply % 2 == 0 else -result[who] for ply, (who, _, _) in enumerate(played)
    ]
    own = np.concatenate([where.own for _, where, _ in played])
    stones = np.concatenate([where.stones for _, where, _ in played])
    policies = np.concatenate([policy for _, _, policy in played])
    return Experience(Positions(own, stones), policies, np.concatenate(outcomes))


def _last(policy: Floats) -> NDArray[np.int64]:
    """The last column with any probability: where rounding leaves a draw above the sum."""
    last: NDArray[np.int64] = COLUMNS - 1 - (policy[:, ::-1] > 0).argmax(axis=1)
    return last


def _openings(games: int, most: int, rng: np.random.Generator) -> Positions:
    """Positions after 0 to `most` random stones; a game that such a stone would end stays before it."""
    positions = empty(games)
    length = rng.integers(0, most + 1, games)
    stopped = np.zeros(games, dtype=bool)
    for stone in range(most):
        keys = rng.random((games, COLUMNS))
        keys[~legal(positions.stones)] = -1
        following, won = play(positions, keys.argmax(axis=1))
        stopped |= won | is_full(following.stones) | (stone >= length)
        positions = Positions(
            np.where(stopped, positions.own, following.own),
            np.where(stopped, positions.stones, following.stones),
        )
    return positions


def search(
    roots: Positions, evaluate: Evaluate, settings: SearchSettings, rng: np.random.Generator
) -> Floats:
    """How often each move of each root was tried, float32 (n, COLUMNS)."""
    count = len(roots.own)
    forest = _Forest(count, settings)
    priors, _ = evaluate(roots)
    allowed = legal(roots.stones)
    noise = rng.standard_gamma(settings.concentration, (count, COLUMNS)).astype(np.float32)
    priors = (1 - settings.noise) * _among(priors, allowed) + settings.noise * _among(
        noise, allowed
    )
    forest.add(forest.roots, roots, priors, allowed)
    for simulation in range(1, settings.simulations + 1):
        forest.simulate(simulation, evaluate)
    return forest.visits[forest.roots]


def _among(weights: Floats, allowed: NDArray[np.bool_]) -> Floats:
    kept: Floats = np.where(allowed, weights + np.float32(1e-8), 0)
    kept /= kept.sum(axis=1, keepdims=True)
    return kept


class _Forest:
    """One tree for each game. All its nodes are one axis, game after game; a move is an edge of four a node.

    Attributes:
        roots: The nodes that the trees begin with, (games,).
        visits: Of every edge, float32 (nodes, COLUMNS).
    """

    def __init__(self, games: int, settings: SearchSettings) -> None:
        nodes = games * (settings.simulations + 1)
        self.roots = np.arange(0, nodes, settings.simulations + 1)
        self._weight = np.float32(settings.exploration)
        self.visits = np.zeros((nodes, COLUMNS), np.float32)
        self._worth = np.zeros((nodes, COLUMNS), np.float32)
        self._priors = np.zeros((nodes, COLUMNS), np.float32)
        self._child = np.full(nodes * COLUMNS, -1, np.int64)
        self._ended = np.zeros(nodes, np.int8)
        self._own = np.zeros(nodes, np.int64)
        self._stones = np.zeros(nodes, np.int64)
        # The same memory, edge by edge.
        self._edge_visits, self._edge_worth = self.visits.reshape(-1), self._worth.reshape(-1)

    def add(
        self, nodes: Bits, positions: Positions, priors: Floats, allowed: NDArray[np.bool_]
    ) -> None:
        """Put positions at nodes, with the policy over their legal moves; illegal ones get -inf."""
        self._own[nodes], self._stones[nodes] = positions
        self._priors[nodes] = np.where(allowed, priors, -np.inf)

    def simulate(self, number: int, evaluate: Evaluate) -> None:
        """Walk down every tree to a position that is new or over, and take its value back up.

        Args:
            number: Of the simulation, from 1: the place in its tree of what is added.
            evaluate: The network.
        """
        games, nodes = np.arange(len(self.roots)), self.roots
        value = np.zeros(len(games), np.float32)  # for whoever moved into the last position
        depth = np.zeros(len(games), np.int64)
        path: list[tuple[Bits, Bits]] = []
        new: list[tuple[Bits, Bits]] = []
        while len(games):
            edges = nodes * COLUMNS + self._choose(nodes)
            path.append((games, edges))
            depth[games] += 1
            child = self._child[edges]
            fresh = child < 0
            new.append((games[fresh], edges[fresh]))
            games, nodes = games[~fresh], child[~fresh]
            ended = self._ended[nodes]
            over = ended != OPEN
            if over.any():
                value[games[over]] = ended[over] == WON
                games, nodes = games[~over], nodes[~over]
        games, edges = (np.concatenate(part) for part in zip(*new, strict=True))
        if len(games):
            value[games] = self._grow(self.roots[games] + number, edges, evaluate)
        for level, (games, edges) in enumerate(path):
            # Whoever made the last move made every second one before it.
            mine = (depth[games] - level) % 2 == 1
            self._edge_visits[edges] += 1
            self._edge_worth[edges] += np.where(mine, value[games], -value[games])

    def _choose(self, nodes: Bits) -> Bits:
        visits = self.visits[nodes]
        found = self._worth[nodes] / np.maximum(visits, 1)
        total = self._weight * np.sqrt(visits.sum(axis=1, keepdims=True) + 1)
        hope = self._priors[nodes] * total / (1 + visits)
        chosen: Bits = (found + hope).argmax(axis=1)
        return chosen

    def _grow(self, nodes: Bits, edges: Bits, evaluate: Evaluate) -> Floats:
        """Add nodes for the positions behind these edges; their values for whoever made the move."""
        before, moves = np.divmod(edges, COLUMNS)
        after, won = play(Positions(self._own[before], self._stones[before]), moves)
        self._child[edges] = nodes
        full = is_full(after.stones) & ~won
        self._ended[nodes] = np.where(won, WON, np.where(full, DRAWN, OPEN))
        value = won.astype(np.float32)
        going_on = ~won & ~full
        if going_on.any():
            positions = after.at(going_on)
            priors, values = evaluate(positions)
            allowed = legal(positions.stones)
            self.add(nodes[going_on], positions, _among(priors, allowed), allowed)
            value[going_on] = -values
        return value
