"""A saved model answers as the trained one does, from ONNX Runtime and NumPy alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from gnomon.core.errors import DataError, RunFolderError, SettingsError  # noqa: E402
from gnomon.embedding import lookup  # noqa: E402
from gnomon.recommend.config import DLRM_SMALL  # noqa: E402
from gnomon.recommend.export import load_model, save_model  # noqa: E402
from gnomon.recommend.recipe import TrainConfig, Variant  # noqa: E402
from gnomon.recommend.train import train  # noqa: E402
from tests.recommend.samples import MODEL, RECIPE, SOURCE  # noqa: E402

DATA = SOURCE.load()
CROSS = replace(MODEL, interaction="cross", cross_layers=2, cross_rank=3)
VARIANTS = {
    "full": Variant("full"),
    "robe": Variant("robe", 4),
    "signed": Variant("robe", 4, (("block", 4), ("sign", "element"))),
}


def trained(variant, model=MODEL):
    config = TrainConfig(model, variant, RECIPE, seed=1)
    return config, *train(config, DATA)


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def answers(saved, dense, ids):
    """Probabilities without PyTorch."""
    vector = session(saved.bottom).run(None, {"dense": dense})[0]
    rows = lookup(saved.array, saved.layout, ids)
    return session(saved.top).run(None, {"vector": vector, "rows": rows})[0], vector, rows


def expected(model, dense, ids):
    with torch.no_grad():
        return model.probability(torch.from_numpy(dense), torch.from_numpy(ids)).numpy()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("widths", [MODEL, CROSS], ids=["dot", "cross"])
def test_the_folder_answers_as_the_trained_model_does(variant, widths, tmp_path):
    config, model, record = trained(VARIANTS[variant], widths)
    saved = load_model(save_model(model, config, record, DATA, tmp_path / "model"))
    for count in (1, 3000):  # the batch axis is free
        dense, ids = DATA.held_out.dense[:count], DATA.held_out.ids[:count].astype(np.int64)
        found, vector, rows = answers(saved, dense, ids)
        assert found.shape == (count,)
        np.testing.assert_allclose(found, expected(model, dense, ids), atol=1e-5)
    with torch.no_grad():
        features = model.interact(torch.from_numpy(vector), torch.from_numpy(rows)).numpy()
    head = session(saved.head).run(None, {"features": features})[0]
    np.testing.assert_allclose(head, found, atol=1e-5)
    assert features.shape == (3000, widths.features)


def test_the_folder_tells_how_it_was_trained(tmp_path):
    config, model, record = trained(VARIANTS["robe"])
    folder = save_model(model, config, record, DATA, tmp_path / "model")
    told = json.loads((folder / "model.json").read_text())
    assert told["auc"] == record.evaluations[-1].auc
    assert told["training"]["seed"] == 1
    assert told["data"]["name"] == "synthetic click log, not comparable with published results"
    assert told["variant"] == {"kind": "robe", "compression": 4, "options": {}}
    assert load_model(folder).layout == model.embedding.layout
    assert load_model(folder).config == MODEL


@pytest.mark.parametrize(
    ("stored", "kind", "close"), [("float16", np.float32, 1e-3), ("bfloat16", np.uint16, 2e-2)]
)
def test_weights_in_sixteen_bits_cost_little(stored, kind, close, tmp_path):
    config, model, record = trained(VARIANTS["robe"])
    saved = load_model(save_model(model, config, record, DATA, tmp_path, stored=stored))
    assert saved.array.dtype == kind
    dense, ids = DATA.held_out.dense, DATA.held_out.ids.astype(np.int64)
    found, *_ = answers(saved, dense, ids)
    np.testing.assert_allclose(found, expected(model, dense, ids), atol=close)


def test_rows_that_were_never_seen_become_zero_and_no_others(tmp_path):
    config, model, record = trained(VARIANTS["full"])
    saved = load_model(save_model(model, config, record, DATA, tmp_path, zero_unseen=True))
    rows = saved.array.reshape(-1, MODEL.dim)
    seen = np.unique(DATA.train.ids + saved.layout.first_rows[:-1])
    zero = np.flatnonzero(~rows.any(axis=1))
    assert len(seen) < len(rows)
    assert np.array_equal(zero, np.setdiff1d(np.arange(len(rows)), seen))
    assert saved.description["zero_unseen"]


def test_a_model_folder_is_read_without_pytorch_and_without_onnx(tmp_path):
    config, model, record = trained(VARIANTS["robe"])
    folder = save_model(model, config, record, DATA, tmp_path / "model")
    program = (
        "import sys; sys.modules.update(torch=None, onnx=None)\n"
        "from gnomon.recommend.export import load_model\n"
        "print(load_model(sys.argv[1]).array.size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(model.embedding.weight_count), done.stderr


def test_training_without_pytorch_is_refused_in_one_line():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from gnomon.core.errors import MissingExtraError\n"
        "import gnomon.recommend\n"
        "try:\n    import gnomon.recommend.train\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "needs torch: pip install 'gnomon[train]'" in done.stdout, done.stderr


def test_what_cannot_be_saved_or_read_is_told_in_one_line(tmp_path):
    config, model, record = trained(VARIANTS["robe"])
    other = replace(config, variant=Variant("qr", 4))
    with pytest.raises(SettingsError, match="only full and robe can be saved"):
        save_model(model, other, record, DATA, tmp_path)
    with pytest.raises(SettingsError, match="stored must be float32"):
        save_model(model, config, record, DATA, tmp_path, stored="int4")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write"):
        save_model(model, config, record, DATA, tmp_path / "file")
    with pytest.raises(DataError, match=r"not a model folder: no model\.json"):
        load_model(tmp_path)
    folder = save_model(model, config, record, DATA, tmp_path / "model")
    with np.load(folder / "embedding.npz") as held:
        np.savez(folder / "embedding.npz", array=held["array"][1:])
    with pytest.raises(DataError, match="its layout has"):
        load_model(folder)
    (folder / "model.json").write_text("{}")
    with pytest.raises(DataError, match="is damaged"):
        load_model(folder)


def test_the_small_models_graphs_are_small(tmp_path):
    model_config = replace(DLRM_SMALL, tables=3)
    config, model, record = trained(VARIANTS["robe"], model_config)
    folder = save_model(model, config, record, DATA, tmp_path)
    total = sum((folder / name).stat().st_size for name in ("bottom.onnx", "top.onnx"))
    assert total < 6 * model_config.parameters
