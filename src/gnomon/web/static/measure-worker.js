// The worker that measures: it loads the runtime and a model, runs one test at a time, and hands the times back.
// Its own thread keeps the page's drawing out of the times. `measurer.js` is the other end of its messages.

import { collectAnswers } from './answers.js';
import { driftPpm, resolutionNs } from './clock.js';
import { batchFeeds, readInputs, singleFeeds } from './feeds.js';
import { offline, singleStream, warmUp } from './loops.js';
import { inWords } from './providers.js';
import { createSession, loadRuntime } from './runtime.js';

/** @typedef {import('./types.js').Test} Test */
/** @typedef {import('./types.js').Task} Task */
/** @typedef {{module_url: string, provider: import('./types.js').ProviderName, model: ArrayBuffer,
 *   inputs: ArrayBuffer, task: Task, test: Test}} Job */

const WARM_UP_MS = 500;
const clock = () => performance.now();

/** @type {{ort: any, session: any, inputs: import('./feeds.js').Inputs, job: Job} | undefined} */
let loaded;

/** @type {((rows: Int32Array) => void) | undefined} */
let rowsArrived;

addEventListener('message', ({ data }) => {
  if (data.type === 'load') guarded('load', () => load(data.job));
  if (data.type === 'measure') guarded('measure', measure);
  if (data.type === 'rows') rowsArrived?.(data.rows);
});

/** @param {string} stage @param {() => Promise<void>} work */
async function guarded(stage, work) {
  try {
    await work();
  } catch (error) {
    postMessage({ type: 'failed', stage, message: inWords(error) });
  }
}

/** @param {Job} job */
async function load(job) {
  await loaded?.session.release();
  loaded = undefined;
  const ort = await loadRuntime(job.module_url);
  const batch_size = isBatched(job.test) ? job.task.batch_size : 1;
  const { session, threads, isolated, remark } = await createSession(ort, job.provider, job.model, batch_size);
  const { dtype, shape, feeds } = job.task.inputs;
  loaded = { ort, session, inputs: readInputs(job.inputs, dtype, shape, feeds), job };
  postMessage({ type: 'loaded', threads, isolated, remark });
}

async function measure() {
  if (!loaded) throw new Error('no model is loaded');
  const { job } = loaded;
  const clock_resolution_ns = resolutionNs(clock);
  const run = isBatched(job.test) ? offlineRun(loaded) : singleRun(loaded);
  // A few calls tell how many rows the schedule needs; the rest warm up right before the clock starts.
  const first = await warmUp(clock, run.call, { calls: 0, elapsed_ms: 0 }, 0);
  const rows = await askForRows({ have: 0, latency_ms: first.fastest_ms / run.samples_per_call });
  const { calls } = await warmUp(clock, run.call, first, WARM_UP_MS);
  const start = { clock_ms: clock(), wall_ms: Date.now() };
  const { times, outputs } = await run.loop(rows);
  const end = { clock_ms: clock(), wall_ms: Date.now() };
  const faults = times.exhausted && job.test.kind === 'performance' ? [ranOut(times.issued_ms.length)] : [];
  const measured = {
    issued_ms: times.issued_ms,
    completed_ms: times.completed_ms,
    outputs,
    warm_up_calls: calls,
    started_at_ms: start.wall_ms,
    clock_resolution_ns,
    clock_drift_ppm: driftPpm(start, end),
    faults,
  };
  const buffers = [times.issued_ms.buffer, times.completed_ms.buffer, ...outputs.map(({ data }) => data.buffer)];
  postMessage({ type: 'finished', measured }, { transfer: buffers });
}

/** Only throughput is measured in batches; accuracy is told sample by sample. @param {Test} test */
function isBatched({ kind, scenario }) {
  return kind === 'performance' && scenario === 'offline';
}

/** @param {NonNullable<typeof loaded>} work */
function singleRun({ ort, session, inputs, job }) {
  const { prepare, feedsOf } = singleFeeds(inputs, session.inputNames, tensorMaker(ort));
  const answers = job.test.kind === 'accuracy' ? collectAnswers(job.test.min_query_count) : undefined;
  let row = 0;
  /** @type {any[]} */
  let outputs = [];
  /** @param {number} sample */
  const answer = async (sample) => {
    outputs = await readOutputs(session, await session.run(feedsOf(sample)));
  };
  return {
    samples_per_call: 1,
    call: () => {
      prepare(0);
      return answer(0);
    },
    /** @param {Int32Array} schedule */
    loop: async (schedule) => {
      const times = await singleStream({
        ...common(job.test, schedule),
        prepare: (sample) => {
          // The answer before is put away here, where no clock runs.
          if (answers && row > 0) answers.keep(row - 1, outputs);
          row += 1;
          prepare(sample);
        },
        answer,
      });
      if (answers && row > 0) answers.keep(row - 1, outputs);
      return { times, outputs: answers?.close(row) ?? [] };
    },
  };
}

/** @param {NonNullable<typeof loaded>} work */
function offlineRun({ ort, session, inputs, job }) {
  const { batch_size } = job.task;
  const gather = batchFeeds(inputs, session.inputNames, batch_size, tensorMaker(ort));
  /** @param {Int32Array} samples */
  const answer = async (samples) => {
    await readOutputs(session, await session.run(gather(samples)));
  };
  const first = Int32Array.from({ length: batch_size }, (_, at) => at % inputs.samples);
  return {
    samples_per_call: batch_size,
    call: () => answer(first),
    /** @param {Int32Array} schedule */
    loop: async (schedule) => ({
      times: await offline({ ...common(job.test, schedule), batch_size, answer }),
      outputs: [],
    }),
  };
}

/** @param {Test} test @param {Int32Array} schedule */
function common(test, schedule) {
  return {
    clock,
    schedule,
    more: (/** @type {number} */ have) => askForRows({ have, latency_ms: 0 }),
    limits: {
      min_query_count: test.min_query_count,
      max_query_count: test.kind === 'accuracy' ? test.min_query_count : test.max_query_count,
      min_duration_ms: test.kind === 'accuracy' ? 0 : test.min_duration_ns / 1e6,
      max_duration_ms: test.kind === 'accuracy' ? 0 : test.max_duration_ns / 1e6,
    },
    report: (/** @type {number} */ done, /** @type {number} */ elapsed_ms) =>
      postMessage({ type: 'progress', done, elapsed_ms }),
  };
}

/**
 * Every output in full, in the model's order; from a GPU that means its download, which is part of answering.
 * @param {any} session @param {Record<string, any>} results
 */
async function readOutputs(session, results) {
  const outputs = [];
  for (const name of session.outputNames) {
    const tensor = results[name];
    const onDevice = tensor.location !== 'cpu' && tensor.location !== 'cpu-pinned';
    const data = onDevice ? await tensor.getData(true) : tensor.data;
    outputs.push({ data, type: tensor.type, dims: tensor.dims });
  }
  return outputs;
}

/** @param {any} ort @returns {import('./feeds.js').MakeTensor} */
function tensorMaker(ort) {
  return (type, values, dims) => new ort.Tensor(type, values, dims);
}

/**
 * Rows of the schedule, which only the page can fetch.
 * @param {{have: number, latency_ms: number}} need
 * @returns {Promise<Int32Array>}
 */
function askForRows(need) {
  return new Promise((resolve) => {
    rowsArrived = resolve;
    postMessage({ type: 'need-rows', ...need });
  });
}

/** @param {number} rows */
function ranOut(rows) {
  return {
    kind: 'schedule',
    message: `only ${rows} rows of the schedule could be had: keep the server in reach, or prepare for offline first`,
  };
}
