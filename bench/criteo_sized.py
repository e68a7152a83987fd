"""DLRM over tables of Criteo 1TB's sizes in 108 MB: throughput, latency under Server load, memory.

    python bench/criteo_sized.py [--seconds 20] [--threads 1] [--json criteo_sized.json]

204 million rows by 128 would take 104.5 GB as full tables; the ROBE array has 27 million weights. Each width
(v1: dot interaction, one lookup a table; v2: cross network, 214 lookups) runs in a process of its own, as
`gnomon run` would, and its resident memory is taken at the end. Weights are random: nothing here is about
quality.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from machine import describe_machine

BENCHMARKS = {"v1": "dlrm-criteo-sized", "v2": "dlrm-v2-criteo-sized"}


def measured(width: str, seconds: float, threads: int) -> dict[str, Any]:
    """Offline and the highest valid Server rate, in this process."""
    import gnomon

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        run = gnomon.run(
            BENCHMARKS[width],
            system_options={"threads": threads, "batch_size": 64},
            out=folder,
            scenario=("offline", "server"),
            duration_s=seconds,
            accuracy=False,
        )
        system = run.record["system"]["description"]
        return {
            "result": run.result,
            "checks_failed": [
                check["name"] for check in run.verdict.to_json()["checks"] if not check["passed"]
            ],
            "embedding_bytes": system.get("embedding_bytes"),
            "system": system,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=BENCHMARKS, help="in this process, and print JSON")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measured(arguments.only, arguments.seconds, arguments.threads)))
        return
    machine = describe_machine()
    print(f"{machine['text']}\n{arguments.threads} threads in a call, batches of at most 64")
    told = {}
    for width in BENCHMARKS:
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                "--only",
                width,
                "--seconds",
                str(arguments.seconds),
                "--threads",
                str(arguments.threads),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        found = told[width] = json.loads(done.stdout.splitlines()[-1])
        offline, server = found["result"]["offline"], found["result"].get("server")
        print(f"{width}: Offline {offline['metric']['value']:,.0f} samples/s")
        if server:
            latency = server["latency"]
            print(
                f"    Server {server['metric']['value']:,.0f} queries/s, p50 "
                f"{latency['p50_ns'] / 1e6:.2f} ms, p99 {latency['p99_ns'] / 1e6:.2f} ms"
            )
        print(
            f"    embedding {found['embedding_bytes'] / 1e6:.1f} MB, process at most "
            f"{found['peak_memory_bytes'] / 1e6:,.0f} MB"
        )
        if found["checks_failed"]:
            print(f"    failed: {', '.join(found['checks_failed'])}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "widths": told}, indent=2))


if __name__ == "__main__":
    main()
