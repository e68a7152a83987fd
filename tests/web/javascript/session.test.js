// The plan of a session: its order, its rests, and what becomes of it when something goes wrong.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as session from '../../../src/gnomon/web/static/session.js';

const performance_test = (name, min_duration_ns = 10e9) => ({ name, kind: 'performance', min_duration_ns });
const accuracy = { name: 'accuracy', kind: 'accuracy', min_duration_ns: 0 };
const catalogue = {
  modes: [{ name: 'quick', cooldown_s: 5 }],
  tasks: [
    { benchmark: 'classification', tests: { quick: [performance_test('single-stream'), performance_test('offline', 0), accuracy] } },
    { benchmark: 'detection', tests: { quick: [performance_test('single-stream'), accuracy] } },
    { benchmark: 'segmentation', tests: { quick: [performance_test('single-stream'), accuracy] } },
  ],
};
const choice = { mode: 'quick', provider: 'auto', precision: 'fp32', tasks: ['detection', 'classification'] };
const begin = () => session.startSession(catalogue, choice, { id: 'id', key: 'key', now_ms: 1000 });
const names = (steps) => steps.map(({ benchmark, test: name }) => `${benchmark} ${name}`);

test('all performance tests come first, then all accuracy tests, of the chosen tasks alone', () => {
  assert.deepEqual(names(session.planSteps(catalogue, choice)), [
    'classification single-stream',
    'classification offline',
    'detection single-stream',
    'classification accuracy',
    'detection accuracy',
  ]);
});

test('the rest counts from the end of the last performance test', () => {
  let now = begin();
  assert.equal(session.restLeft(now, 0, 1000), 0);
  now = session.withDone(now, 0, 20_000, {});
  assert.equal(session.nextStep(now), 1);
  assert.equal(session.restLeft(now, 1, 22_000), 3);
  assert.equal(session.restLeft(now, 1, 25_001), 0);
  for (const at of [1, 2]) now = session.withDone(now, at, 30_000, {});
  assert.equal(session.restLeft(now, 3, 30_000), 0, 'accuracy tests need none');
});

test('an attempt on a hidden page is counted, not kept, and rests like a test before it is repeated', () => {
  const alone = { ...choice, tasks: ['detection'] };
  const now = session.withHidden(session.startSession(catalogue, alone, { id: 'id', key: 'key', now_ms: 0 }), 0, 20_000);
  assert.equal(session.nextStep(now), 0);
  assert.equal(now.steps[0].hidden_attempts, 1);
  assert.equal(session.restLeft(now, 0, 20_000), 5);
});

test('a benchmark that fails loses its remaining tests, the others go on', () => {
  let now = session.withDone(begin(), 0, 20_000, {});
  now = session.withFailure(now, 1, 'the model could not be loaded');
  assert.deepEqual(now.steps.map(({ status }) => status), ['done', 'failed', 'waiting', 'failed', 'waiting']);
  assert.equal(session.failureOf(now, 'classification'), 'the model could not be loaded');
  assert.equal(session.failureOf(now, 'detection'), '');
  assert.equal(session.nextStep(now), 2);
  assert.equal(session.testsDone(now), 3);
});

test('a run is ended once, when none of its tests waits, and only if the server knows it', () => {
  let now = begin();
  now = session.withRun(now, 'classification', { registered: true });
  for (const at of [0, 1, 2]) now = session.withDone(now, at, 0, {});
  assert.deepEqual(session.runsToEnd(now), []);
  for (const at of [3, 4]) now = session.withDone(now, at, 0, {});
  assert.deepEqual(session.runsToEnd(now), ['classification']);
  now = session.withRun(now, 'classification', { ended: true });
  assert.deepEqual(session.runsToEnd(now), []);
  assert.equal(session.nextStep(now), -1);
});

test('the estimate counts rests, durations and loading', () => {
  assert.equal(session.estimateSeconds(catalogue, choice), 2 * 5 + (10 + 8 + 10 + 8 + 8) + 5 * 2);
});

test('values are never changed in place', () => {
  const before = begin();
  const copy = structuredClone(before);
  session.withDone(before, 0, 1, {});
  session.withFailure(before, 1, 'why');
  session.withRun(before, 'detection', { registered: true });
  assert.deepEqual(before, copy);
});

test('a test that the server no longer has is named', () => {
  assert.throws(() => session.testOf(catalogue, 'quick', { benchmark: 'detection', test: 'offline' }), /offline of detection/);
});
