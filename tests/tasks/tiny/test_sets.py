"""Data sets in the field's formats: read as they are, and refused in one line that names file and line."""

import contextlib
import hashlib
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.tasks.tiny import sets
from gnomon.tasks.tiny.sets import (
    LABELS,
    LabelledFile,
    is_official,
    list_sha256,
    read_binary_set,
    read_cifar10,
    read_labels,
)

SIZE = 12


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("scratch")


def write_set(folder, lines, sizes):
    """A folder of files with these names and sizes, and a label file with these lines."""
    folder.mkdir(exist_ok=True)
    for value, (name, size) in enumerate(sizes.items()):
        (folder / name).write_bytes(bytes((value + place) % 256 for place in range(size)))
    (folder / LABELS).write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_a_set_is_read_in_the_order_of_its_label_file_whatever_the_spacing(tmp_path):
    lines = ["b.bin, 3, 2", "", "a.bin,3,0", " c.bin ,3 , 1"]
    folder = write_set(tmp_path, lines, {"a.bin": SIZE, "b.bin": SIZE, "c.bin": SIZE})
    found = read_binary_set(folder, classes=3, payload_size=SIZE)
    assert [file.name for file in found.files] == ["b.bin", "a.bin", "c.bin"]
    assert [file.line for file in found.files] == [1, 3, 4]
    assert found.labels.tolist() == [2, 0, 1]
    assert found.payloads(0) == ((folder / "b.bin").read_bytes(),)


def test_the_label_file_may_lie_elsewhere(tmp_path):
    folder = write_set(tmp_path / "files", ["nothing"], {"a.bin": SIZE})
    (tmp_path / "mine.csv").write_text("a.bin,2,1\n")
    found = read_binary_set(folder, 2, SIZE, labels=tmp_path / "mine.csv")
    assert found.labels.tolist() == [1]


def test_a_recording_gives_the_196_windows_of_the_anomaly_benchmark(tmp_path):
    folder = write_set(tmp_path, ["a.bin,2,1,2560,512"], {"a.bin": 200 * 512})
    windows = read_binary_set(folder, classes=2, payload_size=2560).payloads(0)
    content = (folder / "a.bin").read_bytes()
    assert len(windows) == 196
    assert windows[0] == content[:2560]
    assert windows[195] == content[-2560:]


@settings(deadline=None, max_examples=60)
@given(width=st.integers(1, 40), stride=st.integers(1, 50), more=st.integers(0, 6))
def test_windows_lie_a_stride_apart_and_reach_the_end(scratch, width, stride, more):
    folder = scratch
    write_set(folder, [f"a.bin,2,0,{width},{stride}"], {"a.bin": width + more * stride})
    content = (folder / "a.bin").read_bytes()
    windows = read_binary_set(folder, classes=2, payload_size=width).payloads(0)
    assert list(windows) == [content[k * stride : k * stride + width] for k in range(more + 1)]
    assert content.endswith(windows[-1])


