"""A sweep: what is finished stays finished, and everything shown is computed from it."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

torch = pytest.importorskip("torch")

from gnomon.core.errors import (  # noqa: E402
    DataError,
    GnomonError,
    RunFolderError,
    SettingsError,
    SystemFault,
    UsageError,
)
from gnomon.recommend.recipe import Optimizer, Recipe, Variant  # noqa: E402
from gnomon.recommend.summary import spread, summarise  # noqa: E402
from gnomon.recommend.sweep import SweepConfig, run_sweep, variants_of  # noqa: E402
from gnomon.recommend.sweep_folder import held, read_sweep  # noqa: E402
from gnomon.results.sweep_report import (  # noqa: E402
    sweep_columns,
    sweep_view,
    write_sweep_report,
)
from tests.recommend.samples import MODEL, RECIPE, SOURCE  # noqa: E402

VARIANTS = variants_of(["full", "robe", "hash-shared"], [2, 8])
CONFIG = SweepConfig(SOURCE, VARIANTS, seeds=(0, 1), model=MODEL, recipe=RECIPE, epochs=2)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep of five variants and two seeds."""
    return run_sweep(CONFIG, tmp_path_factory.mktemp("sweep"))


def without_times(state):
    """What a seed settles: every AUC and size."""
    return [
        (run.variant.name, run.seed, run.record.weights, [e.auc for e in run.record.evaluations])
        for run in state.runs
    ]


def told(state, width=400):
    console = Console(file=io.StringIO(), width=width)
    console.print(sweep_view(state, width))
    return console.file.getvalue()


def test_every_variant_is_trained_for_every_seed_full_tables_once(swept):
    assert [variant.name for variant in swept.variants] == [
        "full",
        "robe 2x",
        "robe 8x",
        "hash-shared 2x",
        "hash-shared 8x",
    ]
    assert len(swept.runs) == swept.planned == 10
    assert len(list((swept.path / "runs").iterdir())) == 10


def test_a_finished_training_tells_data_machine_and_the_best_possible_auc(swept):
    run = swept.runs[0]
    assert run.data["name"] == "synthetic click log, not comparable with published results"
    assert run.data["official"] is False
    assert run.data["bayes_auc"] == SOURCE.log.bayes_auc(6000, 9000)
    assert run.data["settings"]["log"]["seed"] == SOURCE.log.seed
    assert run.environment["packages"]["torch"] == torch.__version__


def test_finished_trainings_are_not_trained_again(swept, tmp_path):
    run_sweep(replace(CONFIG, seeds=(0,)), tmp_path)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").iterdir()}
    gone = sorted(files)[2]
    gone.unlink()
    progress = []
    again = run_sweep(replace(CONFIG, seeds=(0,)), tmp_path, observer=progress.append)
    assert [file for file in files if file.stat().st_mtime_ns != files[file]] == [gone]
    assert progress[-1].share_done == 1
    assert without_times(again) == [row for row in without_times(swept) if row[1] == 0]


def test_a_sweep_grows_by_methods_and_seeds(tmp_path):
    small = replace(CONFIG, variants=VARIANTS[:1], seeds=(0,))
    run_sweep(small, tmp_path)
    grown = run_sweep(replace(small, variants=VARIANTS[1:2], seeds=(1,)), tmp_path)
    assert [variant.name for variant in grown.variants] == ["full", "robe 2x"]
    assert grown.seeds == (0, 1)
    assert [(run.variant.kind, run.seed) for run in grown.runs] == [("full", 0), ("robe", 1)]
    assert "2 of 4 trainings are finished: the same command goes on" in told(grown)


def test_other_settings_in_the_same_folder_are_refused_in_one_line(swept):
    other = replace(CONFIG, epochs=3, source=replace(SOURCE, train_rows=5000), threads=2)
    with pytest.raises(SettingsError) as refused:
        run_sweep(other, swept.path)
    assert str(refused.value) == (
        f"{swept.path} holds a sweep with other settings (data.train_rows 6000 there, 5000 asked for, "
        f"epochs 2 there, 3 asked for, threads 1 there, 2 asked for): choose another folder with --out"
    )
    assert other.default_folder(swept.path) != CONFIG.default_folder(swept.path)
    grown = replace(CONFIG, seeds=(7,), variants=VARIANTS[:1])
    assert grown.default_folder(swept.path) == CONFIG.default_folder(swept.path)


def test_worker_processes_come_to_the_same_figures(swept, tmp_path):
    progress = []
    config = replace(CONFIG, seeds=(0,))
    parallel = run_sweep(config, tmp_path, workers=2, observer=progress.append)
    assert without_times(parallel) == [row for row in without_times(swept) if row[1] == 0]
    assert progress[-1].share_done == 1
    assert {run.workers for run in parallel.runs} == {2}
    mixed = run_sweep(replace(config, seeds=(0, 1), variants=VARIANTS[:1]), tmp_path)
    assert "times do not compare" in told(mixed)


def test_a_worker_that_is_killed_ends_the_sweep_in_one_line(tmp_path):
    def kill(_progress):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(SystemFault, match=r"exit code -9; finished trainings are kept"):
        run_sweep(replace(CONFIG, seeds=range(50)), tmp_path, workers=2, observer=kill)
    assert not multiprocessing.active_children()


def test_a_worker_that_fails_ends_the_sweep_with_what_it_said(tmp_path):
    wild = Recipe(Optimizer("sgd", 1e12), Optimizer("sgd", 1e12), 256)
    with pytest.raises(GnomonError, match=r"seed [01]: .*NaN"):
        run_sweep(replace(CONFIG, recipe=wild), tmp_path, workers=2)


