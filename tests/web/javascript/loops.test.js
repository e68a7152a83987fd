// The timed loops, on a clock that only moves when told to, and once on the real one.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { offline, singleStream, warmUp } from '../../../src/gnomon/web/static/loops.js';

const NO_LIMITS = { min_query_count: 1, max_query_count: 0, min_duration_ms: 0, max_duration_ms: 0 };

/** A clock, and a system that answers in so many milliseconds of it. */
function imagined({ answer_ms, rows = 1000, more, ...limits }) {
  let now = 100;
  const asked = [];
  const reports = [];
  const schedule = Int32Array.from({ length: rows }, (_, row) => row * 7);
  return {
    asked,
    reports,
    loop: {
      clock: () => now,
      schedule,
      more: more ?? (async () => schedule),
      limits: { ...NO_LIMITS, ...limits },
      report: (done, elapsed_ms) => reports.push([done, elapsed_ms]),
      prepare: () => (now += 50),
      answer: async (samples) => {
        asked.push(typeof samples === 'number' ? samples : [...samples]);
        now += typeof answer_ms === 'function' ? answer_ms(samples) : answer_ms;
      },
    },
  };
}

test('queries follow the schedule, and what is prepared between them is not timed', async () => {
  const { loop, asked } = imagined({ answer_ms: 2, min_query_count: 3 });
  const times = await singleStream(loop);
  assert.deepEqual(asked, [0, 7, 14]);
  assert.deepEqual([...times.issued_ms], [50, 102, 154]);
  assert.deepEqual([...times.completed_ms], [52, 104, 156]);
});

test('a single stream ends only when both the count and the duration are reached', async () => {
  const by_time = imagined({ answer_ms: 10, min_query_count: 2, min_duration_ms: 600 });
  const { issued_ms } = await singleStream(by_time.loop);
  // The rules hold the duration against the last issue.
  assert.ok(issued_ms.at(-1) >= 600 && issued_ms.at(-2) < 600, `${issued_ms.at(-2)}, ${issued_ms.at(-1)}`);
  const by_count = imagined({ answer_ms: 10, min_query_count: 20, min_duration_ms: 600 });
  assert.equal((await singleStream(by_count.loop)).issued_ms.length, 20);
});

test('the longest duration ends a single stream that has too few queries', async () => {
  const { loop } = imagined({ answer_ms: 150, min_query_count: 128, min_duration_ms: 500, max_duration_ms: 1000 });
  assert.equal((await singleStream(loop)).issued_ms.length, 6);
});

test('the greatest count ends a single stream that is still too short', async () => {
  const { loop } = imagined({ answer_ms: 1, max_query_count: 4, min_duration_ms: 1e6 });
  assert.equal((await singleStream(loop)).issued_ms.length, 4);
});

test('further rows are fetched when the first run out, and the test goes on with them', async () => {
  const all = Int32Array.from({ length: 10 }, (_, row) => row * 7);
  const wanted = [];
  const { loop, asked } = imagined({
    answer_ms: 1,
    rows: 4,
    min_query_count: 7,
    more: async (have) => {
      wanted.push(have);
      return all;
    },
  });
  const times = await singleStream(loop);
  assert.deepEqual(wanted, [4]);
  assert.deepEqual(asked, [0, 7, 14, 21, 28, 35, 42]);
  assert.equal(times.exhausted, false);
});

test('a schedule that cannot go on ends the test, which says so', async () => {
  const { loop } = imagined({ answer_ms: 1, rows: 4, min_query_count: 7 });
  const times = await singleStream(loop);
  assert.equal(times.issued_ms.length, 4);
  assert.equal(times.exhausted, true);
});

test('progress is told at most once a second', async () => {
  const { loop, reports } = imagined({ answer_ms: 1, min_duration_ms: 8000 });
  await singleStream(loop);
  assert.ok(reports.length >= 5 && reports.length <= 8, `${reports.length} reports in 8 s`);
});

test('more queries than the first columns hold are all kept', async () => {
  const { loop } = imagined({ answer_ms: 0.001, rows: 40_000, max_query_count: 40_000, min_duration_ms: 1e9 });
  loop.prepare = () => {};
  const { issued_ms, completed_ms } = await singleStream(loop);
  assert.equal(issued_ms.length, 40_000);
  assert.ok(issued_ms.every((issued, row) => completed_ms[row] > issued));
});

test('offline fills batches, and the last one holds only what is left to ask', async () => {
  const { loop, asked } = imagined({ answer_ms: 5, min_query_count: 10 });
  const times = await offline({ ...loop, batch_size: 4 });
  assert.deepEqual(asked.map((batch) => batch.length), [4, 4, 2]);
  assert.deepEqual([...times.issued_ms], [0, 0, 0, 0, 5, 5, 5, 5, 10, 10]);
  assert.deepEqual([...times.completed_ms], [5, 5, 5, 5, 10, 10, 10, 10, 15, 15]);
});

test('offline goes on in whole batches until its duration is reached', async () => {
  const { loop, asked } = imagined({ answer_ms: 100, min_query_count: 6, min_duration_ms: 450 });
  await offline({ ...loop, batch_size: 4 });
  assert.deepEqual(asked.map((batch) => batch.length), [4, 4, 4, 4, 4]);
});

test('offline fetches rows for a batch that the first rows do not fill', async () => {
  const all = Int32Array.from({ length: 20 }, (_, row) => row);
  const { loop, asked } = imagined({ answer_ms: 1, rows: 6, min_query_count: 12, more: async () => all });
  loop.schedule = all.subarray(0, 6);
  await offline({ ...loop, batch_size: 4 });
  assert.deepEqual(asked.flat(), [...all.subarray(0, 12)]);
});

test('warming up takes five calls at least, half a second, and fifty calls at most', async () => {
  for (const [answer_ms, calls] of [[1000, 5], [20, 25], [1, 50]]) {
    let now = 0;
    const warm = await warmUp(() => now, async () => void (now += answer_ms), { calls: 0, elapsed_ms: 0 }, 500);
    assert.equal(warm.calls, calls);
    assert.equal(warm.fastest_ms, answer_ms);
  }
});

test('warming up counts what was called before', async () => {
  let now = 0;
  const call = async () => void (now += 100);
  const first = await warmUp(() => now, call, { calls: 0, elapsed_ms: 0 }, 0);
  assert.equal(first.calls, 5);
  assert.equal((await warmUp(() => now, call, first, 500)).calls, 5);
});

test('the loop itself costs less than 0.1 ms a query on a system that does nothing', async () => {
  const queries = 200_000;
  const loop = {
    clock: () => performance.now(),
    schedule: new Int32Array(queries),
    more: async () => new Int32Array(queries),
    limits: { ...NO_LIMITS, min_query_count: queries },
    report: () => {},
    prepare: () => {},
    answer: async () => {},
  };
  const began = performance.now();
  const { issued_ms, completed_ms } = await singleStream(loop);
  const per_query_ms = (performance.now() - began) / queries;
  const inside_ms = issued_ms.reduce((total, issued, row) => total + completed_ms[row] - issued, 0) / queries;
  assert.ok(per_query_ms < 0.1, `${per_query_ms} ms a query`);
  assert.ok(inside_ms < 0.05, `${inside_ms} ms counted of a system that does nothing`);
});