UNFIT = {
    "a file that is missing": ("lost.bin,3,1", "there is no file lost.bin in"),
    "a folder": ("folder,3,1", "there is no file folder in"),
    "a file of another size": ("short.bin,3,1", "short.bin gives 11 bytes an inference and"),
    "another window": ("good.bin,3,1,6,2", "good.bin gives 6 bytes an inference and"),
    "windows that leave a rest": ("long.bin,3,1,12,5", "windows of 12 bytes every 5 do not fill"),
    "a window that is too wide": ("short.bin,3,1,12,1", "windows of 12 bytes every 1 do not fill"),
    "a label out of range": ("good.bin,3,3", "label 3 is not below 3"),
    "another number of classes": ("good.bin,2,1", "2 classes and the benchmark has 3"),
    "too few fields": ("good.bin,3", "'good.bin,3' is not file,n_classes,label or"),
    "too many fields": ("good.bin,3,1,12", "is not file,n_classes,label or"),
    "a label in words": ("good.bin,3,one", "is not file,n_classes,label or"),
    "a negative label": ("good.bin,3,-1", "is not file,n_classes,label or"),
    "a digit of another script": ("good.bin,3,\u0661", "is not file,n_classes,label or"),
    "no name": (",3,1", "'' is not the name of a file in the set's folder"),
    "a path that leads out": ("../good.bin,3,1", "is not the name of a file in the set's folder"),
    "an absolute path": ("/etc/passwd,3,1", "is not the name of a file in the set's folder"),
    "no stride": ("good.bin,3,1,12,0", "width_bytes and stride_bytes must be positive"),
    "the same file twice": ("first.bin,3,1", "first.bin stands in line 1 already"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_line_that_does_not_fit_the_data_is_named_with_file_and_number(tmp_path, unfit):
    line, words = UNFIT[unfit]
    sizes = {"first.bin": SIZE, "good.bin": SIZE, "short.bin": SIZE - 1, "long.bin": SIZE + 12}
    folder = write_set(tmp_path / "set", ["first.bin,3,0", "", line], sizes)
    (folder / "folder").mkdir()
    with pytest.raises(DataError) as caught:
        read_binary_set(folder, classes=3, payload_size=SIZE)
    message = str(caught.value)
    assert message.startswith(f"{folder / LABELS}, line 3: ")
    assert words in message
    assert "\n" not in message


UNREADABLE = {
    "missing": (lambda path: None, "is missing: a set is a folder"),
    "empty": (lambda path: path.write_text("\n  \n"), "is empty: it holds lines"),
    "a folder": (lambda path: path.mkdir(), "cannot be read as text"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read as text"),
}


@pytest.mark.parametrize("state", UNREADABLE)
def test_a_label_file_that_cannot_be_read_is_named(tmp_path, state):
    spoil, words = UNREADABLE[state]
    spoil(tmp_path / LABELS)
    with pytest.raises(DataError, match=words) as caught:
        read_labels(tmp_path / LABELS, classes=2)
    assert str(tmp_path / LABELS) in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=60) | st.text('ab,.012 \n"', max_size=60).map(str.encode))
def test_a_label_file_of_any_bytes_is_read_or_refused(scratch, content):
    path = scratch / LABELS
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        files = read_labels(path, classes=2)
        assert all(file.label in (0, 1) and file.name.strip() == file.name for file in files)
        assert len({file.name for file in files}) == len(files) > 0


def test_a_sample_that_goes_away_is_a_fault_of_the_data(tmp_path):
    folder = write_set(tmp_path, ["a.bin,2,1"], {"a.bin": SIZE})
    found = read_binary_set(folder, 2, SIZE)
    (folder / "a.bin").unlink()
    with pytest.raises(DataError, match=r"a\.bin cannot be read: No such file"):
        found.payloads(0)


def test_a_list_is_the_fields_whatever_its_order_and_folders_but_not_with_another_label(
    monkeypatch,
):
    files = [LabelledFile("b.bin", 1, 1), LabelledFile("a.bin", 0, 2)]
    assert list_sha256(files) == hashlib.sha256(b"a.bin,0\nb.bin,1\n").hexdigest()
    monkeypatch.setitem(sets.OFFICIAL_LISTS, "ic01", ("-", list_sha256(files)))
    moved = [LabelledFile("pictures/a.bin", 0, 7), LabelledFile("b.bin", 1, 9)]
    assert is_official("ic01", moved)
    assert not is_official("vww01", moved)
    assert not is_official("none", moved)
    assert not is_official("ic01", [LabelledFile("b.bin", 0, 1), LabelledFile("a.bin", 0, 2)])
    assert not is_official("ic01", files[:1])


def planes_and_images(count):
    """Pictures as CIFAR-10 stores them, (n, 3072), and as they look, (n, 32, 32, 3)."""
    images = np.random.default_rng(3).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    planes = [np.concatenate([image[:, :, k].ravel() for k in range(3)]) for image in images]
    return np.stack(planes), images


def old_pickle(planes, labels, names):
    """What Python 2 with an early NumPy wrote: the opcodes of CIFAR-10's own files."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    raw = planes.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01M" + struct.pack("<H", len(planes)) + b"M\x00\x0c\x86"
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    )  # fmt: skip
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    named = b"](" + b"".join(text(name) for name in names) + b"e"
    items = text(b"data") + array + text(b"labels") + listed + text(b"filenames") + named
    return b"\x80\x02}(" + text(b"batch_label") + text(b"testing batch 1 of 1") + items + b"u."


def new_pickle(planes, labels, names):
    return pickle.dumps({b"data": planes, b"labels": list(labels), b"filenames": names}, protocol=2)


@pytest.mark.parametrize("write", [old_pickle, new_pickle])
def test_the_python_version_of_cifar_10_is_read_as_pictures_with_names(tmp_path, write):
    planes, images = planes_and_images(3)
    path = tmp_path / "test_batch"
    path.write_bytes(write(planes, [9, 0, 4], [b"a_s_1.png", b"b_s_2.png", b"c_s_3.png"]))
    batch = read_cifar10(path)
    np.testing.assert_array_equal(batch.images, images)
    assert batch.labels.tolist() == [9, 0, 4]
    assert batch.names == ("a_s_1.png", "b_s_2.png", "c_s_3.png")


def test_the_binary_version_of_cifar_10_is_read_as_pictures(tmp_path):
    planes, images = planes_and_images(3)
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(
        b"".join(
            bytes([label]) + row.tobytes() for label, row in zip([9, 0, 4], planes, strict=True)
        )
    )
    batch = read_cifar10(path)
    np.testing.assert_array_equal(batch.images, images)
    assert batch.labels.tolist() == [9, 0, 4]
    assert batch.names == ()


class Harmful:
    """Runs a command when it is unpickled by whoever lets it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run_it(tmp_path):
    path, marker = tmp_path / "test_batch", tmp_path / "ran"
    path.write_bytes(pickle.dumps({b"data": Harmful(marker), b"labels": [1]}, protocol=2))
    with pytest.raises(DataError, match=r"no batch .*\(UnpicklingError: it asks for \w+\.system\)"):
        read_cifar10(path)
    assert not marker.exists()


def spoiled_batches():
    planes, _ = planes_and_images(2)
    names = [b"a.png", b"b.png"]
    whole = new_pickle(planes, [1, 2], names)
    return {
        "cut short": (whole[:-100], "is no batch of CIFAR-10's python version"),
        "empty": (b"", "is no batch of CIFAR-10's python version"),
        "without pictures": (pickle.dumps({b"labels": [1]}), "KeyError"),
        "a list": (pickle.dumps([1, 2]), "is no batch of CIFAR-10's python version"),
        "of other numbers": (new_pickle(planes.astype(np.int16), [1, 2], names), "no array of"),
        "of other pictures": (new_pickle(planes[:, :100], [1, 2], names), r"shape \(2, 100\)"),
        "of no pictures": (old_pickle(planes[:0], [], []), r"shape \(0, 3072\)"),
        "with fewer labels": (new_pickle(planes, [1], names), r"labels of shape \(1,\)"),
        "with fewer names": (new_pickle(planes, [1, 2], names[:1]), "1 names"),
        "with fractional labels": (new_pickle(planes, [1, 0.5], names), "is no batch of CIFAR-10"),
        "with another label": (new_pickle(planes, [1, 10], names), "image 1: label 10 is not"),
        "with a negative label": (new_pickle(planes, [-1, 1], names), "image 0: label -1 is not"),
    }


@pytest.mark.parametrize("spoiled", spoiled_batches())
def test_a_batch_of_the_python_version_that_is_not_one_is_named(tmp_path, spoiled):
    content, words = spoiled_batches()[spoiled]
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_cifar10(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# Always the same: a few bytes can ask Python's unpickler for gigabytes.
@settings(deadline=None, max_examples=60, derandomize=True)
@given(content=st.binary(max_size=80))
def test_a_batch_of_any_bytes_is_refused_as_bad_data(scratch, content):
    path = scratch / "test_batch"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_cifar10(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has 0 bytes"),
        (bytes(3072), "has 3072 bytes, not a number of records of 3073"),
        (b"\x0a" + bytes(3072), "image 0: label 10 is not below 10"),
    ],
)
def test_a_batch_of_the_binary_version_that_is_not_one_is_named(tmp_path, content, words):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_cifar10(path)


def test_a_batch_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"test_batch cannot be read: No such file"):
        read_cifar10(tmp_path / "test_batch")
