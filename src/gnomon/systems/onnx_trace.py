"""What ONNX Runtime's kernels compute in, told by its own trace of one call.

The file does not tell: where a processor has no kernels for half precision, the operators are given casts and
run in single; and a quantised model only runs in 8 bits where its operators were fused.
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
CPU = "CPUExecutionProvider"


class KernelTrace:
    """A trace of a session from its making to `precision`, which ends it: later calls run untraced."""

    def __init__(self, options: onnxruntime.SessionOptions) -> None:
        """Have the session that is made with these options traced.

        Raises:
            OSError: There is no room for a trace.
        """
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


def traced(options: onnxruntime.SessionOptions) -> KernelTrace | None:
    """A trace of the session that is made with these options, or None where there is no room for one."""
    try:
        return KernelTrace(options)
    except OSError:
        return None


def precision_in(events: Iterable[dict[str, Any]]) -> str:
    """The precisions of the kernels that matter, in words; empty unless all ran on the CPU's own.

    Parts of the graph that another execution provider compiled for itself tell nothing, and what was left
    to the CPU would then speak for all; and a GPU may round float32 to less than that as it multiplies.

    Args:
        events: Of the trace, in Chrome's format.
    """
    told = []
    for event in events:
        args = event.get("args", {})
        operator, types = args.get("op_name"), args.get("input_type_shape")
        if not operator or not event["name"].endswith(KERNEL_TIME):
            continue
        if args.get("provider") != CPU:
            return ""
        if operator in COMPUTE_OPERATORS and types:
            given = next(iter(types[0]))
            in_bytes = operator.startswith(QUANTISES_ITSELF)
            told.append("int8" if in_bytes else PRECISION_NAMES.get(given, given))
    return over_layers(told)
