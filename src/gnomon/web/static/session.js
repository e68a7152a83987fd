// The plan of a session and where it stands: plain values and pure functions from one to the next.
// Rules of the field: all performance tests first, with a rest between them, then all accuracy tests.

/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Choice} Choice */
/** @typedef {import('./types.js').Kind} Kind */
/** @typedef {import('./types.js').Test} Test */
/** @typedef {import('./types.js').RanOn} RanOn */
/** @typedef {import('./types.js').OwnFigures} OwnFigures */
/** @typedef {import('./types.js').Check} Check */

/**
 * @typedef {object} Step
 * @property {string} benchmark
 * @property {string} test
 * @property {Kind} kind
 * @property {'waiting' | 'done' | 'failed'} status
 * @property {number} hidden_attempts   Attempts thrown away since the page left the front.
 * @property {string} why               Of a failure.
 * @property {OwnFigures} [figures]
 */

/**
 * What is known of one benchmark's run: what it ran on once its first test began, and the server's words later.
 * @typedef {object} Run
 * @property {RanOn} [provider]
 * @property {boolean} registered       The server has been told, or will be.
 * @property {boolean} ended
 * @property {Record<string, {result: any, checks: Check[], grade: string}>} answers   By test.
 * @property {{verdict: string, remark: string, grade: string, checks: Check[], run: string}} [verdict]
 * @property {string[]} refusals        What the server would not take, in its words.
 */

/**
 * @typedef {object} Session
 * @property {string} id
 * @property {string} key
 * @property {Choice} choice
 * @property {number} cooldown_s        Rest that the mode asks for before a performance test, but the first.
 * @property {number} started_at_ms
 * @property {Step[]} steps
 * @property {Record<string, Run>} runs
 * @property {number | null} rest_since_ms   Wall clock at the end of the last performance attempt.
 * @property {boolean} finished
 */

/** @param {Catalogue} catalogue @param {Choice} choice @returns {Step[]} */
export function planSteps(catalogue, choice) {
  const chosen = catalogue.tasks.filter(({ benchmark }) => choice.tasks.includes(benchmark));
  const steps = chosen.flatMap((task) =>
    task.tests[choice.mode].map(({ name, kind }) => ({ benchmark: task.benchmark, test: name, kind })),
  );
  const ordered = [
    ...steps.filter(({ kind }) => kind === 'performance'),
    ...steps.filter(({ kind }) => kind === 'accuracy'),
  ];
  return ordered.map((step) => ({ ...step, status: 'waiting', hidden_attempts: 0, why: '' }));
}

/**
 * @param {Catalogue} catalogue @param {Choice} choice @param {{id: string, key: string, now_ms: number}} made
 * @returns {Session}
 */
export function startSession(catalogue, choice, { id, key, now_ms }) {
  const steps = planSteps(catalogue, choice);
  /** @type {Record<string, Run>} */
  const runs = {};
  for (const { benchmark } of steps) runs[benchmark] = { registered: false, ended: false, answers: {}, refusals: [] };
  const { cooldown_s } = modeOf(catalogue, choice.mode);
  return { id, key, choice, cooldown_s, started_at_ms: now_ms, steps, runs, rest_since_ms: null, finished: false };
}

/** @param {Catalogue} catalogue @param {string} name */
function modeOf(catalogue, name) {
  const mode = catalogue.modes.find((candidate) => candidate.name === name);
  if (!mode) throw new Error(`there is no run mode ${name}`);
  return mode;
}

/** The place of the next step, or -1 when all is done. @param {Session} session */
export function nextStep(session) {
  return session.steps.findIndex(({ status }) => status === 'waiting');
}

/**
 * Seconds still to rest before this step. An attempt that came to nothing has warmed the phone as well.
 * @param {Session} session @param {number} at @param {number} now_ms
 */
