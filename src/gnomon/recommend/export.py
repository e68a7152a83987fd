"""A trained model as a folder that can be served without PyTorch.

    model.json        widths, embedding, schema, training, data, AUC
    bottom.onnx       dense (n, dense) -> vector (n, dim)
    top.onnx          vector (n, dim), rows (n, tables, dim) -> probability (n,)
    head.onnx         features (n, features), after the interaction -> probability (n,)
    embedding.npz     the embedding's weights

`array` (size,) and the layout in `model.json` are what `gnomon.embedding.lookup` takes, for ROBE and for full
tables alike. float16 is widened on reading; bfloat16 is kept, as uint16.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import (
    DataError,
    MissingExtraError,
    RunFolderError,
    SettingsError,
    described,
)
from gnomon.core.files import write_atomically
from gnomon.embedding import RobeLayout
from gnomon.embedding.bfloat16 import as_bfloat16
from gnomon.recommend.config import DlrmConfig
from gnomon.recommend.graphs import bottom_graph, head_graph, top_graph

if TYPE_CHECKING:
    from gnomon.recommend.data import ClickData
    from gnomon.recommend.model import Dlrm
    from gnomon.recommend.recipe import TrainConfig, Variant
    from gnomon.recommend.record import TrainRecord

SCHEMA_VERSION = 1
MODEL_FILE = "model.json"
EMBEDDING_FILE = "embedding.npz"
GRAPH_FILES = ("bottom.onnx", "top.onnx", "head.onnx")
SAVED_METHODS = ("full", "robe")
Stored = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class SavedModel:
    """A model folder, read: no PyTorch, no ONNX session yet.

    Attributes:
        path: The folder.
        config: Widths.
        layout: Where each embedding weight lies in `array`.
        array: The embedding's weights, float32 (size,), or uint16 (size,) that holds bfloat16.
        hotness: Lookups of each table.
        description: All of `model.json`.
    """

    path: Path
    config: DlrmConfig
    layout: RobeLayout
    array: NDArray[np.float32] | NDArray[np.uint16]
    hotness: tuple[int, ...]
    description: dict[str, Any]

    @property
    def bottom(self) -> Path:
        """From `dense` to `vector`."""
        return self.path / "bottom.onnx"

    @property
    def top(self) -> Path:
        """From `vector` and `rows` to `probability`."""
        return self.path / "top.onnx"

    @property
    def head(self) -> Path:
        """From `features` to `probability`."""
        return self.path / "head.onnx"


def save_model(
    model: Dlrm,
    config: TrainConfig,
    record: TrainRecord,
    data: ClickData,
    folder: Path | str,
    *,
    stored: Stored = "float32",
    zero_unseen: bool = False,
) -> Path:
    """Write a trained model as a folder.

    Args:
        model: Trained; its embedding is full tables or ROBE.
        config: How it was trained.
        record: What came of that.
        data: What it was trained on.
        folder: Where to; made if it is not there.
        stored: Type of the embedding's weights on disk.
        zero_unseen: Full tables: rows that training never saw become zero, which makes the file small: such
            a row still holds its random beginning. Tables of one-hot ids only.

    Returns:
        The folder.

    Raises:
        SettingsError: An embedding of another method, or an unknown type.
        RunFolderError: A file cannot be written.
        MissingExtraError: The package `onnx` is missing.
    """
    check_saved(config.variant, stored)
    from gnomon.recommend.train import weights_of

    weights = weights_of(model)
    layout, array = _embedding(model, weights)
    if zero_unseen and config.variant.kind == "full":
        array = _without_unseen(array, layout, data)
    settings = config.as_dict()
    description = {
        "schema_version": SCHEMA_VERSION,
        "model": config.model.as_dict(),
        "layout": layout.as_dict(),
        "stored": stored,
        "zero_unseen": zero_unseen and config.variant.kind == "full",
        "hotness": list(data.schema.hotness),
        "variant": config.variant.as_dict(),
        "training": {name: settings[name] for name in ("recipe", "epochs", "seed", "threads")},
        "data": data.source,
        "auc": record.evaluations[-1].auc,
        "record": record.as_dict(),
    }
    files: dict[str, bytes] = {
        "bottom.onnx": bottom_graph(config.model, weights).SerializeToString(),
        "top.onnx": top_graph(config.model, weights).SerializeToString(),
        "head.onnx": head_graph(config.model, weights).SerializeToString(),
        EMBEDDING_FILE: _npz(array, stored),
        MODEL_FILE: (json.dumps(description, indent=1) + "\n").encode(),
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise RunFolderError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def check_saved(variant: Variant, stored: str) -> Stored:
    """What can be saved, asked before hours of training; the type of the weights on disk.

    Raises:
        SettingsError: An embedding of another method, or an unknown type.
        MissingExtraError: The package `onnx` is missing.
    """
    if variant.kind not in SAVED_METHODS:
        raise SettingsError(
            f"only {' and '.join(SAVED_METHODS)} can be saved for inference, not {variant.kind}"
        )
    if stored not in get_args(Stored):
        raise SettingsError(f"stored must be {', '.join(get_args(Stored))}, got {stored!r}")
    if find_spec("onnx") is None:
        raise MissingExtraError("onnx", "train", "saving a model for inference")
    return cast("Stored", stored)


def load_model(folder: Path | str) -> SavedModel:
    """Read a model folder.

    Raises:
        DataError: A file is missing or damaged, or the array is not of the layout.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        # Opened here: of a file that is no archive, np.load would leave it open.
        with (
            (folder / EMBEDDING_FILE).open("rb") as file,
            np.load(file, allow_pickle=False) as held,
        ):
            array = held["array"]
        config = DlrmConfig.from_dict(description["model"])
        layout = RobeLayout.from_dict(description["layout"])
        hotness = tuple(description["hotness"])
    except FileNotFoundError as error:
        raise DataError(f"{folder} is not a model folder: no {Path(error.filename).name}") from None
    except Exception as error:  # zipfile, zlib and NumPy raise all sorts over damaged bytes
        raise DataError(
            f"{folder} is damaged ({described(error)}): train the model again"
        ) from None
    for name in GRAPH_FILES:
        if not (folder / name).is_file():
            raise DataError(f"{folder} is not a model folder: no {name}")
    if (config.tables, config.dim, len(hotness)) != (layout.tables, layout.dim, layout.tables):
        raise DataError(
            f"{folder} is damaged (widths, layout and hotness are of different models): train the "
            f"model again"
        )
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.shape != (layout.size,) or array.dtype not in (np.float32, np.uint16):
        raise DataError(
            f"{folder / EMBEDDING_FILE} holds {array.dtype} {array.shape}, its layout has "
            f"{layout.size} weights: train the model again"
        )
    return SavedModel(folder, config, layout, array, hotness, description)


