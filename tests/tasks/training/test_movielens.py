"""MovieLens' files, read in the formats that GroupLens publishes."""

import zipfile

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.training import movielens
from gnomon.tasks.training.movielens import (
    Ratings,
    TrainingMovieLens,
    interactions_of,
    read_ratings,
)
from gnomon.timetotrain.task import Recipe

HEADER = "userId,movieId,rating,timestamp"


def some_ratings(users=6, movies=1200, each=22, seed=0):
    """Ratings of users numbered from 10 in steps of 3, of movies numbered in steps of 2."""
    rng = np.random.default_rng(seed)
    rows = [
        (10 + 3 * user, 1 + 2 * movie, time)
        for user in range(users)
        for movie, time in zip(
            rng.permutation(movies)[:each], rng.permutation(each) + 978_300_000, strict=True
        )
    ]
    return [rows[place] for place in rng.permutation(len(rows))]


def csv(rows):
    lines = [HEADER, *(f"{user},{movie},3.5,{time}" for user, movie, time in rows)]
    return "\n".join(lines).encode() + b"\n"


def dat(rows):
    return "".join(f"{user}::{movie}::4::{time}\n" for user, movie, time in rows).encode()


def as_ratings(rows):
    return Ratings(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("write", [csv, dat])
def test_both_formats_give_the_same_ratings(write):
    rows = some_ratings()
    for read, column in zip(read_ratings(write(rows)), zip(*rows, strict=True), strict=True):
        assert read.tolist() == list(column)


def test_the_latest_rating_of_each_user_is_held_out_and_the_others_trained_on():
    rows = some_ratings()
    data = interactions_of(as_ratings(rows), others=50)
    users = sorted({user for user, _, _ in rows})
    movies = sorted({movie for _, movie, _ in rows})
    assert (data.users, data.items) == (len(users), len(movies))
    for number, user in enumerate(users):
        mine = sorted((time, movie) for who, movie, time in rows if who == user)
        held_out = data.candidates[number, data.held_out[number]]
        assert movies[held_out] == mine[-1][1]
        trained = data.pairs[data.pairs[:, 0] == number, 1]
        assert {movies[item] for item in trained} == {movie for _, movie in mine[:-1]}
        assert len(set(data.candidates[number].tolist()) - set(trained.tolist())) == 51


def test_candidates_are_all_there_is_where_just_enough_are_left():
    rows = [(1, movie, movie) for movie in range(20)] + [(2, movie, 7) for movie in range(10, 40)]
    data = interactions_of(as_ratings(rows), others=10)
    assert data.candidates[1].tolist() == [*range(10), 39]


def test_users_of_fewer_than_twenty_ratings_are_left_out_with_movies_that_only_they_rated():
    rows = some_ratings() + [(1, 5001 + movie, 978_300_000 + movie) for movie in range(19)]
    assert interactions_of(as_ratings(rows), 50).users == 6
    assert (
        interactions_of(as_ratings(rows), 50).sha256
        == interactions_of(as_ratings(some_ratings()), 50).sha256
    )


@pytest.fixture
def few_others(monkeypatch):
    """So few candidates that a few movies are enough."""
    monkeypatch.setattr(movielens, "OTHERS", 30)


def test_an_archive_a_folder_and_a_file_are_the_same_data(tmp_path, few_others):
    text = csv(some_ratings())
    (tmp_path / "ratings.csv").write_bytes(text)
    with zipfile.ZipFile(tmp_path / "ml-20m.zip", "w") as archive:
        archive.writestr("ml-20m/README.txt", "nothing")
        archive.writestr("ml-20m/ratings.csv", text)
    places = (tmp_path, tmp_path / "ratings.csv", tmp_path / "ml-20m.zip")
    tasks = [TrainingMovieLens(path) for path in places]
    assert len({task.source().sha256 for task in tasks}) == 1
    assert not any(task.source().official for task in tasks)
    assert tasks[0].training_size == 5 * 6 * 21
    assert tasks[0].inputs(np.array([2, 0])).shape == (2, 32)


def test_the_archive_as_published_is_official(tmp_path, few_others, monkeypatch):
    with zipfile.ZipFile(tmp_path / "ml-20m.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("ml-20m/ratings.csv"), csv(some_ratings()))
    import hashlib

    digest = hashlib.md5((tmp_path / "ml-20m.zip").read_bytes(), usedforsecurity=False)
    monkeypatch.setattr(movielens, "ML_20M_ZIP_MD5", digest.hexdigest())
    source = TrainingMovieLens(tmp_path / "ml-20m.zip").source()
    assert (source.name, source.official) == ("MovieLens 20M", True)


def test_the_fields_model_takes_a_step_on_the_users_data(tmp_path, few_others):
    torch = pytest.importorskip("torch")
    (tmp_path / "ratings.dat").write_bytes(dat(some_ratings()))
    task = TrainingMovieLens(tmp_path)
    recipe = Recipe(
        1, {"global_batch_size": 100, "opt_name": "adam", "opt_base_learning_rate": 0.001}
    )
    learner = task.learner(recipe)
    learner.load_data()
    batches = list(learner.batches(1))
    assert len(batches) == 6
    loss = learner.loss(learner.model, batches[0])
    loss.backward()
    learner.optimizer.step()
    assert learner.model.layers[0].weight.shape == (256, 256)
    with torch.inference_mode():
        assert 0 <= task.score(task.held_out, learner.answers(task.held_out)) <= 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (HEADER.encode() + b"\n", "only its header"),
        (b"user,movie\n1,2\n", "line 1 must be userId"),
        (HEADER.encode() + b"\n1,2,3.5,4\n1,x,3.5,4\n", "no rating.*'x'"),
        (HEADER.encode() + b"\n1,2,3.5,4\n1,2,3", "no rating"),
        (HEADER.encode() + b"\n-1,2,3.5,4\n", "no user has 20 ratings"),
        (csv(some_ratings(each=19)), "no user has 20 ratings"),
        (csv(some_ratings(users=1) * 2), "user 10 rated movie .* twice"),
        (csv(some_ratings(users=1)), "leaves not 999 others"),
    ],
)
def test_a_file_that_is_not_whole_is_told_with_its_name(tmp_path, text, words):
    (tmp_path / "ratings.csv").write_bytes(text)
    with pytest.raises(DataError, match=f"(?s)ratings.csv.*{words}"):
        len(TrainingMovieLens(tmp_path))


def test_a_missing_file_is_told_with_what_to_give(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(DataError, match=r"give ml-20m\.zip"):
            len(TrainingMovieLens(path))
