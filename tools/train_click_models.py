"""Train the click models that ship: full tables and ROBE at 10, 100 and 1000 times fewer weights.

    pip install '.[train]' && python tools/train_click_models.py --out click-models

All learn the first million rows of the default synthetic click log. How many passes each takes was chosen
by `gnomon recommend sweep` on the next 200,000 rows (full tables overfit after one); the AUC printed is on
the rows that the benchmark measures, which nothing was chosen by. It is that of the saved folder: ONNX
Runtime and the embedding kernels, weights as stored. Full tables are stored as float16 with the rows zeroed
that training never saw, so that they stay small.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import numpy as np
import onnxruntime

from gnomon.core.units import format_bytes
from gnomon.embedding import lookup
from gnomon.recommend.config import DLRM_SMALL
from gnomon.recommend.data import SyntheticClicks
from gnomon.recommend.export import EMBEDDING_FILE, SavedModel, Stored, load_model, save_model
from gnomon.recommend.recipe import TrainConfig, Variant
from gnomon.recommend.train import train
from gnomon.tasks.clicks import ClickLog, roc_auc
from gnomon.tasks.clicks.task import FIRST_HELD_OUT, HELD_OUT

TRAIN_ROWS = 1_000_000
CHOSEN_ON = 200_000
SEED = 0
MODELS: tuple[tuple[Variant, int, Stored], ...] = (
    (Variant("robe", 1000), 3, "float32"),
    (Variant("robe", 100), 3, "float32"),
    (Variant("robe", 10), 2, "float32"),
    (Variant("full"), 1, "float16"),
)
"""Embedding, passes, type of its weights on disk."""


def probabilities(saved: SavedModel, log: ClickLog, start: int, stop: int) -> np.ndarray:
    """What a saved model answers for these rows, without PyTorch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bottom, top = (
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for path in (saved.bottom, saved.top)
    )
    found = []
    for batch in log.batches(start, stop, 8192):
        vector = bottom.run(None, {"dense": batch.dense})[0]
        rows = lookup(saved.array, saved.layout, batch.ids, threads=1)
        found.append(top.run(None, {"vector": vector, "rows": rows})[0])
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("click-models"))
    parser.add_argument("--rows", type=int, default=TRAIN_ROWS, help="fewer for a try")
    arguments = parser.parse_args()

    source = SyntheticClicks(arguments.rows, CHOSEN_ON)
    log = source.log
    start, stop = FIRST_HELD_OUT, FIRST_HELD_OUT + HELD_OUT
    labels = log.generate(start, stop).labels
    data = source.load()
    print(f"best possible AUC on rows {start:,} to {stop:,}: {log.bayes_auc(start, stop):.6f}")
    for variant, epochs, stored in MODELS:
        began = time.perf_counter()
        config = TrainConfig(DLRM_SMALL, variant, epochs=epochs, seed=SEED)
        model, record = train(config, data)
        name = "dlrm-full" if variant.kind == "full" else f"dlrm-robe-{variant.compression:g}x"
        folder = save_model(
            model, config, record, data, arguments.out / name, stored=stored, zero_unseen=True
        )
        saved = load_model(folder)
        auc = roc_auc(probabilities(saved, log, start, stop), labels)
        size = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
        seconds = time.perf_counter() - began
        print(
            f"{name:16} AUC {auc:.6f}  embedding {format_bytes(size[EMBEDDING_FILE]):>9}  "
            f"folder {format_bytes(sum(size.values())):>9}  {seconds:.0f} s"
        )
        for file in [*sorted(folder.glob("*.onnx")), folder / EMBEDDING_FILE]:
            print(f"    {hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}")


if __name__ == "__main__":
    main()
