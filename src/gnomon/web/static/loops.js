// The timed loops: they take a clock in milliseconds and a function that answers, and give the times back.
// Between `issued` and `completed` stands one awaited call and nothing else; all else happens between queries.

// Each report has the page drawn anew, on a processor that the model shares.
const REPORT_EVERY_MS = 1000;
const FIRST_CAPACITY = 1 << 14;

/**
 * @typedef {object} Limits
 * @property {number} min_query_count
 * @property {number} max_query_count   0: none.
 * @property {number} min_duration_ms
 * @property {number} max_duration_ms   0: none.
 */

/**
 * @typedef {object} Loop
 * @property {() => number} clock
 * @property {Int32Array} schedule      The first rows; `more` fetches further ones.
 * @property {(have: number) => Promise<Int32Array>} more   All rows, more than `have` of them; no more if there are none.
 * @property {Limits} limits
 * @property {(done: number, elapsed_ms: number) => void} report   At most once a second, between queries.
 */

/** @typedef {{issued_ms: Float64Array, completed_ms: Float64Array, exhausted: boolean}} Times */

/**
 * One sample after another, each only when the last is answered.
 * @param {Loop & {prepare: (sample: number) => void, answer: (sample: number) => Promise<void>}} loop
 *   `prepare` is not timed.
 * @returns {Promise<Times>}
 */
export async function singleStream({ clock, schedule, more, limits, report, prepare, answer }) {
  const record = makeRecord(limits);
  const began = clock();
  let rows = schedule;
  let done = 0;
  let reported = 0;
  let elapsed = 0;
  while (!isOver(limits, done, elapsed)) {
    if (done === rows.length) rows = await more(done);
    if (done >= rows.length) return record.close(done, began, true);
    record.makeRoom(done + 1);
    const sample = rows[done];
    prepare(sample);
    const issued = clock();
    await answer(sample);
    const completed = clock();
    record.issued_ms[done] = issued;
    record.completed_ms[done] = completed;
    done += 1;
    elapsed = issued - began; // a stream's duration is told by its last issue
    if (elapsed - reported >= REPORT_EVERY_MS) {
      reported = elapsed;
      report(done, elapsed);
    }
  }
  return record.close(done, began, false);
}

/**
 * Batches as fast as they are answered. A sample is issued when its batch begins, the gathering of its inputs
 * included, and completed when the batch ends. The last batch holds only what the limits still ask for.
 * @param {Loop & {batch_size: number, answer: (samples: Int32Array) => Promise<void>}} loop
 * @returns {Promise<Times>}
 */
export async function offline({ clock, schedule, more, limits, report, batch_size, answer }) {
  const record = makeRecord(limits);
  const began = clock();
  let rows = schedule;
  let done = 0;
  let reported = 0;
  let elapsed = 0;
  while (!isOver(limits, done, elapsed)) {
    const wanted = done + batchWithin(limits, done, elapsed, batch_size);
    if (wanted > rows.length) rows = await more(done);
    const end = Math.min(wanted, rows.length);
    if (end === done) return record.close(done, began, true);
    record.makeRoom(end);
    const samples = rows.subarray(done, end);
    const issued = clock();
    await answer(samples);
    const completed = clock();
    record.issued_ms.fill(issued, done, end);
    record.completed_ms.fill(completed, done, end);
    done = end;
    elapsed = completed - began;
    if (elapsed - reported >= REPORT_EVERY_MS) {
      reported = elapsed;
      report(done, elapsed);
    }
  }
  return record.close(done, began, false);
}

/**
 * Calls before the clock counts: at least five and half a second of them, at most fifty.
 * @param {() => number} clock
 * @param {() => Promise<void>} call
 * @param {{calls: number, elapsed_ms: number}} before   What was already called.
 * @param {number} enough_ms
 */
export async function warmUp(clock, call, before, enough_ms) {
  let { calls, elapsed_ms } = before;
  let fastest_ms = Infinity;
  while (calls < 5 || (elapsed_ms < enough_ms && calls < 50)) {
    const began = clock();
    await call();
    const took = clock() - began;
    elapsed_ms += took;
    fastest_ms = Math.min(fastest_ms, took);
    calls += 1;
  }
  return { calls, elapsed_ms, fastest_ms };
}

/** @param {Limits} limits @param {number} done @param {number} elapsed_ms */
function isOver(limits, done, elapsed_ms) {
  if (limits.max_query_count > 0 && done >= limits.max_query_count) return true;
  if (limits.max_duration_ms > 0 && elapsed_ms >= limits.max_duration_ms) return true;
  return done >= limits.min_query_count && elapsed_ms >= limits.min_duration_ms;
}

/** @param {Limits} limits @param {number} done @param {number} elapsed_ms @param {number} batch_size */
function batchWithin(limits, done, elapsed_ms, batch_size) {
  const left = limits.max_query_count > 0 ? limits.max_query_count - done : batch_size;
  const asked = elapsed_ms >= limits.min_duration_ms ? limits.min_query_count - done : batch_size;
  return Math.min(batch_size, left, asked);
}

/** Two columns that grow between queries, never within one. @param {Limits} limits */
function makeRecord(limits) {
  const capacity = Math.max(FIRST_CAPACITY, limits.min_query_count);
  const record = {
    issued_ms: new Float64Array(capacity),
    completed_ms: new Float64Array(capacity),
    /** @param {number} rows */
    makeRoom(rows) {
      if (rows <= record.issued_ms.length) return;
      record.issued_ms = doubled(record.issued_ms);
      record.completed_ms = doubled(record.completed_ms);
    },
    /** @param {number} rows @param {number} began @param {boolean} exhausted @returns {Times} */
    close(rows, began, exhausted) {
      return {
        issued_ms: record.issued_ms.slice(0, rows).map((at) => at - began),
        completed_ms: record.completed_ms.slice(0, rows).map((at) => at - began),
        exhausted,
      };
    },
  };
  return record;
}

/** @param {Float64Array} column */
function doubled(column) {
  const wider = new Float64Array(column.length * 2);
  wider.set(column);
  return wider;
}
