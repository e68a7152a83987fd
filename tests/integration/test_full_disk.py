"""A folder that is full, read-only or no folder at all: one clear line, and no sample lost."""

import json
import subprocess
import sys
import textwrap

import pytest

import gnomon
from gnomon.core.errors import RunFolderError

# Every program below ends by printing one JSON line about what happened.
TELL = """
import json, resource, sys
from pathlib import Path

import numpy as np

import gnomon
from gnomon.core.run import Run, find_runs
from gnomon.results.check import check
from gnomon.systems.null import NullSystem


def null_scores(images):
    return np.zeros((len(images), 10), dtype=np.float32)


def attempt(out, **options):
    try:
        gnomon.run("digits", out=out, **options)
    except BaseException as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": None}


def tell(out, scenario, happened):
    for path in find_runs(out):
        run = Run.open(path)
        happened["status"] = run.status
        happened["fine"] = check(path).fine
        samples = run.samples[scenario]
        happened["answered"] = int(samples.answered.sum())
        happened["rows"] = len(samples)
        happened["because"] = run.record.get("aborted_because")
    print(json.dumps(happened))
"""


def tell(program, *arguments, prefix=()):
    finished = subprocess.run(
        [*prefix, sys.executable, "-c", TELL + textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")


def may_mount(folder):
    """Whether this machine lets us have a small file system of our own."""
    try:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
        return subprocess.run([*OWN_MOUNTS, *mounting], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path):
    """Runs a program whose first argument is a folder on a file system of its own."""
    if not may_mount(tmp_path):
        pytest.skip("no private mounts here (unshare --map-root-user --mount, mount -t tmpfs)")

    def run_on(size, program, *arguments, options="rw"):
        mount = f'mount -t tmpfs -o size={size},{options} none "$0" && exec "$@"'
        return tell(
            program, tmp_path, *arguments, prefix=(*OWN_MOUNTS, "sh", "-c", mount, tmp_path)
        )

    return run_on


@pytest.mark.parametrize("workers", [1, 3])
def test_a_disk_that_fills_up_during_a_test_ends_it_with_the_samples_kept(small_disk, workers):
    found = small_disk(
        "3m",
        """
        happened = attempt(
            sys.argv[1],
            system=NullSystem(max_batch_size=64),
            scenario="offline",
            duration_s=60,
            workers=int(sys.argv[2]),
            accuracy=False,
        )
        tell(sys.argv[1], "offline", happened)
        """,
        workers,
    )
    assert found["error"] == "RunFolderError"
    assert "No space left on device; make room or choose another folder" in found["message"]
    assert "\n" not in found["message"]
    assert found["status"] == "aborted"
    assert not found["fine"]
    assert found["answered"] >= 1 << 14
    assert found["rows"] - found["answered"] <= workers * 64


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_disk_that_fills_up_in_a_stream_scenario_keeps_every_answer(small_disk, scenario):
    found = small_disk(
        "2m",
        """
        happened = attempt(
            sys.argv[1], system="null", scenario=sys.argv[2], duration_s=60, accuracy=False
        )
        tell(sys.argv[1], sys.argv[2], happened)
        """,
        scenario,
    )
    assert found["error"] == "RunFolderError"
    assert "No space left on device" in found["message"]
    assert found["status"] == "aborted"
    assert not found["fine"]
    assert found["answered"] == found["rows"] >= 1 << 14


def test_a_server_test_that_the_disk_has_no_room_for_does_not_start(small_disk):
    found = small_disk(
        "1m",
        """
        asked = []

        class Asked(NullSystem):
            def predict(self, samples):
                asked.append(len(samples))
                return samples

        happened = attempt(
            sys.argv[1],
            system=Asked(),
            scenario="server",
            target_qps=200_000,
            duration_s=2,
            accuracy=False,
        )
        happened["asked"] = len(asked)
        tell(sys.argv[1], "server", happened)
        """,
    )
    assert found["error"] == "RunFolderError"
    assert "No space left on device" in found["message"]
    assert found["asked"] == found["answered"] == 0
    assert found["status"] == "aborted"
    assert not found["fine"]


def test_a_disk_with_no_room_for_the_accuracy_log_keeps_the_answers_before_it(small_disk):
    found = small_disk(
        "2m",
        """
        class Filling(NullSystem):
            loads = 0

            def load(self, task, samples):
                self.loads += 1

            def predict(self, samples):
                if self.loads == 2:
                    self.fill()
                return null_scores(samples)

            def fill(self):
                self.loads += 1
                with open(Path(sys.argv[1]) / "other", "wb", buffering=0) as other:
                    try:
                        while True:
                            other.write(bytes(4096))
                    except OSError:
                        other.truncate(other.tell() - 50_000)

        happened = attempt(
            sys.argv[1],
            system=Filling(max_batch_size=8),
            scenario="server",
            target_qps=500,
            duration_s=2,
        )
        (path,) = find_runs(sys.argv[1])
        happened["scored"] = check(path).results["accuracy"]["sample_count"]
        tell(sys.argv[1], "server", happened)
        """,
    )
    assert found["error"] == "RunFolderError"
    assert "No space left on device" in found["message"]
    assert not found["fine"]
    assert found["answered"] == found["rows"] >= 900
    assert 200 < found["scored"] < 797


def test_a_file_size_limit_ends_a_test_with_the_samples_kept(tmp_path):
    found = tell(
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        happened = attempt(
            sys.argv[1],
            system=NullSystem(max_batch_size=64),
            scenario="offline",
            duration_s=60,
            accuracy=False,
        )
        tell(sys.argv[1], "offline", happened)
        """,
        tmp_path,
    )
    assert found["error"] == "RunFolderError"
    assert "File too large" in found["message"]
    assert found["status"] == "aborted"
    assert not found["fine"]
    assert found["rows"] >= (1 << 20) / 8 - (1 << 16)
    assert found["rows"] - found["answered"] <= 64


def test_a_read_only_output_folder_is_told_before_anything_runs(small_disk):
    found = small_disk(
        "1m",
        """
        happened = attempt(sys.argv[1], system=null_scores, scenario="offline")
        tell(sys.argv[1], "offline", happened)
        """,
        options="ro",
    )
    assert found["error"] == "RunFolderError"
    assert "Read-only file system; choose another folder with --out" in found["message"]
    assert "status" not in found


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("a-file", "File exists|Not a directory"),
        ("a-file/runs", "Not a directory"),
        ("/proc/gnomon-runs", "No such file or directory|Permission denied|Read-only"),
    ],
)
def test_an_output_folder_that_cannot_be_made_is_told_in_one_line(tmp_path, out, words):
    (tmp_path / "a-file").write_text("in the way")
    with pytest.raises(
        RunFolderError, match=f"cannot write to .*({words}); choose another"
    ) as error:
        gnomon.run("digits", system="null", scenario="offline", out=tmp_path / out)
    assert "\n" not in str(error.value)
