"""What the page that measures a phone costs: its own time a query, and its figure beside a bare loop's.

    python bench/mobile.py [--pairs 7] [--json mobile.json]

A real server, a real headless Chromium. Three figures:

* own time: the timed loop of the page around an answer that does nothing, against the barest loop that keeps
  times, both in a worker of the same page; and, in real runs, the time from one answer to the next query.
* the classification model: 90th percentile of a quick run driven through the page, against a loop of a dozen
  lines around ONNX Runtime Web in a worker of the same browser with the same options, in turn. Both on one
  thread: of two, the second takes part or does not, browser by browser (0.39 or 0.64 ms a query on two cores,
  page and bare loop alike), and a ratio of pairs would be one of coins.
* from opening the page in a browser that has nothing in its cache to the first valid quick result.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from machine import describe_machine
from playwright.sync_api import sync_playwright

from gnomon.core.run import Run, find_runs

NULL_QUERIES = 200_000
BARE_S = 10
PATIENCE_S = 120
OPENINGS = 3
LEAST_S = 17
"""No quick run is over sooner: it rests for 5 s and measures for 10."""
THREADS_IN = "export function threadsIn(browser) {"

IN_A_WORKER = """async (code) => {
  const source = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
  const worker = new Worker(source, { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (error) => reject(new Error(error.message));
  });
}"""
NULL = """
    import { singleStream } from 'BASEstatic/loops.js';
    const queries = QUERIES;
    const clock = () => performance.now();
    const schedule = Int32Array.from({ length: queries }, (_, i) => i % 797);
    const nothing = async () => {};
    async function page() {
      const limits = { min_query_count: queries, max_query_count: 0, min_duration_ms: 0, max_duration_ms: 0 };
      const began = clock();
      await singleStream({ clock, schedule, more: async () => schedule, limits, report() {}, prepare() {},
        answer: nothing });
      return clock() - began;
    }
    async function bare() {
      const times = new Float64Array(2 * queries);
      const began = clock();
      for (let i = 0; i < queries; i += 1) {
        times[2 * i] = clock();
        await nothing();
        times[2 * i + 1] = clock();
      }
      return clock() - began;
    }
    const found = [];
    for (let pair = 0; pair < 7; pair += 1) {
      const order = pair % 2 ? [bare, page] : [page, bare];
      const took = {};
      for (const loop of order) took[loop.name] = await loop();
      found.push([took.page, took.bare]);
    }
    postMessage(found);
"""

BARE = """
    const ort = await import('BASEort/ort.wasm.min.mjs');
    ort.env.wasm.wasmPaths = 'BASEort/';
    ort.env.wasm.numThreads = 1;
    const got = async (path) => new Uint8Array(await (await fetch('BASEapi/' + path)).arrayBuffer());
    const model = await got('models/mobile-classification/fp32.onnx');
    const bytes = await got('inputs/mobile-classification');
    const session = await ort.InferenceSession.create(model, {
      executionProviders: ['wasm'],
      graphOptimizationLevel: 'all',
      freeDimensionOverrides: { n: 1, N: 1, batch: 1, batch_size: 1 },
    });
    const size = 3 * 32 * 32, feeds = [];
    for (let at = 0; at < bytes.length; at += size) {
      const image = Float32Array.from(bytes.subarray(at, at + size));
      feeds.push({ [session.inputNames[0]]: new ort.Tensor('float32', image, [1, 3, 32, 32]) });
    }
    const warm = performance.now();
    for (let i = 0; performance.now() - warm < 1000; i += 1) await session.run(feeds[i % feeds.length]);
    const taken = [], began = performance.now();
    for (let i = 0; performance.now() - began < SECONDS * 1000; i += 1) {
      const start = performance.now();
      const { data } = (await session.run(feeds[i % feeds.length]))[session.outputNames[0]];
      taken.push(performance.now() - start);
    }
    postMessage(taken);
"""


def filled(code: str, **values: object) -> str:
    """The code of a worker with its words in capitals filled in."""
    for name, value in values.items():
        code = code.replace(name, str(value))
    return code


@contextmanager
def served(out: Path):
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "gnomon.cli.main", "mobile", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield json.loads(process.stdout.readline())["addresses"][0]
        finally:
            process.send_signal(signal.SIGINT)


@contextmanager
def page_of(chromium, **context):
    """A page in a browser that has nothing in its cache."""
    browser = chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    try:
        yield browser.new_page(viewport={"width": 390, "height": 844}, **context)
    finally:
        browser.close()


def null_us(chromium, base: str) -> list[list[float]]:
    """Microseconds a query by the page's loop and by the barest one, in pairs."""
    with page_of(chromium) as page:
        page.goto(f"{base}api/health")
        pairs = page.evaluate(IN_A_WORKER, filled(NULL, BASE=base, QUERIES=NULL_QUERIES))
    return [[1e3 * value / NULL_QUERIES for value in pair] for pair in pairs]


