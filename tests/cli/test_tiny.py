"""The commands of boards, as a person types them."""

import json
import lzma
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnomon.cli.main import app
from gnomon.core.registry import TASKS
from tests.device.small_run import FEW, ScriptedBoard, run_few

pytest.importorskip("serial")
PUBLISHED = Path(__file__).parents[1] / "device" / "published" / "kws_energy"
KWS_MODEL = TASKS.load("tiny-keywords")().model("tflite")
needs_compiler = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="gcc-arm-none-eabi is not installed"
)


def typed(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_boards_are_listed_with_what_they_lack(monkeypatch):
    told = json.loads(typed("tiny", "boards", "--json").stdout)
    rows = {row["board"]: row for row in told}
    assert rows["host"]["ready"] == "yes"
    assert {"mps2-an385", "mps2-an386", "mps2-an500"} <= set(rows)
    monkeypatch.setenv("PATH", "/nonexistent")
    told = json.loads(typed("tiny", "boards", "--json").stdout)
    assert "apt-get install gcc-arm-none-eabi" in told[1]["ready"]


@needs_compiler
def test_firmware_is_built_and_its_memory_told(tmp_path):
    done = typed("tiny", "build", KWS_MODEL, "--out", tmp_path, "--model-id", "kws01", "--json")
    told = json.loads(done.stdout)
    assert (tmp_path / "firmware.elf").read_bytes()[:4] == b"\x7fELF"
    assert told["board"] == "mps2-an386"
    assert told["weights_bytes"] + told["code_bytes"] == told["flash_bytes"]
    assert sum(layer["macs"] for layer in told["layers"]) == told["macs"] == 2_656_768
    assert max(layer["ram_bytes"] for layer in told["layers"]) == told["arena_bytes"]
    table = typed("tiny", "build", KWS_MODEL, "--out", tmp_path).stdout
    assert "flash" in table
    assert "depthwise" in table


def test_a_board_and_a_system_are_not_both_given_and_boards_are_for_boards(tmp_path):
    told = typed("run", "kws", "--board", "host", "--system", "host-board", "--out", tmp_path)
    assert "give one" in str(told.exception)
    told = typed("run", "digits", "--board", "host", "--out", tmp_path)
    assert "--board means nothing" in str(told.exception)
    told = typed("run", "kws", "--board", "mps2-an387", "--out", tmp_path)
    assert "did you mean 'mps2-an38" in str(told.exception)
    assert not list(tmp_path.iterdir())


def test_a_submission_is_made_from_runs_and_held_to_the_rules(tmp_path):
    with pytest.warns(match="shorter than the 1 s"):
        run = run_few(tmp_path / "runs", ScriptedBoard(), duration_s=0.2)
    assert run.record["benchmark"]["name"] == FEW.name
    system = tmp_path / "system.json"
    assert "fill in" in typed("tiny", "submission", "--example", system).stdout
    out = tmp_path / "submission"
    done = typed("tiny", "submission", run.path, "--system", system, "--out", out)
    assert done.exit_code == 1
    assert "at least 10 inferences and 10 s are required" in done.stdout
    assert "no accuracy" in done.stdout or "accuracy" in done.stdout
    written = out / "closed" / "YourName" / "results" / "system" / "kws" / "performance"
    assert (written / "log.txt").exists()
    again = typed("tiny", "verify", out, "--json")
    assert again.exit_code == 1
    assert any(problem["rule"] == "window length" for problem in json.loads(again.stdout))


def test_a_submission_without_a_description_says_how_to_get_one(tmp_path):
    told = typed("tiny", "submission", tmp_path)
    assert "--example FILE" in str(told.exception)
    broken = tmp_path / "system.json"
    broken.write_text('{"Submitter": "A", "Division": "other"}')
    told = typed("tiny", "submission", tmp_path, "--system", broken, "--runner", "other")
    assert "did you mean" in str(told.exception) or "known" in str(told.exception)


def test_a_published_trace_gives_its_published_energy(tmp_path):
    trace = tmp_path / "trace1-energy.bin"
    trace.write_bytes(lzma.decompress((PUBLISHED / "trace1-energy.bin.xz").read_bytes()))
    text = (PUBLISHED / "results.txt").read_text()
    counts = [f"--iterations={count}" for count in re.findall(r"Inferences :\s+(\d+)", text)]
    timestamps = PUBLISHED / "trace1-timestamps.json"
    told = json.loads(typed("tiny", "trace", trace, timestamps, *counts, "--json").stdout)
    published_uj = float(re.search(r"Median energy cost is ([\d.]+)", text)[1])
    assert told["median_uj_per_inference"] == pytest.approx(published_uj, rel=1e-4)
    lines = typed("tiny", "trace", trace, timestamps, counts[0]).stdout.splitlines()
    assert len(lines) == 6
    refused = typed("tiny", "trace", trace, timestamps, counts[0], "--rule", "near")
    assert "nearest" in str(refused.exception)
