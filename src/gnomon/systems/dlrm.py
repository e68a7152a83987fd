"""DLRM without PyTorch: ONNX Runtime for the MLPs, our kernels for the lookup and the interaction.

A query's impressions go through four stages: bottom MLP, embedding lookup, interaction, top MLP. Full tables
and ROBE arrays go through the same lookup kernel, so that they differ in nothing but where weights lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.embedding import RobeLayout, allocate, compiled, dot_interaction, lookup
from gnomon.loadgen.system import InputTable, SynchronousSystem
from gnomon.recommend.export import SavedModel, load_model

SHIPPED = Path(__file__).parent.parent / "data"
SEVERITY_ERROR = 3
WARM_UP_CALLS = 10
DEFAULT_BATCH_SIZE = 128
DEFAULT_COMPRESSION = 100
Rows = NDArray[np.int32]


class DlrmSystem(SynchronousSystem):
    """A deep learning recommendation model in this process."""

    name = "dlrm"

    def __init__(
        self,
        *,
        embedding: str | None = None,
        compression: int | None = None,
        model: Path | str | SavedModel | None = None,
        threads: int = 1,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Describe the model; it is read when the task is known.

        Args:
            embedding: "robe" (the default), or "full" for tables that are not compressed.
            compression: Which of the shipped ROBE models: how many times smaller than the full tables;
                100 unless given.
            model: A folder that `gnomon recommend train` wrote, in place of a shipped one.
            threads: Threads within one call.
            batch_size: The most samples in one call.

        Raises:
            SettingsError: A value is out of range, or no such model ships.
        """
        for name, value in (("threads", threads), ("batch_size", batch_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}")
        if model is not None and (embedding, compression) != (None, None):
            raise SettingsError(
                "a model of your own has its embedding: leave embedding and compression out"
            )
        self.max_batch_size = batch_size
        self._threads = threads
        self._model = _shipped(embedding, compression) if model is None else model
        self._saved: SavedModel | None = None

    def describe(self) -> dict[str, Any]:
        """Embedding, its size, versions and threads."""
        described: dict[str, Any] = {
            "onnxruntime": onnxruntime.__version__,
            "kernels": compiled() or "numpy",
            "threads": self._threads,
            "batch_size": self.max_batch_size,
        }
        if self._saved is not None:
            layout = self._saved.layout
            described |= {
                "model": self._saved.path.name,
                "model_sha256": self._digest,
                "embedding": "full" if layout.hash == "identity" else "robe",
                "compression": round(layout.compression, 2),
                "embedding_bytes": int(self._array.nbytes),
                "layout": layout.as_dict(),
                "trained_auc": self._saved.description.get("auc"),
            }
        return described

    def load(self, task: Task, samples: IndexArray) -> None:
        """Read the model on the first call, look up the inputs, warm up."""
        if self._saved is None:
            model = self._model
            self._saved = model if isinstance(model, SavedModel) else load_model(model)
            self._prepare(self._saved)
        self._inputs = InputTable(task, samples)
        self._require_fit(task, self._inputs[samples[:1]])
        for size in {1, min(self.max_batch_size, len(samples))}:
            for _ in range(WARM_UP_CALLS):
                self.predict(samples[:size])

    def predict(self, samples: IndexArray) -> Outputs:
        """Probabilities of a click, float32 (n,)."""
        if self._saved is None:
            raise SettingsError("system 'dlrm' was asked for answers before it was loaded")
        batch = self._inputs[samples]
        return self._forward(np.ascontiguousarray(batch["dense"]), batch["ids"])

    def close(self) -> None:
        """Let go of sessions and weights."""
        self._saved = None
        for held in ("_array", "_forward", "_inputs"):
            self.__dict__.pop(held, None)

    def _prepare(self, saved: SavedModel) -> None:
        # Huge pages: a row that is read at random would else miss the TLB.
        if saved.array.dtype == np.float32:
            self._array: Any = allocate(saved.layout.size)
            self._array[...] = saved.array
        else:
            self._array = saved.array
        self._digest = _digest(saved)
        self._forward = self._stages(saved)

    def _stages(self, saved: SavedModel) -> Callable[[NDArray[np.float32], Rows], Outputs]:
        layout, array, threads = saved.layout, self._array, self._threads
        bags = _Bags(layout, saved.hotness)
        bottom = self._session(saved.bottom)
        dotted = saved.config.interaction == "dot"
        rest = self._session(saved.head if dotted else saved.top)

        def forward(dense: NDArray[np.float32], ids: Rows) -> Outputs:
            vector = bottom.run(None, {"dense": dense})[0]
            rows = lookup(array, layout, *bags.of(ids), threads=threads)
            if dotted:
                features = dot_interaction(vector, rows, threads=threads)
                found = rest.run(None, {"features": features})[0]
            else:
                found = rest.run(None, {"vector": vector, "rows": rows})[0]
            outputs: Outputs = found
            return outputs

        return forward

    def _session(self, path: Path) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Between its two graphs our kernels need the cores that its threads would spin on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = SEVERITY_ERROR
        try:
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise DataError(
                f"{path} cannot be loaded by ONNX Runtime {onnxruntime.__version__}: {described(error)}"
            ) from None

    def _require_fit(self, task: Task, batch: Any) -> None:
        """Refuse a task that the model was not made for, before the clock starts."""
        assert self._saved is not None
        rows = getattr(task, "rows", None)
        named = getattr(getattr(batch, "dtype", None), "names", None) or ()
        if rows is None or not {"dense", "ids"} <= set(named):
            raise DataError(
                f"system 'dlrm' takes records of dense features and ids, which task {task.name!r} does "
                f"not give: use a click task"
            )
        if tuple(rows) != self._saved.layout.rows:
            raise DataError(
                f"the model's {self._saved.layout.tables} tables have "
                f"{self._saved.layout.total_rows:,} rows, those of task {task.name!r} "
                f"{sum(rows):,}: give the model that was trained on this log with --model"
            )
        hotness, lookups = self._saved.hotness, batch["ids"].shape[1]
        if (
            lookups != sum(hotness)
            or getattr(getattr(task, "schema", None), "hotness", hotness) != hotness
        ):
            raise DataError(
                f"the model makes {sum(hotness)} lookups an impression, {hotness} a table; task "
                f"{task.name!r} gives {lookups} ids: give the model that was trained on this log with "
                f"--model"
            )


def _digest(saved: SavedModel) -> str:
    """Fingerprint of everything that decides the answers."""
    digest = hashlib.sha256(np.ascontiguousarray(saved.array).data)
    digest.update(json.dumps(saved.layout.as_dict()).encode())
    for path in (saved.bottom, saved.top, saved.head):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Bags:
    """Ids side by side, as they lie in an impression, as bags: in place if every table has one lookup."""

    def __init__(self, layout: RobeLayout, hotness: tuple[int, ...]) -> None:
        self._hotness = np.array(hotness)
        self._one_hot = bool((self._hotness == 1).all())
        self._tables = layout.tables

    def of(self, ids: Rows) -> tuple[Rows, NDArray[np.int64] | None]:
        """Indices and offsets as `lookup` takes them."""
        if self._one_hot:
            return ids, None
        batch = len(ids)
        ends = np.cumsum(self._hotness)
        flat = np.concatenate(
            [
                ids[:, end - count : end].reshape(-1)
                for end, count in zip(ends, self._hotness, strict=True)
            ]
        )
        lengths = np.repeat(self._hotness, batch)
        return flat, np.concatenate([[0], np.cumsum(lengths)])


def _shipped(embedding: str | None, compression: int | None) -> Path:
    """The folder of a model that ships.

    Raises:
        SettingsError: There is none of this embedding or compression.
    """
    if embedding not in (None, "robe", "full"):
        raise SettingsError(f"embedding must be robe or full, got {embedding!r}")
    if embedding == "full":
        if compression not in (None, 1):
            raise SettingsError(f"full tables are not compressed, got compression {compression!r}")
        return SHIPPED / "dlrm-full"
    folder = SHIPPED / f"dlrm-robe-{DEFAULT_COMPRESSION if compression is None else compression}x"
    if not folder.is_dir():
        known = sorted(
            int(path.name.removeprefix("dlrm-robe-").removesuffix("x"))
            for path in SHIPPED.glob("dlrm-robe-*x")
        )
        raise SettingsError(
            f"no ROBE model of compression {compression!r} ships: choose from "
            f"{', '.join(map(str, known))}, or train one with `gnomon recommend train` and give its "
            f"folder with --model"
        )
    return folder
