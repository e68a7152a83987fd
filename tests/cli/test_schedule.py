"""`gnomon loadgen schedule` as a process: its lines against the reference load generator's.

A mistake on its command line is one line on stderr and exit code 2.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HEADER = "query,arrival_ns,sample_index"
SEEDS = (2085463073848966840, 2**63 + 5, 16159082839903944936)
TOTAL, LOADED, QUERIES, WIDTH, QPS = 1000, 300, 700, 3, 50_000
ONE_LINE = re.compile(r"\Agnomon: [^\n]+\n\Z")
FIELD_NAMES = {
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "server": "Server",
    "offline": "Offline",
}


def reference_lines(scenario, mode):
    """The lines that the wheel's own record of the same test comes to."""
    lg = pytest.importorskip("mlperf_loadgen")
    asked = lg.TestSettings()
    asked.scenario = getattr(lg.TestScenario, FIELD_NAMES[scenario])
    asked.mode = lg.TestMode.AccuracyOnly if mode == "accuracy" else lg.TestMode.PerformanceOnly
    asked.qsl_rng_seed, asked.sample_index_rng_seed, asked.schedule_rng_seed = SEEDS
    asked.min_query_count, asked.min_duration_ms = QUERIES, 0
    asked.multi_stream_samples_per_query = WIDTH
    asked.server_target_qps = QPS
    gap_ns = 10**9 // QPS
    asked.single_stream_expected_latency_ns = asked.multi_stream_expected_latency_ns = gap_ns
    queries, first_of_set = [], []

    def issue(query):
        queries.append([sample.index for sample in query])
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in query])

    with tempfile.TemporaryDirectory() as folder:
        output, logging = lg.LogOutputSettings(), lg.LogSettings()
        output.outdir = folder
        logging.log_output, logging.enable_trace = output, True
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(
            TOTAL, LOADED, lambda _: first_of_set.append(len(queries)), lambda _: None
        )
        lg.StartTestWithLogSettings(system, library, asked, logging, f"{folder}/no audit.config")
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        trace = (Path(folder) / "mlperf_log_trace.json").read_text()
    # The trace has the time each sample was due in µs with three decimals.
    sample_event = r'\{"name":"Sample",.*"ph":"b",.*"ts":(\d+)\.(\d{3}),.*"query_seq":(\d+),'
    due_ns = {
        int(query): int(whole + thousandths)
        for whole, thousandths, query in re.findall(sample_event, trace)
    }
    lines = []
    for query, samples in enumerate(queries):
        begin = max(first for first in first_of_set if first <= query)
        arrival_ns = {
            "server": due_ns[query] - due_ns[begin],
            "offline": 0,
        }.get(scenario, (query - begin) * gap_ns)
        lines += [f"{query},{arrival_ns},{index}" for index in samples]
    return lines


