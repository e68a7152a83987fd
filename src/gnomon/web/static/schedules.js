// The order in which a test takes its samples, row by row as the server made it from the seeds.
// A test of unknown length asks for more as it goes; rows once fetched stay the same, so more only adds to the end.

/** @typedef {import('./types.js').Test} Test */

const MOST_ROWS = 1 << 20;
const LEAST_ROWS = 1 << 12;
const RESERVE = 1.3;
/** The quickest answers for which rows are kept for use without the server. */
const QUICKEST_PREPARED_MS = 0.25;

/**
 * As many rows as a test of answers this quick may need, as a power of two so that few sizes are ever asked for.
 * @param {Test} test @param {number} latency_ms
 */
export function rowsNeeded(test, latency_ms) {
  if (test.kind === 'accuracy') return test.min_query_count;
  const by_duration = latency_ms > 0 ? test.min_duration_ns / 1e6 / latency_ms : 0;
  const rows = Math.ceil(RESERVE * Math.max(test.min_query_count, by_duration));
  return Math.min(MOST_ROWS, Math.max(LEAST_ROWS, 2 ** Math.ceil(Math.log2(rows))));
}

/**
 * @param {(path: string) => Promise<ArrayBuffer>} fetchBytes
 */
export function makeSchedules(fetchBytes) {
  /** @type {Map<string, Int32Array>} */
  const kept = new Map();

  /** @param {Test} test @param {number} rows */
  async function atLeast(test, rows) {
    const known = kept.get(test.schedule);
    if (known && known.length >= rows) return known;
    const fetched = new Int32Array(await fetchBytes(`${test.schedule}?rows=${rows}`));
    kept.set(test.schedule, fetched);
    return fetched;
  }

  /** Fetches ahead, for a session without the server. @param {Test} test */
  const prepare = (test) => atLeast(test, rowsNeeded(test, QUICKEST_PREPARED_MS));

  return {
    prepare,
    /**
     * Rows for a running test. Without the server it gets what was prepared; the test then ends when they run out.
     * @param {Test} test @param {{have: number, latency_ms: number}} need
     */
    async rowsFor(test, { have, latency_ms }) {
      const rows = have > 0 ? Math.min(MOST_ROWS, have * 2) : rowsNeeded(test, latency_ms);
      try {
        return await atLeast(test, rows);
      } catch {
        return kept.get(test.schedule) ?? prepare(test);
      }
    },
  };
}
