"""Connect Four on 4x4: rules against a board of lists, the solution against a search without any tricks."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.tasks.training.board_game import (
    COLUMNS,
    ROWS,
    Positions,
    empty,
    is_full,
    legal,
    planes,
    play,
    solve,
)

LINES = [
    [(row + step * down, column + step * across) for step in range(4)]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1))
    for row in range(ROWS)
    for column in range(COLUMNS)
    if 0 <= row + 3 * down < ROWS and 0 <= column + 3 * across < COLUMNS
]


@pytest.fixture(scope="module")
def solution():
    return solve()


def place(board, column, player):
    """A board (a tuple of columns, each a string of marks) with one stone more, and whether it wins."""
    filled = [*board]
    filled[column] += player
    at = {
        (row, where): mark for where, stack in enumerate(filled) for row, mark in enumerate(stack)
    }
    return tuple(filled), any(all(at.get(square) == player for square in line) for line in LINES)


@given(st.lists(st.integers(0, COLUMNS - 1), max_size=40))
def test_moves_are_those_of_a_board_of_lists(columns):
    board, positions, player = ("",) * COLUMNS, empty(1), "x"
    for column in columns:
        if len(board[column]) == ROWS:
            continue
        board, board_won = place(board, column, player)
        positions, won = play(positions, np.array([column]))
        player = "o" if player == "x" else "x"
        assert won[0] == board_won
        assert legal(positions.stones)[0].tolist() == [len(stack) < ROWS for stack in board]
        assert is_full(positions.stones)[0] == all(len(stack) == ROWS for stack in board)
        mine, others = planes(positions)[0].reshape(2, ROWS, COLUMNS)
        for row in range(ROWS):
            for where in range(COLUMNS):
                mark = board[where][row : row + 1]
                assert mine[row, where] == (mark == player)
                assert others[row, where] == (mark not in ("", player))
        if board_won:
            break


def test_there_are_as_many_positions_as_others_have_counted(solution):
    """161,029 on 4x4, those that are over included: J. Tromp."""
    row, column = np.nonzero(legal(solution.positions.stones))
    following, won = play(solution.positions.at(row), column)
    over = won | is_full(following.stones)
    ended = np.unique(np.stack([following.own[over], following.stones[over]]), axis=1).shape[1]
    assert len(solution.values) + ended == 161_029


def test_the_game_is_a_draw_whatever_the_first_move(solution):
    assert solution.values[0] == 0
    assert solution.best[0].all()


def test_values_and_best_moves_are_those_of_a_plain_search(solution):
    @cache
    def value(board, player):
        worths = moves(board, player).values()
        return max(worths, default=0)

    def moves(board, player):
        worth = {}
        for column in range(COLUMNS):
            if len(board[column]) < ROWS:
                after, won = place(board, column, player)
                other = "o" if player == "x" else "x"
                worth[column] = 1 if won else -value(after, other)
        return worth

    stones = np.vectorize(int.bit_count)(solution.positions.stones.astype(object))
    for number in np.random.default_rng(0).choice(np.flatnonzero(stones >= 9), 300, replace=False):
        own, seen = solution.positions.own[number], solution.positions.stones[number]
        board = as_board(int(own), int(seen))
        worth = moves(board, "x")
        best = max(worth.values())
        assert solution.values[number] == best
        assert np.flatnonzero(solution.best[number]).tolist() == [
            column for column, one in worth.items() if one == best
        ]


def as_board(own, stones):
    """Columns from below; x is to move."""
    seen = planes(Positions(np.array([own]), np.array([stones])))[0].reshape(2, ROWS, COLUMNS)
    marks = np.where(seen[0] > 0, "x", np.where(seen[1] > 0, "o", ""))
    return tuple("".join(marks[:, column]) for column in range(COLUMNS))
