"""Atomic writing under real failures: the old content or the new, and nothing left lying about.

Permissions mean nothing to root, so those programs let go of it first.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest

from gnomon.core.files import sha256_of, write_atomically

OLD = b"what was there before"
PROGRAM = """
import json, os, resource, sys
from pathlib import Path

from gnomon.core.files import write_atomically

NOBODY = 65534


def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def attempt(path, data):
    try:
        write_atomically(Path(path), data)
    except OSError as error:
        return error.strerror
    return None
"""


def tell(program, *arguments):
    """Run a program in a process of its own; it prints what happened as JSON."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def in_folder(path):
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.json"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def path_for_all():
    """A file in a folder that any user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        path.write_bytes(OLD)
        path.parent.chmod(0o755)
        yield path
        path.parent.chmod(0o755)


@pytest.mark.parametrize("data", [b"", b"new", bytes(range(256)) * 5000])
def test_what_is_written_is_what_is_read(path, data):
    write_atomically(path, data)
    assert path.read_bytes() == data
    assert in_folder(path) == ["run.json"]


def test_a_file_that_did_not_exist_is_made(tmp_path):
    write_atomically(tmp_path / "new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"


def test_a_written_file_can_be_read_by_others(path):
    write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_private_file_can_be_read_by_its_owner_alone(path):
    write_atomically(path, b"new", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_fingerprint_of_files_is_that_of_their_content_one_after_the_other(tmp_path):
    large = os.urandom(3 << 20)
    for name, content in (("one", b"ab"), ("other", large)):
        (tmp_path / name).write_bytes(content)
    expected = hashlib.sha256(b"head" + b"ab" + large).hexdigest()
    assert sha256_of(tmp_path / "one", tmp_path / "other", before=b"head") == expected
    assert sha256_of(tmp_path / "one") == hashlib.sha256(b"ab").hexdigest()


def test_a_folder_that_may_not_be_written_keeps_the_old_content(path_for_all):
    path_for_all.parent.chmod(0o555)
    told = tell("become_nobody(); print(json.dumps(attempt(sys.argv[1], b'new')))", path_for_all)
    assert told == "Permission denied"
    assert path_for_all.read_bytes() == OLD
    assert in_folder(path_for_all) == ["run.json"]


def test_a_file_of_someone_else_in_a_shared_folder_stays_when_it_may_not_be_replaced(path_for_all):
    """In a folder like /tmp the temporary file can be made, and only the last step is refused."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of someone else")
    path_for_all.parent.chmod(0o1777)
    told = tell("become_nobody(); print(json.dumps(attempt(sys.argv[1], b'new')))", path_for_all)
    assert told == "Operation not permitted"
    assert path_for_all.read_bytes() == OLD
    assert in_folder(path_for_all) == ["run.json"]


def test_a_write_that_hits_a_size_limit_keeps_the_old_content(path):
    told = tell(
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        print(json.dumps([attempt(sys.argv[1], bytes(4097)), attempt(sys.argv[1], bytes(4096))]))
        """,
        path,
    )
    assert told == ["File too large", None]
    assert path.read_bytes() == bytes(4096)
    assert in_folder(path) == ["run.json"]


def test_a_missing_folder_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "run.json", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "run.json" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "run.json", b"new")
    assert in_folder(tmp_path / "run.json") == ["run.json"]


def test_a_reader_never_sees_half_of_a_file(path):
    contents = {bytes([letter]) * 300_000 for letter in b"ab"}
    write_atomically(path, b"a" * 300_000)
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        for content in sorted(contents):
            write_atomically(path, content)
    done.set()
    reader.join()
    assert seen <= contents
    assert in_folder(path) == ["run.json"]


def test_a_process_killed_while_it_writes_leaves_one_whole_content(path):
    program = """
    contents = [letter * 3_000_000 for letter in (b"a", b"b")]
    write_atomically(Path(sys.argv[1]), contents[0])
    print("writing", flush=True)
    while True:
        for content in contents:
            write_atomically(Path(sys.argv[1]), content)
    """
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + textwrap.dedent(program), str(path)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert path.read_bytes() in {b"a" * 3_000_000, b"b" * 3_000_000}
