"""Sessions with a board, as the field's runners log them, made up for tests."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from hypothesis import strategies as st

from gnomon.core.energy import evenly_sampled, measure_windows, windows_between
from gnomon.device.logs import (
    BoardLine,
    Inference,
    SessionLog,
    SessionResults,
    StreamingResult,
    answer_lines,
    energy_results,
    timed_results,
)
from gnomon.device.submission import SubmittedTest, SystemDescription

STARTED = datetime(2026, 3, 14, 9, 26, 53)
GREETING = (
    BoardLine(0.5, "m-name-dut-[test-board]"),
    BoardLine(0.5, "m-ready"),
    BoardLine(0.6, "m-profile-[ULPMark for tinyML Firmware V0.0.1]"),
    BoardLine(0.6, "m-model-[kws01]"),
    BoardLine(0.6, "m-ready"),
    BoardLine(0.7, "m-lap-us-700000"),
    BoardLine(0.7, "m-ready"),
)


def inference(
    place,
    iterations=1000,
    window_us=11_000_000,
    mode="performance",
    start_s=1.0,
    results=(0.25, 0.75),
):
    lap_us = None if mode == "energy" else (10_000_000 * place, 10_000_000 * place + window_us)
    return Inference(
        file=f"tst_{place:06d}_Stop_7.bin",
        file_size=490,
        payload_size=490,
        offset=0,
        load_start_s=start_s,
        load_end_s=start_s + 1,
        command_s=start_s + 1,
        iterations=iterations,
        warmups=0 if mode == "accuracy" else 10,
        lines=answer_lines(
            iterations,
            0 if mode == "accuracy" else 10,
            results,
            lap_us,
            start_s + 1,
            start_s + 1 + round(window_us / 1e6),
        ),
    )


def session(mode="performance", windows=5, model_id="kws01", **changes):
    made = [
        inference(place, mode=mode, start_s=1.0 + 13 * place, **changes) for place in range(windows)
    ]
    return SessionLog(
        started_at=STARTED,
        runner="gnomon 1.0",
        mode=mode,
        model_id=model_id,
        profile="ULPMark for tinyML Firmware V0.0.1",
        board="test-board",
        folder="/data/sets",
        greeting=GREETING,
        inferences=tuple(made),
        end_s=made[-1].lines[-1].time_s,
    )


def performance_test(benchmark="kws", **changes):
    log = session(**changes)
    return SubmittedTest(
        benchmark, log, timed_results((each.iterations, each.duration_s) for each in log.inferences)
    )


def accuracy_test(benchmark="kws", top_1_percent=91.2, auc=0.9912):
    log = session("accuracy", windows=3, iterations=1, window_us=13_000)
    results = SessionResults("accuracy", top_1_percent=top_1_percent, auc=auc)
    classes = {each.file: 7 for each in log.inferences}
    return SubmittedTest(benchmark, log, results, classes)


def energy_figures(windows=5, window_s=11.0):
    samples = evenly_sampled(np.full(100_000, 2e-6), 1000)
    times_s = [
        1.0 + place * (window_s + 1) + side * window_s
        for place in range(windows)
        for side in (0, 1)
    ]
    return measure_windows(samples, windows_between(times_s, [1000] * windows))


def energy_test(benchmark="kws", **changes):
    return SubmittedTest(benchmark, session("energy"), energy_results(energy_figures(**changes)))


def wake_word_test(mode="performance", found=46, missed=4, false_alarms=3):
    streaming = StreamingResult(found, missed, false_alarms, 0.2114, 0.032, 147.82)
    log = session(mode, windows=1, model_id="sww01", iterations=1)
    if mode == "energy":
        results = energy_results(energy_figures(windows=1), streaming)
        return SubmittedTest("sww", log, results, files={"energy_inf_000.png": b"\x89PNG"})
    return SubmittedTest("sww", log, SessionResults("performance", streaming=streaming))


SYSTEM = SystemDescription(
    submitter="Gnomon",
    division="closed",
    status="available",
    board="Test board",
    processors="Arm Cortex-M4",
)

printed_names = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)


@st.composite
def sessions(draw, mode=None):
    """Sessions whose times and numbers survive being printed: milliseconds, three decimals."""
    mode = mode or draw(st.sampled_from(["performance", "accuracy", "energy"]))
    made, now_s = [], 1.0
    for place in range(draw(st.integers(1, 4))):
        iterations = 1 if mode == "accuracy" else draw(st.integers(2, 10**5))
        warmups = draw(st.integers(0, 100))
        start_us = draw(st.integers(0, 2**32))
        lap_us = None if mode == "energy" else (start_us, start_us + draw(st.integers(1, 10**8)))
        results = draw(
            st.lists(st.integers(0, 1000).map(lambda value: value / 1000), min_size=1, max_size=12)
        )
        size = draw(st.integers(1, 30_000))
        load_s, window_s = draw(st.integers(1, 50)), draw(st.integers(1, 50))
        made.append(
            Inference(
                file=f"{draw(printed_names)}_{place}.bin",
                file_size=size,
                payload_size=size,
                offset=0,
                load_start_s=now_s,
                load_end_s=now_s + load_s,
                command_s=now_s + load_s,
                iterations=iterations,
                warmups=warmups,
                lines=answer_lines(
                    iterations, warmups, results, lap_us, now_s + load_s, now_s + load_s + window_s
                ),
            )
        )
        now_s += load_s + window_s + 1
    return SessionLog(
        started_at=STARTED,
        runner=draw(printed_names),
        mode=mode,
        model_id=draw(st.sampled_from(["kws01", "vww01", "ic01"])),
        profile=draw(printed_names),
        board=draw(printed_names),
        folder=draw(st.sampled_from(["/data/sets", "C:\\sets\\tiny", "data with a space"])),
        greeting=GREETING,
        inferences=tuple(made),
        end_s=now_s,
    )
