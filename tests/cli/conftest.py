"""What tests of the command line share."""

from __future__ import annotations

import signal

import pytest

from gnomon.cli.main import main


@pytest.fixture
def run_command(monkeypatch, tmp_path, capsys):
    """`gnomon run …` in this process and in a folder of its own: exit code, output, errors."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["run", *(str(argument) for argument in arguments)])
        return ended.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, handler)