def told_of_one_processor(route) -> None:
    """Give the page its module, for which the device has one processor."""
    answer = route.fetch()
    code = answer.text()
    assert THREADS_IN in code
    route.fulfill(response=answer, body=code.replace(THREADS_IN, f"{THREADS_IN} return 1;"))


def quick_run(chromium, base: str, out: Path, *, one_thread: bool = False) -> tuple[Run, float]:
    """A quick run of classification, driven through the page; the run, and seconds from opening."""
    workers = "block" if one_thread else "allow"
    with page_of(chromium, service_workers=workers) as page:
        if one_thread:
            page.route("**/static/providers.js", told_of_one_processor)
        began = time.perf_counter()
        page.goto(f"{base}?mode=quick&tasks=mobile-classification&provider=wasm&autostart=1")
        # Looking for a text would have every frame drawn while the model is measured.
        page.wait_for_timeout(1e3 * LEAST_S)
        page.get_by_text("Valid", exact=True).wait_for(timeout=1e3 * PATIENCE_S)
        took_s = time.perf_counter() - began
    run = Run.open(find_runs(out)[-1])
    assert not one_thread or run.record["system"]["description"]["threads"] == 1
    return run, took_s


def bare_ms(chromium, base: str) -> np.ndarray:
    """Latencies of the bare loop, on one thread."""
    with page_of(chromium) as page:
        page.goto(f"{base}api/health")
        code = filled(BARE, BASE=base, SECONDS=BARE_S)
        return np.array(page.evaluate(IN_A_WORKER, code))


def between_queries_us(run: Run) -> float:
    """From one answer to the next query, mean."""
    samples = run.samples["single-stream"]
    return float((samples.issued_ns[1:] - samples.completed_ns[:-1]).mean() / 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    machine = describe_machine()
    print(machine["text"])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        out = Path(folder)
        with served(out) as base:
            null = null_us(playwright.chromium, base)
            opened = [quick_run(playwright.chromium, base, out) for _ in range(OPENINGS)]
            opened_s = [took_s for _, took_s in opened]
            pairs, gaps_us = [], []
            for number in range(asked.pairs):
                if number % 2:
                    bare = bare_ms(playwright.chromium, base)
                run, _ = quick_run(playwright.chromium, base, out, one_thread=True)
                gaps_us.append(between_queries_us(run))
                latency_ms = run.samples["single-stream"].latency_ns / 1e6
                if not number % 2:
                    bare = bare_ms(playwright.chromium, base)
                pairs.append(
                    {
                        "page_p50_ms": float(np.median(latency_ms)),
                        "page_p90_ms": float(np.quantile(latency_ms, 0.9)),
                        "bare_p50_ms": float(np.median(bare)),
                        "bare_p90_ms": float(np.quantile(bare, 0.9)),
                    }
                )
                print(f"pair {number + 1}: {pairs[-1]}", flush=True)
    own_us = statistics.median(page for page, _ in null)
    bare_us = statistics.median(bare for _, bare in null)
    ratio_50 = statistics.median(pair["page_p50_ms"] / pair["bare_p50_ms"] for pair in pairs)
    ratio_90 = statistics.median(pair["page_p90_ms"] / pair["bare_p90_ms"] for pair in pairs)
    print(f"null model: {own_us:.2f} µs a query by the page's loop, {bare_us:.2f} µs by a bare one")
    print(f"between queries of real runs: {statistics.median(gaps_us):.1f} µs (goal: at most 100)")
    print(
        f"classification, page over bare: p50 {ratio_50:.3f}, p90 {ratio_90:.3f} (goal: 0.9 to 1.1)"
    )
    print(f"opening to first valid quick result: {statistics.median(opened_s):.1f} s (goal: 90)")
    if asked.json:
        found = {
            "machine": machine,
            "null_us": null,
            "between_queries_us": gaps_us,
            "pairs": pairs,
            "opened_s": opened_s,
        }
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
