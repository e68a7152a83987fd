"""Visual wake words: pictures in a folder for each label, the field's list of them, and its binary files."""

import sys

import numpy as np
import pytest

from gnomon.core.errors import DataError, MissingExtraError
from gnomon.tasks.tiny import sets
from gnomon.tasks.tiny.person import Person, read_jpeg
from gnomon.tasks.tiny.sets import LABELS, list_sha256, read_labels


def jpeg(path, side=96, colour=(200, 100, 50)):
    """A picture of one colour, which survives compression nearly whole."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    path.parent.mkdir(exist_ok=True)
    image.new("RGB", (side, side), colour).save(path, quality=95)


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "vw_coco2014_96"
    folder.mkdir()
    jpeg(folder / "person" / "2.jpg", colour=(250, 0, 0))
    jpeg(folder / "person" / "1.jpg", colour=(0, 250, 0))
    jpeg(folder / "non_person" / "3.jpg", colour=(0, 0, 250))
    return folder


def test_pictures_are_labelled_by_their_folder_and_read_red_green_blue(photographs):
    task = Person(photographs)
    assert len(task) == 3
    assert [task.file_name(sample) for sample in range(3)] == ["3.jpg", "1.jpg", "2.jpg"]
    middles = task.inputs(np.arange(3))[:, 48, 48].astype(int) + 128
    assert np.abs(middles - [[0, 0, 250], [0, 250, 0], [250, 0, 0]]).max() < 8
    assert task.score(np.arange(3), np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])) == 1.0
    assert not task.source().official


def test_the_fields_list_chooses_pictures_by_its_own_names(photographs, monkeypatch):
    (photographs / LABELS).write_text("2.bin, 2, 1\n3.bin, 2, 0\n")
    own = list_sha256(read_labels(photographs / LABELS, 2))
    monkeypatch.setitem(sets.OFFICIAL_LISTS, "vww01", (own,))
    task = Person(photographs)
    assert [task.file_name(sample) for sample in range(len(task))] == ["2.bin", "3.bin"]
    assert task.pictures.labels.tolist() == [1, 0]
    assert len(task.payloads(0)[0]) == 96 * 96 * 3
    assert task.source().official


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("9.bin,2,1", r"9\.jpg should be in .*/person and there is none"),
        ("3.bin,2,1", r"3\.jpg should be in .*/person and it is in non_person"),
        ("2.bin,2,0", r"2\.jpg should be in .*/non_person and it is in person"),
    ],
)
def test_a_list_that_does_not_fit_the_folders_is_refused_by_file_and_line(tmp_path, line, words):
    for name in ("person/1.jpg", "person/2.jpg", "non_person/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / LABELS).write_text(f"1.bin,2,1\n{line}\n")
    with pytest.raises(DataError, match=f"line 2: {words}") as caught:
        len(Person(tmp_path))
    assert str(caught.value).startswith(str(tmp_path / LABELS))


def test_a_folder_of_one_label_only_is_refused(tmp_path):
    (tmp_path / "person").mkdir()
    (tmp_path / "non_person").mkdir()
    (tmp_path / "person" / "1.jpg").touch()
    with pytest.raises(DataError, match=r"has no \.jpg files in one of person and non_person"):
        len(Person(tmp_path))


def test_a_folder_of_neither_form_is_told_what_it_should_hold(tmp_path):
    with pytest.raises(DataError, match=r"y_labels\.csv .* person and non_person"):
        len(Person(tmp_path))


def test_the_fields_binary_files_are_read(tmp_path):
    picture = np.random.default_rng(7).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    (tmp_path / "000000343218.bin").write_bytes(picture.tobytes())
    (tmp_path / LABELS).write_text("000000343218.bin,2,1\n")
    task = Person(tmp_path)
    assert task.payloads(0) == [picture.tobytes()]
    np.testing.assert_array_equal(task.inputs(np.array([0]))[0] + 128.0, picture)


def test_a_picture_of_another_size_is_named(tmp_path):
    jpeg(tmp_path / "1.jpg", side=64)
    with pytest.raises(DataError, match=r"1\.jpg is 64x64 and the benchmark takes 96x96"):
        read_jpeg(tmp_path / "1.jpg")


def test_a_file_that_is_no_picture_is_named(tmp_path):
    pytest.importorskip("PIL.Image", reason="needs Pillow")
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8 not really")
    with pytest.raises(DataError, match=r"1\.jpg cannot be read \(UnidentifiedImageError: "):
        read_jpeg(tmp_path / "1.jpg")


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    (tmp_path / "1.jpg").touch()
    with pytest.raises(MissingExtraError, match=r"reading 1\.jpg needs pillow: .*gnomon\[tiny\]"):
        read_jpeg(tmp_path / "1.jpg")
