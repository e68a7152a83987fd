"""Gnomon: one instrument for measuring machine-learning systems fairly.

import gnomon

run = gnomon.run("digits", system="onnx", scenario="server", target_qps=2000)
run.verdict.valid, run.result["server"], run.samples["server"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gnomon.core.version import __version__

if TYPE_CHECKING:
    from gnomon.core.errors import (
        BuildError,
        ConfigError,
        DataError,
        GnomonError,
        GnomonWarning,
        MissingExtraError,
        MissingToolError,
        RunFolderError,
        SettingsError,
        SystemFault,
        UnknownNameError,
        UsageError,
    )
    from gnomon.core.execute import resume, run
    from gnomon.core.run import Run
    from gnomon.core.spec import Benchmark, QualityTarget
    from gnomon.core.task import DataSource, Task
    from gnomon.core.verdict import Check, Verdict
    from gnomon.device.conversation import BoardSilentError
    from gnomon.device.wire import ProtocolError
    from gnomon.firmware.graph import UnsupportedOperatorError
    from gnomon.loadgen.system import (
        AsynchronousSystem,
        CallableSystem,
        InputTable,
        Query,
        SynchronousSystem,
        System,
    )
    from gnomon.results.check import check
    from gnomon.results.compare import compare
    from gnomon.results.locate import load
    from gnomon.results.report import write_report

# Where each public name lives: imported when it is first used, so that `import gnomon` is quick.
_HOMES = {
    "AsynchronousSystem": "gnomon.loadgen.system",
    "Benchmark": "gnomon.core.spec",
    "BoardSilentError": "gnomon.device.conversation",
    "BuildError": "gnomon.core.errors",
    "CallableSystem": "gnomon.loadgen.system",
    "Check": "gnomon.core.verdict",
    "ConfigError": "gnomon.core.errors",
    "DataError": "gnomon.core.errors",
    "DataSource": "gnomon.core.task",
    "GnomonError": "gnomon.core.errors",
    "GnomonWarning": "gnomon.core.errors",
    "InputTable": "gnomon.loadgen.system",
    "MissingExtraError": "gnomon.core.errors",
    "MissingToolError": "gnomon.core.errors",
    "ProtocolError": "gnomon.device.wire",
    "QualityTarget": "gnomon.core.spec",
    "Query": "gnomon.loadgen.system",
    "Run": "gnomon.core.run",
    "RunFolderError": "gnomon.core.errors",
    "SettingsError": "gnomon.core.errors",
    "SynchronousSystem": "gnomon.loadgen.system",
    "System": "gnomon.loadgen.system",
    "SystemFault": "gnomon.core.errors",
    "Task": "gnomon.core.task",
    "UnknownNameError": "gnomon.core.errors",
    "UnsupportedOperatorError": "gnomon.firmware.graph",
    "UsageError": "gnomon.core.errors",
    "Verdict": "gnomon.core.verdict",
    "check": "gnomon.results.check",
    "compare": "gnomon.results.compare",
    "load": "gnomon.results.locate",
    "resume": "gnomon.core.execute",
    "run": "gnomon.core.execute",
    "write_report": "gnomon.results.report",
}

__all__ = [
    "AsynchronousSystem",
    "Benchmark",
    "BoardSilentError",
    "BuildError",
    "CallableSystem",
    "Check",
    "ConfigError",
    "DataError",
    "DataSource",
    "GnomonError",
    "GnomonWarning",
    "InputTable",
    "MissingExtraError",
    "MissingToolError",
    "ProtocolError",
    "QualityTarget",
    "Query",
    "Run",
    "RunFolderError",
    "SettingsError",
    "SynchronousSystem",
    "System",
    "SystemFault",
    "Task",
    "UnknownNameError",
    "UnsupportedOperatorError",
    "UsageError",
    "Verdict",
    "__version__",
    "check",
    "compare",
    "load",
    "resume",
    "run",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gnomon' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