export function restLeft({ steps, cooldown_s, rest_since_ms }, at, now_ms) {
  if (steps[at].kind !== 'performance' || rest_since_ms === null) return 0;
  return Math.max(0, cooldown_s - (now_ms - rest_since_ms) / 1000);
}

/** @param {Session} session @param {number} at @param {number} now_ms @param {OwnFigures} figures @returns {Session} */
export function withDone(session, at, now_ms, figures) {
  return rested(withStep(session, at, { status: 'done', figures }), at, now_ms);
}

/** An attempt that does not count: the page left the front. @param {Session} session @param {number} at @param {number} now_ms */
export function withHidden(session, at, now_ms) {
  const hidden_attempts = session.steps[at].hidden_attempts + 1;
  return rested(withStep(session, at, { hidden_attempts }), at, now_ms);
}

/** A benchmark that cannot go on: none of its remaining tests is measured. @param {Session} session @param {number} at @param {string} why */
export function withFailure(session, at, why) {
  const { benchmark } = session.steps[at];
  const steps = session.steps.map((step) =>
    step.benchmark === benchmark && step.status === 'waiting'
      ? { ...step, status: /** @type {const} */ ('failed'), why }
      : step,
  );
  return { ...session, steps };
}

/** @param {Session} session @param {string} benchmark @param {Partial<Run>} change @returns {Session} */
export function withRun(session, benchmark, change) {
  return { ...session, runs: { ...session.runs, [benchmark]: { ...session.runs[benchmark], ...change } } };
}

/** Benchmarks of which no test is left, and whose end the server has not been told. @param {Session} session */
export function runsToEnd(session) {
  return Object.keys(session.runs).filter((benchmark) => {
    const { registered, ended } = session.runs[benchmark];
    const own = session.steps.filter((step) => step.benchmark === benchmark);
    return registered && !ended && own.every(({ status }) => status !== 'waiting');
  });
}

/** Why a benchmark has no result, or ''. @param {Session} session @param {string} benchmark */
export function failureOf(session, benchmark) {
  return session.steps.find((step) => step.benchmark === benchmark && step.status === 'failed')?.why ?? '';
}

/** @param {Session} session */
export function testsDone(session) {
  return session.steps.filter(({ status }) => status !== 'waiting').length;
}

/**
 * What a session costs at least, in seconds: rests, least durations, and a few seconds to load each model.
 * @param {Catalogue} catalogue @param {Choice} choice
 */
export function estimateSeconds(catalogue, choice) {
  const load_s = 2;
  const undated_s = 8; // tests that end by a count of samples alone: a guess, on a phone of today
  const { cooldown_s } = modeOf(catalogue, choice.mode);
  return planSteps(catalogue, choice).reduce((total, step, at) => {
    const { min_duration_ns } = testOf(catalogue, choice.mode, step);
    const rest_s = at > 0 && step.kind === 'performance' ? cooldown_s : 0;
    return total + rest_s + load_s + (min_duration_ns > 0 ? min_duration_ns / 1e9 : undated_s);
  }, 0);
}

/** @param {Catalogue} catalogue @param {string} mode @param {{benchmark: string, test: string}} step @returns {Test} */
export function testOf(catalogue, mode, { benchmark, test }) {
  const task = catalogue.tasks.find((candidate) => candidate.benchmark === benchmark);
  const found = task?.tests[mode]?.find(({ name }) => name === test);
  if (!found) throw new Error(`the server no longer has the test ${test} of ${benchmark}`);
  return found;
}

/** @param {Session} session @param {number} at @param {Partial<Step>} change @returns {Session} */
function withStep(session, at, change) {
  return { ...session, steps: session.steps.map((step, place) => (place === at ? { ...step, ...change } : step)) };
}

/** @param {Session} session @param {number} at @param {number} now_ms @returns {Session} */
function rested(session, at, now_ms) {
  return session.steps[at].kind === 'performance' ? { ...session, rest_since_ms: now_ms } : session;
}
