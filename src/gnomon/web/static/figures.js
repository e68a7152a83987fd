// The headline of a test from its own times, so that a result can be shown before the server has seen it.
// The server computes it again from the same times; its word counts.

/** @typedef {import('./types.js').Test} Test */
/** @typedef {import('./types.js').OwnFigures} OwnFigures */

/**
 * @param {Test} test
 * @param {Float64Array} issued_ns
 * @param {Float64Array} completed_ns
 * @returns {OwnFigures}
 */
export function ownFigures(test, issued_ns, completed_ns) {
  const samples = issued_ns.length;
  if (samples === 0 || test.kind === 'accuracy') return {};
  if (test.scenario === 'offline') return { samples_per_s: (samples * 1e9) / completed_ns[samples - 1] };
  const ordered = completed_ns.map((at, row) => at - issued_ns[row]).sort();
  return {
    percentile: test.percentile,
    // The field's percentile: no interpolation.
    percentile_ns: ordered[Math.floor(samples * test.percentile)],
    queries_per_s: ((samples - 1) * 1e9) / Math.max(1, issued_ns[samples - 1]),
  };
}
