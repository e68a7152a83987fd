"""LEAF's JSON, small: its users are the clients; malformed files are named with the key."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.fleet.partition import parse_partition
from gnomon.tasks.federated.leaf import FederatedLeaf, read_leaf
from tests.tasks.federated.contract import check

TRAIN = ({"anna": 3, "ben": 2}, {"cleo": 4, "dan": 1, "eve": 0})
TEST = ({"anna": 1, "ben": 2, "cleo": 1},)


def content(users, width=5, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "users": list(users),
        "num_samples": list(users.values()),
        "user_data": {
            user: {
                "x": generator.random((count, width)).tolist(),
                "y": generator.integers(0, 3, count).tolist(),
            }
            for user, count in users.items()
        },
    }


def write(folder, train=TRAIN, test=TEST, width=5):
    contents = {}
    for which, files in (("train", train), ("test", test)):
        (folder / which).mkdir(parents=True)
        for number, users in enumerate(files):
            made = content(users, width, seed=len(which) + number)
            (folder / which / f"all_data_{number}.json").write_text(json.dumps(made))
            contents.update({(which, user): part for user, part in made["user_data"].items()})
    return contents


def test_users_are_the_clients_and_all_test_samples_are_held_out(tmp_path):
    contents = write(tmp_path / "set")
    data = check(FederatedLeaf(tmp_path / "set"), 4)
    assert data.partition == "natural"
    np.testing.assert_array_equal(np.diff(data.offsets), [3, 2, 4, 1])  # eve has none
    for client, user in enumerate(("anna", "ben", "cleo", "dan")):
        features, labels = data.of(client)
        stored = contents["train", user]
        np.testing.assert_array_equal(features, np.array(stored["x"], dtype=np.float32))
        np.testing.assert_array_equal(labels, stored["y"])
    held_out = np.concatenate([contents["test", user]["x"] for user in TEST[0]])
    np.testing.assert_array_equal(data.test_features, held_out.astype(np.float32))


def test_a_user_in_two_files_is_one_client(tmp_path):
    write(tmp_path / "set", train=({"anna": 3, "ben": 2}, {"anna": 2}))
    data = check(FederatedLeaf(tmp_path / "set"), 2)
    np.testing.assert_array_equal(np.diff(data.offsets), [5, 2])


def test_test_users_may_be_others_than_the_clients(tmp_path):
    write(tmp_path / "set", test=({"zoe": 4},))
    assert len(FederatedLeaf(tmp_path / "set")) == 4


def test_fewer_clients_are_drawn_and_more_are_refused(tmp_path):
    write(tmp_path / "set")
    task = FederatedLeaf(tmp_path / "set")
    drawn = {tuple(np.diff(task.deal(2, parse_partition("natural"), s).offsets)) for s in range(20)}
    assert len(drawn) > 1
    with pytest.raises(
        SettingsError, match=r"5 clients were asked for, the data has 4 .*--clients 4"
    ):
        task.deal(5, parse_partition("natural"), 0)


def test_other_partitions_deal_the_users_samples_anew(tmp_path):
    write(tmp_path / "set")
    data = check(FederatedLeaf(tmp_path / "set"), 5, parse_partition("iid"))
    np.testing.assert_array_equal(np.diff(data.offsets), 2)


def test_images_are_flattened_and_labels_may_be_whole_floats(tmp_path):
    for which in ("train", "test"):
        (tmp_path / which).mkdir()
        samples = {"x": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "y": [0.0, 61.0]}
        made = {"users": ["u"], "num_samples": [2], "user_data": {"u": samples}}
        (tmp_path / which / "data.json").write_text(json.dumps(made))
    data = check(FederatedLeaf(tmp_path), 1)
    np.testing.assert_array_equal(data.features, [[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(data.labels, [0, 61])
    assert data.classes == 62


def test_the_fingerprint_is_of_all_files(tmp_path):
    write(tmp_path / "set")
    before = FederatedLeaf(tmp_path / "set").source()
    assert before.official is False
    file = tmp_path / "set" / "test" / "all_data_0.json"
    file.write_text(file.read_text() + "\n")
    assert FederatedLeaf(tmp_path / "set").source().sha256 != before.sha256


def test_without_data_it_says_how_to_get_it_and_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match=r"github.com/TalwalkarLab/leaf.*--data FOLDER"):
        FederatedLeaf().source()
    with pytest.raises(DataError, match=r"there is no folder .*train/\*.json"):
        FederatedLeaf(tmp_path / "nowhere").source()
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train holds no .json file: .*preprocess.sh"):
        FederatedLeaf(tmp_path).source()


def without(key):
    def change(made):
        del made[key]

    return change


def with_samples(**samples):
    def change(made):
        made["user_data"]["anna"].update(samples)

    return change


def with_users(*users):
    def change(made):
        made["users"] = list(users)
        made["num_samples"] = [1] * len(users)

    return change


DAMAGE = {
    "no users": (without("users"), "'users' must be a list, and is missing"),
    "no counts": (without("num_samples"), "'num_samples' must be a list, and is missing"),
    "no data": (without("user_data"), "'user_data' must be an object, and is missing"),
    "no x": (
        lambda made: made["user_data"]["anna"].pop("x"),
        r"user_data\['anna'\]\['x'\] must be",
    ),
    "y not a list": (
        with_samples(y=3),
        r"user_data\['anna'\]\['y'\] must be a list, and is int '3'",
    ),
    "other users": (
        with_users("zoe", "anna"),
        r"user_data\['zoe'\] must be an object, and is missing",
    ),
    "a user twice": (with_users("anna", "anna"), "must name each user in user_data once"),
    "fewer counts": (
        lambda made: made["num_samples"].pop(),
        "names 2 users, but num_samples has 1",
    ),
    "other count": (with_samples(x=[[1.0]], y=[1]), "has 1 x and 1 y, and num_samples says 3"),
    "text": (with_samples(x=["to be or", "not", "to be"]), r"\['x'\] holds text"),
    "nested text": (with_samples(x=[[["a", "b"]], [["c"]], [["d"]]]), r"\['x'\] holds text"),
    "ragged": (with_samples(x=[[1, 2], [3], [4, 5]]), "lists of numbers, all of one length"),
    "scalars": (with_samples(x=[1, 2, 3]), "a list of numbers for each sample"),
    "no numbers": (with_samples(x=[[], [], []]), "a list of numbers for each sample"),
    "objects": (with_samples(x=[{}, {}, {}]), "lists of numbers"),
    "not finite": (
        with_samples(x=[[1], [float("nan")], [2]]),
        r"\['x'\]\[1\] holds a number that is",
    ),
    "half label": (with_samples(y=[0, 1.5, 2]), r"\['y'\]\[1\] must be a class number .* is 1.5"),
    "negative label": (with_samples(y=[0, 1, -1]), r"\['y'\]\[2\] must be a class number"),
    "text label": (with_samples(y=["a", "b", "c"]), r"\['y'\]\[0\] must be a class number .* 'a'"),
    "nan label": (with_samples(y=[0, float("nan"), 1]), r"\['y'\]\[1\] must be a class number"),
    "yes label": (with_samples(y=[0, True, 1]), r"\['y'\]\[1\] must be a class number"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_malformed_file_is_named_with_the_key(tmp_path, damage):
    change, words = DAMAGE[damage]
    made = content({"anna": 3, "ben": 2})
    change(made)
    file = tmp_path / "all_data.json"
    file.write_text(json.dumps(made))
    with pytest.raises(DataError, match=words) as caught:
        list(read_leaf(file))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"users": ["a"', "[" * 100_000, "\udcff", "[]", "null"])
def test_a_file_that_is_no_json_of_leaf_is_named(tmp_path, text):
    file = tmp_path / "all_data.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"all_data.json(: 'users'| is no JSON or was cut short)"):
        list(read_leaf(file))


def test_files_of_different_data_sets_are_named(tmp_path):
    write(tmp_path / "set", width=5)
    other = json.dumps(content({"zoe": 2}, width=6))
    (tmp_path / "set" / "test" / "other.json").write_text(other)
    with pytest.raises(DataError, match=r"other.json: user_data\['zoe'\] has samples of 6 numbers"):
        FederatedLeaf(tmp_path / "set").deal(2, parse_partition("natural"), 0)


def test_a_data_set_without_a_sample_is_refused(tmp_path):
    write(tmp_path / "set", test=({"anna": 0},))
    with pytest.raises(DataError, match="test holds no samples"):
        FederatedLeaf(tmp_path / "set").deal(2, parse_partition("natural"), 0)
