"""The machine and versions a bench program ran on, for the head of its output."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from gnomon.core.environment import capture


def describe_machine() -> dict[str, Any]:
    """The captured environment, with one line of text for people."""
    environment = capture()
    cpu = environment["cpu"]
    packages = ", ".join(
        f"{name} {version(name)}"
        for name in ("gnomon", "numpy", "onnxruntime", "pyarrow", "mlcommons-loadgen")
    )
    text = (
        f"{cpu['model']}, {cpu['available_cores']} cores; "
        f"{environment['os'].get('distribution') or environment['os']['name']}; "
        f"Python {environment['python']['version']}; {packages}; "
        f"load average {environment['load']['load_average']}"
    )
    return {"text": text, "environment": environment}
