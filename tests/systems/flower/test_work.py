from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.systems.flower.work import Work, stored
from tests.systems.flower.federations import learner

MAKER = "tests.systems.flower.federations:learner"


def test_a_recipe_makes_the_same_learner_everywhere_and_once_in_a_process():
    work = Work.of(MAKER, {"clients": 3})
    made = work.learner()
    assert np.array_equal(made.data.features, learner(3).data.features)
    assert Work(MAKER, work.arguments).learner() is made


def test_a_recipe_is_the_same_text_whatever_the_order_of_its_arguments():
    assert Work.of("a:b", {"x": 1, "y": 2}) == Work.of("a:b", {"y": 2, "x": 1})


def test_a_stored_learner_comes_back_with_its_data(tmp_path):
    work = stored(learner(3), tmp_path)
    assert np.array_equal(work.learner().data.labels, learner(3).data.labels)


def test_a_stored_learner_that_was_changed_is_refused(tmp_path):
    work = stored(learner(2), tmp_path)
    Path(json.loads(work.arguments)["path"]).write_bytes(b"something else")
    with pytest.raises(DataError, match="not the learner that was stored"):
        work.learner()


def test_a_stored_learner_that_is_gone_is_one_line(tmp_path):
    work = stored(learner(2), tmp_path)
    Path(json.loads(work.arguments)["path"]).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        work.learner()


def test_a_learner_that_cannot_be_stored_asks_for_a_recipe(tmp_path):
    class Local:
        pass

    with pytest.raises(SettingsError, match="give its recipe"):
        stored(Local(), tmp_path)


@pytest.mark.parametrize("maker", ["no_such_package:learner", f"{__name__}:no_such", "nothing"])
def test_a_recipe_that_cannot_be_followed_here_says_so(maker):
    with pytest.raises(SettingsError, match="that can be imported here"):
        Work.of(maker, {}).learner()
