"""Fuzz the firmware's serial protocol for as long as wanted, on this machine, under sanitizers.

    python tools/fuzz_firmware.py --seconds 600 --seed 7

Needs gcc. A stream that breaks the protocol is left in `crash` in the current folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.firmware.fuzzing import compile_fuzzer, run_fuzzer


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--seconds", type=float, default=600.0)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--energy", action="store_true", help="with pulses for timestamps")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fuzz"
        compile_fuzzer(program, energy=options.energy)
        said, crash = run_fuzzer(program, options.seconds, options.seed, Path("crash"))
    print(said)
    if crash is not None:
        raise SystemExit(f"the protocol broke on {len(crash)} characters: see crash")


if __name__ == "__main__":
    main()
