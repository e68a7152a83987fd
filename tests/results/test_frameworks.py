"""The table of frameworks: what each row holds, what quality is held against, how it looks."""

import json
from dataclasses import asdict, replace
from io import StringIO

import pytest
from rich.console import Console

import gnomon
from gnomon.core.registry import BENCHMARKS
from gnomon.results.frameworks import framework_rows, framework_table, of_frameworks

pytest.importorskip("ai_edge_litert", reason="needs gnomon[mobile]")
pytest.importorskip("ncnn", reason="needs gnomon[ncnn]")
MODE = {
    "name": "quick",
    "min_query_count": 64,
    "min_duration_s": 0.01,
    "offline_min_sample_count": 64,
}
DECLARED = BENCHMARKS.load("mobile-classification")
SHORT = DECLARED.model_copy(update={"settings": DECLARED.settings | {"run_modes": [MODE]}})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By system and precision: runs that are short, of a benchmark that asks for no more."""
    out = tmp_path_factory.mktemp("runs")

    def measured(system, precision, **options):
        return gnomon.run(
            SHORT, system=system, system_options={"precision": precision}, out=out, **options
        )

    return {
        ("onnx", "fp32"): measured("onnx", "fp32", performance=False),
        ("onnx", "int8"): measured("onnx", "int8", performance=False),
        ("litert", "fp32"): measured("litert", "fp32"),
        ("litert", "int8"): measured("litert", "int8", accuracy=False),
        ("ncnn", "fp16"): measured("ncnn", "fp16", performance=False),
    }


def with_quality(run, quality):
    """The same run, had it been of this quality."""
    measurements = json.loads(json.dumps(run.record["measurements"]))
    measurements["accuracy"]["result"]["quality"] = quality
    return replace(run, record={**run.record, "measurements": measurements})


def shown(runs, width):
    text = StringIO()
    Console(file=text, width=width).print(framework_table(runs))
    return text.getvalue()


def test_a_row_holds_the_figures_of_its_run(runs):
    run = runs["litert", "fp32"]
    (row,) = framework_rows([run])
    assert (row.framework, row.accelerator, row.precision) == ("LiteRT", "CPU xnnpack", "fp32")
    assert row.threads == 1
    assert row.run == run.path.name
    assert row.latency_ns == run.result["single-stream"]["percentile_latency_ns"] > 0
    assert row.percentile == 0.9
    assert row.samples_per_second == run.result["offline"]["samples_per_second"] > 0
    assert row.quality == run.result["accuracy"]["quality"]
    assert row.within_threshold is DECLARED.quality.met_by(row.quality)
    assert row.verdict == str(run.verdict)
    assert json.loads(json.dumps(asdict(row)))["version"] == row.version


def test_what_was_not_measured_is_none(runs):
    fast, good = framework_rows([runs["litert", "int8"], runs["onnx", "fp32"]])
    assert (fast.quality, fast.quality_lost, fast.lost_against, fast.within_threshold) == (
        None,
    ) * 4
    assert fast.latency_ns is not None
    assert (good.latency_ns, good.samples_per_second, good.percentile) == (None, None, None)


def test_quality_is_lost_against_full_precision_of_the_same_framework(runs):
    whole = with_quality(runs["onnx", "fp32"], 0.99)
    other = with_quality(runs["litert", "fp32"], 0.5)
    less = with_quality(runs["onnx", "int8"], 0.97)
    rows = framework_rows([other, less, whole])
    assert [row.quality_lost for row in rows] == pytest.approx([0.0, 0.02, 0.0])
    assert [row.lost_against for row in rows] == [
        other.path.name,
        whole.path.name,
        whole.path.name,
    ]


def test_or_else_against_that_of_onnx_runtime_or_else_not_at_all(runs):
    whole, half = with_quality(runs["onnx", "fp32"], 0.9), with_quality(runs["ncnn", "fp16"], 0.91)
    lost = framework_rows([whole, half])[1]
    assert lost.quality_lost == pytest.approx(-0.01)
    assert lost.lost_against == whole.path.name
    alone = framework_rows([half, with_quality(runs["litert", "fp32"], 0.9)])[0]
    assert (alone.quality_lost, alone.lost_against) == (None, None)


def test_where_less_is_better_more_is_lost(runs):
    benchmark = json.loads(json.dumps(runs["onnx", "fp32"].record["benchmark"]))
    benchmark["quality"] |= {"higher_is_better": False, "reference": 1.0, "factor": 1.1}
    whole, less = (
        replace(run, record={**run.record, "benchmark": benchmark})
        for run in (
            with_quality(runs["onnx", "fp32"], 1.0),
            with_quality(runs["onnx", "int8"], 1.2),
        )
    )
    row = framework_rows([whole, less])[1]
    assert row.quality_lost == pytest.approx(0.2)
    assert row.within_threshold is False


def test_the_table_has_a_line_a_run_and_fits_eighty_columns(runs):
    lines = shown(list(runs.values()), 80).splitlines()
    assert max(map(len, lines)) <= 80
    named = [line for line in lines if line.startswith(("ONNX Runtime", "LiteRT", "ncnn"))]
    assert len(named) == len(runs)
    assert all("INVALID" in line or "VALID" in line for line in named)
    for title in ("p90", "offline", "quality", "lost", "top-1 accuracy, which has to be at least"):
        assert title in " ".join(lines)


def test_a_figure_that_no_run_has_gets_no_column(runs):
    text = shown([runs["onnx", "fp32"], runs["onnx", "int8"]], 80)
    assert "offline" not in text
    assert "latency" not in text
    assert "quality" in text


def test_what_ran_stands_beside_what_was_asked_for_if_it_is_another(runs):
    run = runs["onnx", "int8"]
    system = json.loads(json.dumps(run.record["system"]))
    for ran, cell in (
        ("bf16", "int8→bf16"),
        ("int8 (9 of 10 layers), fp32 (1 of 10 layers)", "int8 "),
        ("fp32 (9 of 10 layers), int8 (1 of 10 layers)", "int8→fp32 "),
    ):
        system["description"]["precision_executed"] = ran
        text = shown([replace(run, record={**run.record, "system": system})], 80)
        assert cell in text
        assert ("b is what ran" in text) is ("→" in cell)


def test_a_model_of_ones_own_is_said_to_run_in_what_it_runs_in(runs):
    run = runs["onnx", "int8"]
    system = json.loads(json.dumps(run.record["system"]))
    system["description"] |= {"precision": "own", "precision_executed": "int8"}
    text = shown([replace(run, record={**run.record, "system": system})], 80)
    assert "own, int8" in text
    assert "→" not in text


def test_only_systems_of_model_files_on_one_benchmark_stand_in_such_a_table(runs, tmp_path):
    assert of_frameworks(list(runs.values()))
    other = gnomon.run("digits", performance=False, out=tmp_path)
    assert of_frameworks([other])
    assert not of_frameworks([runs["onnx", "fp32"], other])
    no_model = gnomon.run(SHORT, system="null", accuracy=False, out=tmp_path)
    assert not of_frameworks([runs["onnx", "fp32"], no_model])