def _embedding(
    model: Dlrm, weights: dict[str, NDArray[np.float32]]
) -> tuple[RobeLayout, NDArray[np.float32]]:
    """Where the weights lie, and the weights: full tables row after row, ROBE's array as it is."""
    embedding: Any = model.embedding
    layout = getattr(embedding, "layout", None)
    if layout is not None:
        return layout, weights["embedding.weight"]
    tables = [weights[f"embedding.bags.{table}.weight"] for table in range(len(embedding.rows))]
    return RobeLayout.full(embedding.rows, embedding.dim), np.concatenate(tables).reshape(-1)


def _without_unseen(
    array: NDArray[np.float32], layout: RobeLayout, data: ClickData
) -> NDArray[np.float32]:
    seen = np.zeros(layout.total_rows, dtype=bool)
    first = np.repeat(layout.first_rows[:-1], data.schema.hotness)
    seen[(data.train.ids + first).reshape(-1)] = True
    return np.where(seen[:, None], array.reshape(-1, layout.dim), np.float32(0)).reshape(-1)


def _npz(array: NDArray[np.float32], stored: Stored) -> bytes:
    narrow: NDArray[Any] = array
    if stored == "bfloat16":
        narrow = as_bfloat16(array)
    elif stored == "float16":
        narrow = array.astype(np.float16)
    file = io.BytesIO()
    np.savez_compressed(file, array=narrow)
    return file.getvalue()
