// What the clock of this page is worth: its smallest step, and how far it drifts from the wall clock.

/**
 * The smallest step seen between two readings that differ.
 * @param {() => number} clock   Milliseconds.
 * @param {number} [for_ms]
 */
export function resolutionNs(clock, for_ms = 30) {
  const until = clock() + for_ms;
  let smallest = Infinity;
  let before = clock();
  while (before < until) {
    const now = clock();
    if (now > before) smallest = Math.min(smallest, now - before);
    before = now;
  }
  return Math.round(smallest * 1e6);
}

/**
 * @param {{clock_ms: number, wall_ms: number}} start
 * @param {{clock_ms: number, wall_ms: number}} end
 * @returns {number}   Parts per million by which the clock gained on the wall clock.
 */
export function driftPpm(start, end) {
  const wall = end.wall_ms - start.wall_ms;
  if (wall <= 0) return 0;
  const gained = end.clock_ms - start.clock_ms - wall;
  return Math.round((gained / wall) * 1e7) / 10;
}