def options(scenario, mode="performance", /, **changes):
    chosen = {
        "scenario": scenario,
        "total": TOTAL,
        "performance-count": LOADED,
        "queries": QUERIES,
        "target-qps": QPS,
        "samples-per-query": WIDTH,  # means nothing elsewhere, and hurts nothing
        "seeds": ",".join(map(str, SEEDS)),
        "mode": mode,
        "format": "csv",
    }
    chosen |= {name.replace("_", "-"): value for name, value in changes.items()}
    given = [f"--{name}={value}" for name, value in chosen.items() if value is not None]
    return ["loadgen", "schedule", *given]


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
@pytest.mark.parametrize("scenario", FIELD_NAMES)
def test_the_table_is_the_references_line_for_line(command, tmp_path, scenario, mode):
    done = command(*options(scenario, mode), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    header, *lines = done.stdout.splitlines()
    assert header == HEADER
    assert done.stdout.endswith("\n")
    assert lines == reference_lines(scenario, mode)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_json_says_what_the_table_says(command, tmp_path, mode):
    table = command(*options("server", mode), cwd=tmp_path).stdout.splitlines()[1:]
    listed = json.loads(command(*options("server", mode, format="json"), cwd=tmp_path).stdout)
    assert [",".join(str(row[name]) for name in HEADER.split(",")) for row in listed] == table


def test_what_is_left_out_is_the_whole_data_set_the_rounds_seeds_and_eight_samples(
    command, tmp_path
):
    short = command(
        *("loadgen", "schedule", "--scenario=MultiStream", "--total=50", "--queries=20"),
        cwd=tmp_path,
    )
    full = command(
        *options(
            "multi-stream",
            total=50,
            performance_count=50,
            queries=20,
            samples_per_query=8,
            target_qps=None,
            seeds="2085463073848966840,2747215439041700203,16159082839903944936",
        ),
        cwd=tmp_path,
    )
    assert short.returncode == full.returncode == 0
    assert short.stdout == full.stdout
    assert len(short.stdout.splitlines()) == 1 + 20 * 8


def test_a_longer_table_begins_as_the_shorter_one(command, tmp_path):
    shorter = command(*options("server", queries=200), cwd=tmp_path).stdout
    longer = command(*options("server", queries=250), cwd=tmp_path).stdout
    assert longer.startswith(shorter)
    assert len(longer.splitlines()) == 251


MISTAKES = {
    "a scenario that is misspelt": (
        {"scenario": "servr"},
        "unknown scenario 'servr': did you mean 'server'?",
    ),
    "a mode that is misspelt": ({"mode": "acuracy"}, "did you mean 'accuracy'?"),
    "a format that is misspelt": ({"format": "cvs"}, "did you mean 'csv'?"),
    "two seeds": ({"seeds": "1,2"}, "three whole numbers below 2^64"),
    "four seeds": ({"seeds": "1,2,3,4"}, "got '1,2,3,4'"),
    "words for seeds": ({"seeds": "a,b,c"}, "got 'a,b,c'"),
    "no seeds": ({"seeds": ""}, "--seeds"),
    "a seed below 0": ({"seeds": "1,2,-3"}, "got '1,2,-3'"),
    "a seed beyond 64 bits": ({"seeds": f"1,2,{2**64}"}, "--seeds"),
    "a data set of no samples": ({"total": 0}, "at least 1, got 0"),
    "no queries": ({"queries": 0}, "--queries"),
    "fewer than no queries": ({"queries": -4}, "--queries"),
    "half a query": ({"queries": 1.5}, "--queries"),
    "an open number of queries": ({"queries": None}, "--queries"),
    "no samples loaded": ({"performance-count": 0}, "at least 1, got 0"),
    "more samples loaded than there are": ({"performance-count": TOTAL + 1}, f"{TOTAL + 1}"),
    "queries of no samples": (
        {"scenario": "multi-stream", "samples-per-query": 0},
        "--samples-per-query",
    ),
    "a server without a rate": ({"target-qps": None}, "--target-qps"),
    "a rate of 0": ({"target-qps": 0}, "target_qps must be positive, got 0"),
    "a rate that is no number": ({"target-qps": "nan"}, "target_qps must be positive, got nan"),
    "a duration below 0": ({"min-duration": -1}, "duration"),
    "a duration that is no number": ({"min-duration": "nan"}, "duration"),
    "a duration without end": ({"min-duration": "inf"}, "duration"),
    "no data set": ({"total": None}, "--total"),
    "no scenario": ({"scenario": None}, "--scenario"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_exit_code_2(command, tmp_path, mistake):
    changes, words = MISTAKES[mistake]
    done = command(*options("server", **changes), cwd=tmp_path)
    assert done.returncode == 2
    assert ONE_LINE.match(done.stderr)
    assert words in done.stderr
    assert done.stdout == ""


def test_a_rate_too_low_for_whole_nanoseconds_is_a_mistake_and_not_a_negative_time(
    command, tmp_path
):
    for scenario, rate in (("server", "1e-12"), ("single-stream", "1e-320")):
        done = command(*options(scenario, target_qps=rate), cwd=tmp_path)
        assert done.returncode == 2
        assert ONE_LINE.match(done.stderr)
        assert "target_qps" in done.stderr


def test_a_reader_that_stops_early_ends_the_command_in_silence(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "gnomon.cli.main", *options("server", queries=300_000)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().decode() == HEADER + "\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_one_line(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gnomon.cli.main", *options("server")],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
    assert done.returncode != 0
    assert ONE_LINE.match(done.stderr)
    assert "No space left" in done.stderr