def test_what_cannot_be_made_is_told_before_anything_is_trained(tmp_path):
    variants = (Variant("full"), Variant("hash-capped", 400))
    with pytest.raises(SettingsError, match="hash-capped"):
        run_sweep(replace(CONFIG, variants=variants), tmp_path)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SettingsError, match="at least one method"):
        replace(CONFIG, variants=())
    with pytest.raises(SettingsError, match="workers"):
        run_sweep(CONFIG, tmp_path, workers=0)


def test_nobody_else_sweeps_into_a_folder_meanwhile(swept):
    with (
        held(swept.path),
        pytest.raises(RunFolderError, match="another sweep is going on"),
    ):
        run_sweep(CONFIG, swept.path)


def test_damaged_and_foreign_files_are_named(swept, tmp_path):
    with pytest.raises(RunFolderError, match=r"no sweep\.json: not a sweep"):
        read_sweep(tmp_path)
    config = replace(CONFIG, variants=VARIANTS[:1], seeds=(0,), epochs=1)
    file = tmp_path / "runs" / "full-seed0.json"
    run_sweep(config, tmp_path)
    whole = file.read_text()
    for text, words in (
        ("{", "is damaged: delete it"),
        (whole.replace('"auc"', '"auk"'), "does not describe a training"),
        (whole.replace('"finished_at"', '"ended"'), "no 'finished_at'"),
        ((swept.path / "runs" / "full-seed0.json").read_text(), "other settings"),
        (json.dumps({**json.loads(whole), "schema_version": 99}), "upgrade gnomon"),
    ):
        file.write_text(text)
        with pytest.raises((DataError, RunFolderError), match=words):
            read_sweep(tmp_path)


def test_figures_over_seeds_are_mean_deviation_and_students_interval():
    values = [0.81, 0.82, 0.84]
    found = spread(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert found.half_width == pytest.approx((high - low) / 2)
    assert spread([0.8]).half_width is None


def test_the_summary_is_computed_from_the_trainings(swept):
    summary = summarise(swept)
    robe = summary.variants[1]
    aucs = {
        run.seed: [e.auc for e in run.record.evaluations]
        for run in swept.runs
        if run.variant.name == "robe 2x"
    }
    means = np.mean(list(aucs.values()), axis=0)
    assert [found.mean for found in robe.by_epoch] == pytest.approx(means.tolist())
    assert robe.best_epoch == int(np.argmax(means)) + 1
    assert robe.best.mean == pytest.approx(means.max())
    full = summary.variants[0]
    assert robe.against_full.mean == pytest.approx(robe.best.mean - full.best.mean)
    assert full.against_full is None
    assert robe.compression == pytest.approx(2, rel=0.01)
    assert summary.surroundings == 1


def test_the_table_has_every_figure_and_gives_way_in_a_narrow_terminal(swept):
    wide = told(swept)
    for words in ("robe 8x", "AUC, epoch 2", "against full", "seeds", "best possible AUC"):
        assert words in wide
    assert "synthetic click log, not comparable with published results" in wide
    narrow = told(swept, 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "best AUC" in narrow
    assert "…" not in narrow


def test_times_to_target_stand_beside_how_many_seeds_reached_it(tmp_path):
    target = 0.7
    config = replace(CONFIG, variants=VARIANTS[:3:2], target=target, evaluate_every=4, epochs=3)
    state = run_sweep(config, tmp_path)
    column = next(c for c in sweep_columns(summarise(state)) if c.heading == "time to target")
    for cell, found in zip(column.cells, summarise(state).variants, strict=True):
        assert ("not reached" in cell) == (found.reached == 0)
        if found.reached == len(found.seeds):
            assert "seeds" not in cell
            assert found.time_to_target.mean < found.time_to_target_with_evaluation.mean
    assert "trainings stop at AUC 0.7" in told(state)
    write_sweep_report(state)


def test_the_page_stands_alone_and_the_figures_lie_beside_it(swept, tmp_path):
    page = write_sweep_report(swept, tmp_path).read_text()
    assert "default-src 'none'" in page
    assert "Plotly.newPlot" in page
    assert 'src="http' not in page
    assert "Synthetic click log, not comparable with published results." in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [entry["name"] for entry in summary["variants"]][:2] == ["full", "robe 2x"]
    compression = summary["figures"]["AUC against compression"]
    robe = next(trace for trace in compression["data"] if trace.get("name") == "robe")
    assert robe["y"] == pytest.approx(
        [entry.best.mean for entry in summarise(swept).variants[1:3]], abs=1e-6
    )
    assert robe["error_y"]["visible"]
    words = [note["text"] for note in compression["layout"]["annotations"]]
    assert any("full tables" in text for text in words)
    assert any("best possible (Bayes)" in text for text in words)
    rows = list(csv.DictReader((tmp_path / "auc.csv").read_text().splitlines()))
    assert len(rows) == 10 * 2
    assert float(rows[0]["auc"]) == swept.runs[0].record.evaluations[0].auc


def test_a_page_without_any_training_is_refused(swept, tmp_path):
    with pytest.raises(UsageError, match="nothing is finished"):
        write_sweep_report(replace(swept, runs=()), tmp_path)
    with pytest.raises(RunFolderError, match="cannot write"):
        write_sweep_report(swept, tmp_path / "missing")
