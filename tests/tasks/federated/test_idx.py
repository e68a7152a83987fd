"""IDX files as MNIST and EMNIST come in, small; and files that are not what they say."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.fleet.partition import parse_partition
from gnomon.tasks.federated import idx
from gnomon.tasks.federated.idx import PARTS, FederatedIdx, read_idx
from tests.tasks.federated.contract import check

NAMES = {part: names[0] for part, names in PARTS.items()}


def idx_bytes(array, kind=0x08):
    header = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def arrays(train=40, test=8, side=(4, 3), first=0):
    generator = np.random.default_rng(1)
    made = {}
    for which, count in (("train", train), ("test", test)):
        made[f"{which} images"] = generator.integers(0, 256, (count, *side))
        made[f"{which} labels"] = np.arange(count) % 4 + first
    return made


def write(folder, made, prefix="", suffix="", names=NAMES):
    folder.mkdir(exist_ok=True)
    for part, array in made.items():
        data = idx_bytes(array)
        data = gzip.compress(data) if suffix == ".gz" else data
        (folder / (prefix + names[part] + suffix)).write_bytes(data)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_images_are_dealt_flat_from_0_to_1_and_the_test_files_are_held_out(tmp_path, suffix):
    made = arrays()
    data = check(FederatedIdx(write(tmp_path / "set", made, suffix=suffix)), 10)
    assert data.features.shape == (40, 12)
    assert data.classes == 4
    assert data.partition == "labels:2"
    expected = made["test images"].reshape(8, 12) / np.float32(255)
    np.testing.assert_array_equal(data.test_features, expected.astype(np.float32))
    np.testing.assert_array_equal(data.test_labels, made["test labels"])
    flat = (made["train images"].reshape(40, 12) / np.float32(255)).astype(np.float32)
    for features, label in zip(data.features, data.labels, strict=True):
        (row,) = np.flatnonzero((flat == features).all(axis=1))
        assert made["train labels"][row] == label


def test_names_with_a_dot_are_known_too(tmp_path):
    names = {part: other for part, (_, other) in PARTS.items()}
    assert len(FederatedIdx(write(tmp_path / "set", arrays(), names=names))) == 8


def test_a_tenth_of_the_samples_is_a_limit_of_the_partition(tmp_path):
    task = FederatedIdx(write(tmp_path / "set", arrays(train=400)))
    data = check(task, 10, parse_partition("labels:2,limit=40"))
    np.testing.assert_array_equal(np.diff(data.offsets), 4)


EMNIST = {part: name.replace("t10k", "test") for part, name in NAMES.items()}


def test_images_of_emnist_are_turned_upright(tmp_path):
    made = arrays(side=(3, 3))
    write(tmp_path / "set", made, "emnist-balanced-", ".gz", EMNIST)
    task = FederatedIdx(tmp_path / "set")
    upright = made["test images"].transpose(0, 2, 1).reshape(8, 9) / np.float32(255)
    np.testing.assert_array_equal(task.inputs(np.arange(8)), upright.astype(np.float32))
    check(task, 5)
    assert "emnist-balanced" in task.source().name


def test_labels_that_start_at_1_are_classes_from_0_as_in_emnist_letters(tmp_path):
    write(tmp_path / "set", arrays(first=1), "emnist-letters-", "", EMNIST)
    data = check(FederatedIdx(tmp_path / "set"), 5)
    assert data.classes == 4
    np.testing.assert_array_equal(np.unique(data.labels), [0, 1, 2, 3])


def test_of_several_data_sets_in_a_folder_one_is_chosen_by_its_prefix(tmp_path):
    write(tmp_path / "set", arrays(), "emnist-digits-", "", EMNIST)
    write(tmp_path / "set", arrays(train=80), "emnist-balanced-", "", EMNIST)
    with pytest.raises(DataError, match=r"several data sets \(emnist-balanced, emnist-digits\)"):
        FederatedIdx(tmp_path / "set").source()
    data = FederatedIdx(tmp_path / "set" / "emnist-balanced").deal(5, parse_partition("iid"), 0)
    assert len(data.labels) == 80
    with pytest.raises(DataError, match="emnist-letters-train-images-idx3-ubyte"):
        FederatedIdx(tmp_path / "set" / "emnist-letters").source()


def test_files_are_official_only_if_every_one_is_mnists_as_published(tmp_path, monkeypatch):
    folder = write(tmp_path / "set", arrays())
    assert FederatedIdx(folder).source().official is False
    published = {
        part: frozenset({hashlib.md5((folder / name).read_bytes()).hexdigest()})
        for part, name in NAMES.items()
    }
    monkeypatch.setattr(idx, "MNIST_MD5", published)
    source = FederatedIdx(folder).source()
    assert (source.name, source.official) == ("MNIST", True)
    labels = folder / NAMES["test labels"]
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")
    assert FederatedIdx(folder).source().official is False


def test_the_checksums_of_mnist_are_those_published_for_its_archives():
    archives = {
        "train images": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train labels": "d53e105ee54ea40749a09fcbcd1e9432",
        "test images": "9fb629c4189551a2d022fa330f9573f3",
        "test labels": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    assert all(archives[part] in known for part, known in idx.MNIST_MD5.items())
    assert len(set().union(*idx.MNIST_MD5.values())) == 8


def test_the_fingerprint_is_of_the_files_and_changes_with_one_pixel(tmp_path):
    made = arrays()
    one = FederatedIdx(write(tmp_path / "set", made)).source().sha256
    assert FederatedIdx(write(tmp_path / "copy", made)).source().sha256 == one
    made["train images"][-1, -1, -1] ^= 1
    assert FederatedIdx(write(tmp_path / "copy", made)).source().sha256 != one


def test_without_data_it_says_which_files_to_get_from_where_and_where_to_put_them(tmp_path):
    words = r"train-images-idx3-ubyte.*https://.*; say where with --data FOLDER"
    with pytest.raises(DataError, match=words):
        FederatedIdx().source()
    with pytest.raises(DataError, match=words):
        FederatedIdx().deal(5, parse_partition("iid"), 0)
    with pytest.raises(DataError, match=r"holds no IDX files: it must hold MNIST's four files"):
        FederatedIdx(tmp_path).source()
    with pytest.raises(DataError, match="there is no folder"):
        FederatedIdx(tmp_path / "no" / "where").source()


@pytest.mark.parametrize("part", PARTS)
def test_a_file_that_is_missing_is_named(tmp_path, part):
    folder = write(tmp_path / "set", arrays())
    (folder / NAMES[part]).unlink()
    with pytest.raises(DataError, match=rf"lacks the {part} \({NAMES[part]}, or .gz\)"):
        FederatedIdx(folder).source()


IMAGES = np.zeros((2, 2, 2), int)
DAMAGE = {
    "empty": (b"", "no IDX file"),
    "text": (b"<html>not found</html>", "no IDX file"),
    "labels": (idx_bytes(np.zeros(9, int)), "holds no images: its type is 0x08 with 1 dimensions"),
    "floats": (idx_bytes(IMAGES, kind=0x0D), "its type is 0x0d with 3 dimensions, not 0x08 with 3"),
    "cut in the header": (idx_bytes(IMAGES)[:10], "cut short within its header"),
    "cut short": (idx_bytes(IMAGES)[:-1], "cut short: 23 bytes for 2x2x2 images, which take 24"),
    "too long": (idx_bytes(IMAGES) + b"\0", "longer than its header says"),
    "no image": (idx_bytes(IMAGES[:0]), "holds no images: it says 0x2x2"),
    "no pixel": (idx_bytes(IMAGES[:, :0]), "holds no images: it says 2x0x2"),
    "absurd": (struct.pack(">I3I", 0x803, *[2**32 - 1] * 3), "cut short"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage, suffix):
    data, words = DAMAGE[damage]
    file = tmp_path / f"{NAMES['train images']}{suffix}"
    file.write_bytes(gzip.compress(data) if suffix else data)
    with pytest.raises(DataError, match=words) as caught:
        read_idx(file, 3)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        # Without a time: every worker has to give its tests the same names.
        gzip.compress(idx_bytes(IMAGES), mtime=0)[:-9],
        gzip.compress(bytes(99), mtime=0)[:12] + bytes(50),
    ],
)
def test_a_file_that_is_not_gzipped_whole_is_named(tmp_path, data):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"ubyte.gz (is not gzipped or was cut|is no IDX)"):
        read_idx(file, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train labels": np.zeros(39, int)}, "39 labels for the 40 images"),
        ({"test images": np.zeros((8, 3, 4), int)}, "images of 3x4, and .* of 4x3"),
        ({"test labels": np.full(8, 7)}, "holds label 7, which is not among the training labels"),
    ],
)
def test_files_that_do_not_belong_together_are_named(tmp_path, change, words):
    folder = write(tmp_path / "set", arrays() | change)
    with pytest.raises(DataError, match=words):
        FederatedIdx(folder).deal(5, parse_partition("iid"), 0)
