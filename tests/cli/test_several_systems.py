"""`gnomon run … --system A,B --precision P,Q`: which runs are made, in which order, and their one table."""

import json
import sys

import pytest

from gnomon.core.run import Run, find_runs

pytest.importorskip("ai_edge_litert", reason="needs gnomon[mobile]")
pytest.importorskip("ncnn", reason="needs gnomon[ncnn]")
TASK = "mobile-classification"
NO_NCNN_INT8 = (
    f"task '{TASK}' ships no ncnn-int8 model (none does): pass one with --model FILE.param"
)
ACCURACY = ("--no-performance", "--no-report")


def made(folder):
    return [Run.open(path) for path in sorted(find_runs(folder / "runs"))]


def test_each_system_runs_at_each_precision_and_all_stand_in_one_table(run_command, tmp_path):
    asked = ("--system", "litert,onnx,ncnn", "--precision", "fp32,int8", "-s", "threads=1")
    code, text, error = run_command(TASK, *asked, *ACCURACY)
    assert error.splitlines() == [
        f"left out: ncnn int8: {NO_NCNN_INT8}",
        "1 of 5: LiteRT fp32",
        "2 of 5: LiteRT int8",
        "3 of 5: ONNX Runtime fp32",
        "4 of 5: ONNX Runtime int8",
        "5 of 5: ncnn fp32",
    ]
    runs = made(tmp_path)
    assert code == (0 if all(run.verdict.valid for run in runs) else 1)
    assert [
        (run.record["system"]["name"], run.record["system"]["description"]["precision"])
        for run in runs
    ] == [
        ("litert", "fp32"),
        ("litert", "int8"),
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("ncnn", "fp32"),
    ]
    assert runs[1].record["asked_system"] == {
        "name": "litert",
        "options": {"threads": 1, "precision": "int8"},
    }
    table = [line for line in text.splitlines() if line.startswith(("LiteRT", "ONNX", "ncnn"))]
    assert [line.split()[0] for line in table] == ["LiteRT", "LiteRT", "ONNX", "ONNX", "ncnn"]
    for run in runs:
        assert run.path.name in text
    assert "B against A" not in text


def test_json_holds_the_runs_and_the_rows(run_command):
    _, text, error = run_command(TASK, "--precision", "fp32,fp16", *ACCURACY, "--json")
    said = json.loads(text)
    assert error == "1 of 2: ONNX Runtime fp32\n2 of 2: ONNX Runtime fp16\n"
    assert said["left_out"] == []
    assert [Run.open(run["path"]).result for run in said["runs"]] == [
        run["result"] for run in said["runs"]
    ]
    assert [(row["framework"], row["precision"]) for row in said["frameworks"]] == [
        ("ONNX Runtime", "fp32"),
        ("ONNX Runtime", "fp16"),
    ]


@pytest.mark.parametrize("precisions", ["fp32,int8", "int8,fp32"])
def test_json_tells_what_was_left_out_and_why_also_beside_a_single_run(run_command, precisions):
    asked = ("--system", "ncnn", "--precision", precisions)
    _, text, _ = run_command(TASK, *asked, *ACCURACY, "--json")
    said = json.loads(text)
    assert [row["framework"] for row in said["frameworks"]] == ["ncnn"]
    assert len(said["runs"]) == 1
    assert said["left_out"] == [{"system": "ncnn", "precision": "int8", "reason": NO_NCNN_INT8}]


def test_a_report_of_all_is_written_beside_the_last(run_command, tmp_path):
    _, text, _ = run_command(TASK, "--system", "onnx,ncnn", "--no-performance")
    first, last = made(tmp_path)
    page = (last.path / "report.html").read_text(encoding="utf-8")
    assert first.id in page
    assert f"runs/{last.path.name}/report.html" in text


def test_one_precision_of_one_system_is_one_run_and_json_of_it_one_object(run_command):
    _, text, _ = run_command(TASK, "--precision", "int8", *ACCURACY, "--json")
    run = Run.open(json.loads(text)["path"])
    assert run.record["asked_system"] == {"name": "onnx", "options": {"precision": "int8"}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((TASK, "--system", "onnx,litter"), "unknown system 'litter': did you mean 'litert'?"),
        ((TASK, "--system", "onnx,"), "unknown system ''"),
        ((TASK, "--system", "onnx", "--precision", "fp32,int4"), "got 'int4'"),
        (
            (TASK, "--system", "onnx,null", "--precision", "fp32"),
            "option of system 'null': 'precision'",
        ),
        (
            (TASK, "--system", "onnx,ncnn", "-s", "vulkan=false"),
            "option of system 'onnx': 'vulkan'",
        ),
        ((TASK, "--system", "ncnn", "--precision", "int8"), "ships no ncnn-int8 model"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_before_anything_is_measured(run_command, tmp_path, arguments, words):
    code, text, error = run_command(*arguments, *ACCURACY)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1
    assert text == ""
    assert not [
        run for run in made(tmp_path) if run.result
    ]  # one that was asked for alone was begun


def test_a_package_that_is_missing_is_told_before_anything_is_measured(
    run_command, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    code, text, error = run_command(TASK, "--system", "onnx,ncnn", *ACCURACY)
    assert (code, text) == (2, "")
    assert "pip install 'gnomon[ncnn]'" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_models_for_none_of_them_is_an_error(run_command, tmp_path):
    code, text, error = run_command("digits", "--system", "litert,ncnn", *ACCURACY)
    assert (code, text) == (2, "")
    assert "ships no tflite model" in error.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
