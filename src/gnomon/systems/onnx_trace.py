"""What ONNX Runtime's kernels compute in, told by its own trace of one call.

The file does not tell: a processor without kernels for half precision gets casts around each operator, and a
quantised model only runs in 8 bits where its operators were fused.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime

from gnomon.systems.executed import over_layers

COMPUTE_OPERATORS = {
    *("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "ConvInteger", "QLinearConv"),
    *("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger"),
    *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "LSTM", "GRU"),
    *("Attention", "MultiHeadAttention", "QAttention"),
}
"""Of the graph that runs: those that arithmetic is spent in."""
QUANTISES_ITSELF = "DynamicQuantize"
"""Operators whose names begin so take floats and multiply bytes."""
PRECISION_NAMES = {
    "float": "fp32",
    "double": "fp64",
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
    "uint8": "int8",
}
KERNEL_TIME = "_kernel_time"


class KernelTrace:
    """A trace of a session from its making to `precision`, which ends it: later calls run untraced."""

    def __init__(self, options: onnxruntime.SessionOptions) -> None:
        """Have the session that is made with these options traced."""
        folder = tempfile.mkdtemp(prefix="gnomon-trace-")
        # Also where the model turns out not to fit, and nobody asks for the trace.
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")

    def precision(self, session: onnxruntime.InferenceSession) -> str:
        """What the calls so far were computed in; empty if the trace does not tell or cannot be read."""
        try:
            return precision_in(json.loads(Path(session.end_profiling()).read_bytes()))
        except (OSError, ValueError):  # no room for it
            return ""
        finally:
            self._remove()


def precision_in(events: Iterable[dict[str, Any]]) -> str:
    """The precisions of the kernels that matter, in words.

    Parts of the graph that an execution provider compiled for itself tell nothing.

    Args:
        events: Of the trace, in Chrome's format.
    """
    told = []
    for event in events:
        args = event.get("args", {})
        operator, types = args.get("op_name"), args.get("input_type_shape")
        if operator in COMPUTE_OPERATORS and types and event["name"].endswith(KERNEL_TIME):
            given = next(iter(types[0]))
            in_bytes = operator.startswith(QUANTISES_ITSELF)
            told.append("int8" if in_bytes else PRECISION_NAMES.get(given, given))
    return over_layers(told)
