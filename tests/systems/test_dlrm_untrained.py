"""The untrained DLRM: MLPerf's widths over tables of any size, and what does not fit is said beforehand."""

import inspect
import tempfile

import numpy as np
import psutil
import pytest

import gnomon
from gnomon.core.errors import GnomonError, SettingsError
from gnomon.core.run import Run, find_runs
from gnomon.core.task import DataSource, Task
from gnomon.recommend.config import DLRM_V1, DLRM_V2
from gnomon.systems.dlrm_untrained import PUBLISHED_WEIGHTS, UntrainedDlrm
from gnomon.tasks.clicks import MLPERF_V2_HOTNESS, ClickBatch, ClickSchema
from gnomon.tasks.clicks.sized import CriteoSized
from gnomon.tasks.clicks.task import Clicks, impressions
from gnomon.tasks.digits import Digits

pytest.importorskip("onnx")

ROWS = tuple(20 + 3 * table for table in range(26))
EVERY = np.arange(64)


class FewRows(Task):
    """26 tables of a few rows each: DLRM's own widths without its memory."""

    name = "few-rows"
    metric = "AUC"

    def __init__(self, hotness=()):
        self.schema = ClickSchema(ROWS, hotness)
        rng = np.random.default_rng(3)
        each = zip(self.schema.rows, self.schema.hotness, strict=True)
        ids = np.concatenate([rng.integers(0, rows, (64, hot)) for rows, hot in each], axis=1)
        dense = rng.standard_normal((64, 13)).astype(np.float32)
        self.records = impressions(ClickBatch(dense, ids, np.zeros(64, np.float32)))

    @property
    def rows(self):
        return self.schema.rows

    def __len__(self):
        return 64

    def source(self):
        return DataSource("random impressions", official=False, sha256="-")

    def inputs(self, samples):
        return self.records[samples]

    def score(self, samples, outputs):
        return 0.5


def loaded(task, **options):
    system = UntrainedDlrm(**options)
    try:
        system.load(task, EVERY)
    except GnomonError:
        system.close()
        raise
    return system


def free_memory(monkeypatch, available):
    memory = psutil.virtual_memory()._replace(available=available)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


@pytest.mark.parametrize(
    ("hotness", "widths"), [((), DLRM_V1), (MLPERF_V2_HOTNESS, DLRM_V2)], ids=["v1", "v2"]
)
def test_the_number_of_lookups_decides_which_of_mlperfs_models_it_is(hotness, widths):
    system = loaded(FewRows(hotness), weights=100_000)
    assert system._saved.config == widths
    found = system.predict(EVERY)
    assert (found.dtype, found.shape) == (np.float32, (64,))
    assert ((found > 0) & (found < 1)).all()
    assert len(np.unique(found)) > 32
    alone = np.concatenate([system.predict(EVERY[place : place + 1]) for place in (0, 40)])
    np.testing.assert_allclose(alone, found[[0, 40]], rtol=1e-4)
    system.close()


def test_it_answers_the_same_each_time_it_is_made():
    one, other = (loaded(FewRows(), weights=50_000) for _ in range(2))
    np.testing.assert_array_equal(one.predict(EVERY), other.predict(EVERY))
    assert one.describe()["model_sha256"] == other.describe()["model_sha256"]
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("options", "kind", "weights", "block"),
    [
        ({"weights": 5000}, "robe", 5000, 128),
        ({"compression": 10}, "robe", sum(ROWS) * 128 // 10, 128),
        ({"weights": 5000, "block": 16}, "robe", 5000, 16),
        ({"embedding": "full"}, "full", sum(ROWS) * 128, 128),
    ],
    ids=str,
)
def test_the_embedding_is_as_large_as_was_asked_for(options, kind, weights, block):
    system = loaded(FewRows(), **options)
    said = system.describe()
    system.close()
    assert (said["embedding"], said["embedding_bytes"]) == (kind, 4 * weights)
    assert (said["layout"]["size"], said["layout"]["block"]) == (weights, block)
    assert said["compression"] == pytest.approx(sum(ROWS) * 128 / weights, abs=0.01)
    assert said["trained_auc"] is None


def test_unless_told_otherwise_it_has_the_published_array():
    assert PUBLISHED_WEIGHTS * 4 == 108_000_000
    assert inspect.signature(UntrainedDlrm).parameters["weights"].default == PUBLISHED_WEIGHTS


def test_it_is_loaded_again_without_being_made_again_and_leaves_no_files():
    system = loaded(FewRows(), weights=5000)
    made, folder = system._saved, system._saved.path
    system.load(FewRows(), EVERY[:5])
    assert system._saved is made
    assert folder.is_dir()
    system.close()
    assert not folder.exists()
    system.close()  # a second time does no harm


def one_line(caught):
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def test_full_tables_of_criteos_sizes_are_refused_where_memory_is_short(monkeypatch, tmp_path):
    free_memory(monkeypatch, 64 << 30)
    with pytest.raises(SettingsError, match="use embedding=robe") as caught:
        gnomon.run(
            "dlrm-criteo-sized",
            system_options={"embedding": "full"},
            quick=True,
            out=tmp_path,
        )
    message = one_line(caught)
    assert "204,184,588 rows by 128 need 97.4 GiB, and 64.0 GiB are free" in message
    (left,) = find_runs(tmp_path)
    assert Run.open(left).status == "aborted"


def test_an_array_that_does_not_fit_is_refused_too(monkeypatch):
    free_memory(monkeypatch, 50_000)
    with pytest.raises(SettingsError, match="embeddings of 1,495 rows by 128 need") as caught:
        loaded(FewRows(), weights=25_000)
    assert "97.7 KiB, and 48.8 KiB are free" in one_line(caught)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"embedding": "hashed"}, "embedding must be robe or full, got 'hashed'"),
        ({"weights": 0}, "size must be a whole number of at least 1, got 0"),
        ({"weights": "many"}, "size must be a whole number of at least 1, got 'many'"),
        ({"compression": 0.5}, "compression must be at least 1, got 0.5"),
        ({"weights": 100}, "size 100 is below block 128"),
        # Fails until 0 is told from no block given.
        ({"weights": 5000, "block": 0}, "block must be a whole number of at least 1, got 0"),
        # Fails until what contradicts itself is refused, as `DlrmSystem` does.
        ({"embedding": "full", "compression": 10}, "full tables are not compressed"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused_in_one_line(options, words):
    with pytest.raises(SettingsError, match=words) as caught:
        loaded(FewRows(), **options).close()
    one_line(caught)


# Fails until the folder is made after the options were looked at: it is left to the garbage collector, which
# warns of it.
def test_refused_options_leave_no_folder_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SettingsError, match="threads must be a whole number of at least 1, got 0"):
        UntrainedDlrm(threads=0)
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_has_no_tables_is_refused():
    with pytest.raises(
        GnomonError, match="task that knows its tables, which 'digits' does not"
    ) as (caught):
        loaded(Digits())
    one_line(caught)


# Fails until `Clicks` has a `schema` beside its `rows`: it is refused for not knowing its tables.
def test_the_synthetic_log_is_a_task_like_any_other_click_task():
    system = loaded(Clicks(count=64), weights=50_000)
    assert len(system.predict(EVERY)) == 64
    system.close()


def test_criteos_sizes_are_served_from_an_array_of_megabytes():
    task = CriteoSized()
    system = UntrainedDlrm(weights=1_000_000)
    system.load(task, EVERY)
    assert len(system.predict(EVERY)) == 64
    assert system.describe()["compression"] == pytest.approx(
        204_184_588 * 128 / 1_000_000, abs=0.01
    )
    system.close()
