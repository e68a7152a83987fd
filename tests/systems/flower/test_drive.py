from __future__ import annotations

import os
import subprocess
import sys

from gnomon.systems.flower.drive import listening, private_folder


def test_the_private_folder_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with private_folder() as folder:
        (folder / "learner.pickle").write_bytes(b"data")
        assert folder.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


def test_folders_of_processes_that_were_killed_are_removed_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"gnomon-flower-{ended.pid}-a", f"gnomon-flower-{os.getpid()}-b", "gnomon-flower-mine"]
    for name in names:
        (tmp_path / name).mkdir()
    with private_folder():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_the_socket_is_short_enough_for_the_kernel(tmp_path, monkeypatch):
    with private_folder() as folder, listening(folder):
        assert len(str(folder / "server")) < 100
