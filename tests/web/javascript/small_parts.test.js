// Schedules, the clock, figures, formats and names of devices.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { driftPpm, resolutionNs } from '../../../src/gnomon/web/static/clock.js';
import { brandOf, browserIn, platformIn } from '../../../src/gnomon/web/static/device.js';
import { ownFigures } from '../../../src/gnomon/web/static/figures.js';
import * as format from '../../../src/gnomon/web/static/format.js';
import { makeSchedules, rowsNeeded } from '../../../src/gnomon/web/static/schedules.js';

const single = {
  name: 'single-stream', kind: 'performance', scenario: 'single-stream', percentile: 0.9,
  min_query_count: 128, min_duration_ns: 10e9, schedule: 'api/schedules/x/quick/single-stream',
};

test('rows are enough for the duration at the speed seen, with reserve, as a power of two', () => {
  assert.equal(rowsNeeded(single, 1), 16_384); // 10,000 queries and 30 % more
  assert.equal(rowsNeeded(single, 100), 4096);
  assert.equal(rowsNeeded(single, 0.0001), 1 << 20);
  assert.equal(rowsNeeded({ ...single, kind: 'accuracy', min_query_count: 797 }, 1), 797);
});

test('rows already kept are not fetched again, and serve when the server is gone', async () => {
  const paths = [];
  let reachable = true;
  const schedules = makeSchedules(async (path) => {
    paths.push(path);
    if (!reachable) throw new Error('offline');
    return new Int32Array(Number(path.split('rows=')[1])).buffer;
  });
  assert.equal((await schedules.rowsFor(single, { have: 0, latency_ms: 1 })).length, 16_384);
  assert.equal((await schedules.rowsFor(single, { have: 0, latency_ms: 5 })).length, 16_384);
  assert.equal((await schedules.rowsFor(single, { have: 16_384, latency_ms: 0 })).length, 32_768);
  reachable = false;
  assert.equal((await schedules.rowsFor(single, { have: 32_768, latency_ms: 0 })).length, 32_768);
  assert.deepEqual(paths.map((path) => path.split('rows=')[1]), ['16384', '32768', '65536']);
  const other = { ...single, schedule: 'never/seen' };
  await assert.rejects(schedules.rowsFor(other, { have: 0, latency_ms: 1 }), /offline/);
});

test('without the server a test takes the rows that were prepared on an earlier visit', async () => {
  const cached = makeSchedules(async (path) => {
    if (!path.endsWith('rows=65536')) throw new Error('not in the cache');
    return new Int32Array(65_536).buffer;
  });
  assert.equal((await cached.rowsFor(single, { have: 0, latency_ms: 20 })).length, 65_536);
});

test('the step of a clock is the smallest that it shows', () => {
  let now = 0;
  let calls = 0;
  const coarse = () => {
    calls += 1;
    if (calls % 10 === 0) now += 0.1;
    return now;
  };
  assert.equal(resolutionNs(coarse, 5), 100_000);
});

test('drift is told against the wall clock, in parts per million', () => {
  assert.equal(driftPpm({ clock_ms: 0, wall_ms: 1000 }, { clock_ms: 10_000.5, wall_ms: 11_000 }), 50);
  assert.equal(driftPpm({ clock_ms: 0, wall_ms: 5 }, { clock_ms: 1, wall_ms: 5 }), 0);
});

test('the percentile is an element, without interpolation, as the field has it', () => {
  const issued = Float64Array.from({ length: 10 }, (_, row) => row * 1e9);
  const completed = issued.map((at, row) => at + (10 - row) * 1e6);
  const figures = ownFigures(single, issued, completed);
  assert.equal(figures.percentile_ns, 10e6);
  assert.equal(figures.queries_per_s, 1); // nine intervals in the nine seconds up to the last issue
});

test('offline is samples over the time from the first batch to the last answer', () => {
  const issued = Float64Array.from([0, 0, 1e9, 1e9]);
  const completed = Float64Array.from([1e9, 1e9, 2e9, 2e9]);
  assert.deepEqual(ownFigures({ ...single, scenario: 'offline' }, issued, completed), { samples_per_s: 2 });
});

test('numbers carry three digits, rates four, and their unit', () => {
  assert.equal(format.latency(5_468_000), '5.47 ms');
  assert.equal(format.latency(42_400_000), '42.4 ms');
  assert.equal(format.latency(312_000), '312 µs');
  assert.equal(format.rate(12_345.6), '12,346');
  assert.equal(format.rate(45.678), '45.68');
  assert.equal(format.size(14_239_897), '14.2 MB');
  assert.equal(format.wait(64), '64 s');
  assert.equal(format.wait(130), '2 min');
  assert.equal(format.quality(0.9423, ''), '94.23\u00a0%');
  assert.equal(format.quality(31.4159, 'dB'), '31.42\u00a0dB');
  assert.equal(format.count(1, 'query', 'queries'), '1 query');
  assert.equal(format.count(2457, 'sample'), '2,457 samples');
});

test('figures are rounded as on the pages that the server makes', () => {
  // Python: f"{7.755:.2f}", f"{42.25:.1f}", f"{42.35:.1f}", f"{0.5:.2f}", f"{312.5:.0f}", f"{313.5:.0f}"
  assert.equal(format.latency(7_755_000), '7.75 ms');
  assert.equal(format.latency(42_250_000), '42.2 ms');
  assert.equal(format.latency(42_350_000), '42.4 ms');
  assert.equal(format.latency(312_500), '312 µs');
  assert.equal(format.latency(313_500), '314 µs');
  assert.equal(format.latency(1_000_000), '1.00 ms');
  assert.equal(format.latency(999_600), '1.00 ms');
  assert.equal(format.latency(9_996_000), '10.0 ms');
  assert.equal(format.rate(9.99951), '10.00');
});

test('browsers and systems are named from what they say of themselves', () => {
  const brands = [{ brand: 'Not)A;Brand', version: '8' }, { brand: 'Chromium', version: '138.0.1' }, { brand: 'Google Chrome', version: '138.0.1' }];
  assert.equal(brandOf(brands), 'Google Chrome 138');
  assert.equal(brandOf(brands.slice(0, 2)), 'Chromium 138');
  const iphone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1';
  assert.deepEqual([browserIn(iphone), platformIn(iphone)], ['Safari 18', 'iOS']);
  const pixel = 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36';
  assert.deepEqual([browserIn(pixel), platformIn(pixel)], ['Chrome 138', 'Android']);
  assert.equal(browserIn('Mozilla/5.0 (Android 15; Mobile; rv:139.0) Gecko/139.0 Firefox/139.0'), 'Firefox 139');
});
