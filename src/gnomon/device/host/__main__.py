"""`python -m gnomon.device.host --model FILE.tflite --model-id kws01`: the host board as a process.

Its first line on standard output is the address to open; with `--stdio` there is none, and the
standard streams are the line.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gnomon.core.errors import GnomonError
from gnomon.device.host import serve
from gnomon.device.host.firmware import Firmware
from gnomon.device.host.models import RUNTIMES, open_model

VENDOR = "gnomon host board"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one host; 0 when it has gone, 2 if the board cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m gnomon.device.host",
        description="A board of the MLPerf Tiny protocol that infers on this computer.",
    )
    parser.add_argument("--model", type=Path, required=True, help="an int8 .tflite file")
    parser.add_argument("--model-id", required=True, help="kws01, vww01, ic01, ad01, sww01 ...")
    parser.add_argument("--runtime", choices=RUNTIMES, default="litert")
    parser.add_argument("--threads", type=int, default=1, help="LiteRT's; default 1")
    parser.add_argument("--energy", action="store_true", help="no timestamps in text")
    parser.add_argument("--vendor", default=VENDOR, help="what `name%%` answers")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--pty", action="store_true", help="a new PTY (the default)")
    where.add_argument("--tcp", type=int, metavar="PORT", help="a port of 127.0.0.1; 0: any")
    where.add_argument("--stdio", action="store_true", help="standard input and output")
    asked = parser.parse_args(arguments)

    serve.leave_with_parent()
    standard = serve.standard_endpoint() if asked.stdio else None
    try:
        model = open_model(asked.model, asked.model_id, asked.runtime, asked.threads)
        if standard is not None:
            endpoint = standard
        elif asked.tcp is not None:
            listener, address = serve.tcp_listener(asked.tcp)
            print(address, flush=True)
            endpoint = serve.tcp_endpoint(listener)
        else:
            endpoint, address = serve.pty_endpoint()
            print(address, flush=True)
    except (GnomonError, OSError) as error:
        print(f"host board: {error}", file=sys.stderr)
        return 2

    start_ns = time.perf_counter_ns()
    firmware = Firmware(
        model,
        asked.model_id,
        endpoint.send,
        lambda: (time.perf_counter_ns() - start_ns) // 1000,
        energy=asked.energy,
        vendor=asked.vendor,
    )
    firmware.boot()
    with contextlib.suppress(KeyboardInterrupt):
        serve.serve(endpoint, firmware.receive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
