// A session carried out: step by step it rests, loads, registers the run, measures, keeps the result, lets it be sent.
// What it shows goes through `show`; what it must not lose is in the store before it goes on.

import { powerBetween, readPower, watchPage } from './conditions.js';
import { ownFigures } from './figures.js';
import { BASE, fetchAll, fileOf, filesFor, modelOf } from './files.js';
import { MeasureError } from './measurer.js';
import { candidates, inWords, TITLES, withRefusal, withRemark } from './providers.js';
import { failureOf, nextStep, restLeft, runsToEnd, testOf, withDone, withFailure, withHidden, withRun } from './session.js';
import { encodeTest, nanoseconds } from './wire.js';

/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./session.js').Step} Step */
/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Measured} Measured */
/** @typedef {import('./types.js').Probe} Probe */
/** @typedef {import('./types.js').ProviderName} ProviderName */
/** @typedef {import('./types.js').RanOn} RanOn */
/** @typedef {import('./types.js').Test} Test */
/** @typedef {import('./upload.js').Parcel} Parcel */

/**
 * @typedef {object} Parts
 * @property {Catalogue} catalogue
 * @property {Probe[]} probes
 * @property {import('./device.js').Device} device
 * @property {import('./measurer.js').Measurer} measurer
 * @property {ReturnType<typeof import('./schedules.js').makeSchedules>} schedules
 * @property {import('./keeper.js').Keeper} keeper
 */

/**
 * What happens, for the screen. `ask` waits for the person and says whether to go on.
 * @typedef {object} Show
 * @property {(session: Session, at: number) => void} step
 * @property {(session: Session, at: number, left_s: number, whole_s: number) => void} resting
 * @property {(done: number, whole: number) => void} loading
 * @property {(text: string) => void} preparing
 * @property {(test: Test, done: number, elapsed_ms: number) => void} measuring
 * @property {(title: string, text: string, button: string) => Promise<void>} ask
 */

const REGISTER_LIMIT_MS = 10_000;
const SEND_MOMENT_MS = 5000;

/** The person ended the session. */
export class Stopped extends Error {}

/**
 * Measures every step that waits; returns when none does, throws `Stopped` when the person ends it.
 * @param {Parts} parts @param {Show} show @param {AbortSignal} signal
 */
export async function conduct(parts, show, signal) {
  const { keeper, measurer } = parts;
  signal.addEventListener('abort', () => measurer.stop());
  for (;;) {
    const at = nextStep(keeper.session());
    if (at < 0) return;
    show.step(keeper.session(), at);
    keeper.startSending();
    try {
      await fetchFor(parts, at, show, signal);
      await rest(parts, at, show, signal);
      await attempt(parts, at, show);
    } catch (error) {
      if (signal.aborted) throw new Stopped();
      await handle(parts, at, show, error);
    }
    if (signal.aborted) throw new Stopped();
    await endFinishedRuns(parts, '');
  }
}

/**
 * Tells the server of every run of which no test is left to measure; `why` where a person ended them early.
 * @param {Pick<Parts, 'keeper'>} parts @param {string} why
 */
export async function endFinishedRuns({ keeper }, why) {
  for (const benchmark of runsToEnd(keeper.session())) {
    const reason = why || failureOf(keeper.session(), benchmark);
    const parcel = keeper.parcel('POST', benchmark, '/end', { interrupted_because: reason });
    await keeper.change((session) => withRun(session, benchmark, { ended: true }), [parcel]);
  }
}

/** A step came to nothing, and not by the person's will. @param {Parts} parts @param {number} at @param {Show} show @param {unknown} error */
async function handle({ keeper, measurer }, at, show, error) {
  measurer.stop();
  if (error instanceof Hidden) {
    await keeper.change((session) => withHidden(session, at, Date.now()));
    keeper.startSending();
    await show.ask('Interrupted', `${error.message} What was measured of it does not count.`, 'Measure it again');
    return;
  }
  if (error instanceof MeasureError) {
    const { message } = error;
    await keeper.change((session) => withFailure(session, at, message));
    return;
  }
  const why = inWords(error);
  await show.ask('Waiting', `${why}. Nothing measured so far is lost: mend that, then go on.`, 'Try again');
}

/** @param {Parts} parts @param {number} at */
function setting({ catalogue, keeper }, at) {
  const session = keeper.session();
  const step = session.steps[at];
  const task = catalogue.tasks.find(({ benchmark }) => benchmark === step.benchmark);
  if (!task) throw new MeasureError('the server no longer offers this task');
  return { session, step, task, test: testOf(catalogue, session.choice.mode, step) };
}

/** Providers still open to this run: the one that its first test ran on, once there is one. @param {Parts} parts @param {Session} session @param {string} benchmark */
function open({ probes }, session, benchmark) {
  const { provider } = session.runs[benchmark];
  return provider ? [provider.name] : candidates(session.choice.provider, probes);
}

/** @param {Parts} parts @param {number} at @param {Show} show @param {AbortSignal} signal */
async function fetchFor(parts, at, show, signal) {
  const { session, step, task } = setting(parts, at);
  const { runtime } = parts.catalogue;
  const [provider] = open(parts, session, step.benchmark);
  const wanted = filesFor(runtime, provider, task, session.choice.precision);
  const whole = wanted.reduce((total, { bytes }) => total + bytes, 0);
  let done = 0;
  await fetchAll(wanted, runtime, (bytes) => show.loading((done += bytes), whole), signal);
}

/** @param {Parts} parts @param {number} at @param {Show} show @param {AbortSignal} signal */
async function rest({ keeper }, at, show, signal) {
  const whole_s = restLeft(keeper.session(), at, Date.now());
  let left_s = whole_s;
  while (left_s > 0 && !signal.aborted) {
    show.resting(keeper.session(), at, left_s, whole_s);
    await new Promise((resolve) => setTimeout(resolve, Math.min(250, left_s * 1000)));
    left_s = restLeft(keeper.session(), at, Date.now());
  }
  if (signal.aborted) throw new Stopped();
}

/** One test from its model to its result in the store. @param {Parts} parts @param {number} at @param {Show} show */
async function attempt(parts, at, show) {
  const { keeper, measurer, schedules } = parts;
  const { step, test } = setting(parts, at);
  show.preparing('Loading the model');
  await loadOnto(parts, at);
  const online = await register(parts, step.benchmark);
  const [refused] = keeper.session().runs[step.benchmark].refusals;
  if (refused) throw new MeasureError(`the server refused: ${refused}`);
  await keeper.pauseSending(SEND_MOMENT_MS);
  show.preparing('Warming up');
  const { rest_since_ms } = keeper.session();
  const began_ms = Date.now();
  const power_start = await readPower();
  let hidden = document.hidden;
  const page = watchPage(() => {
    hidden = true;
    measurer.stop();
  });
  /** @type {ReturnType<typeof page.stop>} */
  let seen;
  /** @type {Measured} */
  let measured;
  try {
    measured = await measurer.measure(
      (done, elapsed_ms) => show.measuring(test, done, elapsed_ms),
      (need) => schedules.rowsFor(test, need),
    );
  } catch (error) {
    if (hidden) throw new Hidden();
    throw error;
  } finally {
    seen = page.stop();
  }
  const conditions = {
    cooldown_s: rest_since_ms === null ? null : (began_ms - rest_since_ms) / 1000,
    battery: powerBetween(power_start, await readPower()),
    ...seen,
    visibility_changes: seen.visibility_changes + step.hidden_attempts,
    clock_resolution_ns: measured.clock_resolution_ns,
    clock_drift_ppm: measured.clock_drift_ppm,
    online,
  };
  await keepResult(parts, at, test, measured, conditions);
}

/** @param {Parts} parts @param {number} at @param {Test} test @param {Measured} measured @param {import('./types.js').Conditions} conditions */
async function keepResult({ keeper }, at, test, measured, conditions) {
  const { benchmark } = keeper.session().steps[at];
  const { started_at_ms, warm_up_calls, faults } = measured;
  const issued_ns = nanoseconds(measured.issued_ms);
  const completed_ns = nanoseconds(measured.completed_ms);
  const shape = [issued_ns.length];
  const header = { test: test.name, kind: test.kind, started_at_ms, warm_up_calls, interrupted: false, faults, conditions };
  const body = encodeTest(header, [
    { name: 'issued_ns', data: issued_ns, shape },
    { name: 'completed_ns', data: completed_ns, shape },
    ...measured.outputs,
  ]);
  const figures = ownFigures(test, issued_ns, completed_ns);
  const parcel = keeper.parcel('PUT', benchmark, `/tests/${test.name}`, body);
  await keeper.change((session) => withDone(session, at, Date.now(), figures), [parcel]);
}

/**
 * Puts the model onto a provider. Of `auto`, the next is tried when one refuses, and the record says so; one asked
 * for by name fails in its own words.
 * @param {Parts} parts @param {number} at
 */
async function loadOnto(parts, at) {
  const { catalogue, keeper, measurer, probes } = parts;
  const { session, step, task, test } = setting(parts, at);
  const { precision } = session.choice;
  const model = modelOf(task, precision);
  if (!model) throw new MeasureError(`this task has no ${precision} model`);
  const inputs = await fileOf(task.inputs);
  let seen = session.runs[step.benchmark].provider?.probes ?? probes;
  let refusal = 'no provider here can run models';
  for (const name of open(parts, session, step.benchmark)) {
    const module = catalogue.runtime.providers[name]?.module;
    if (!module) continue;
    const module_url = new URL(module, BASE).href;
    try {
      const job = { module_url, provider: name, model: await fileOf(model), inputs, task, test };
      const { threads, isolated, remark } = await measurer.load(job);
      if (session.runs[step.benchmark].provider) return;
      if (remark) seen = withRemark(seen, name, remark);
      const provider = { name, threads, isolated, requested: session.choice.provider, probes: seen };
      await keeper.change((now) => withRun(now, step.benchmark, { provider }));
      return;
    } catch (error) {
      if (!(error instanceof MeasureError)) throw error;
      measurer.stop();
      refusal = `${TITLES[name]} could not load this model: ${error.message}`;
      seen = withRefusal(seen, name, refusal);
    }
  }
  throw new MeasureError(refusal);
}

/**
 * Tells the server that this run begins, before its first test does. Whether it heard is part of the conditions.
 * @param {Parts} parts @param {string} benchmark
 */
async function register({ keeper, device }, benchmark) {
  const session = keeper.session();
  const run = session.runs[benchmark];
  if (!run.registered) {
    const { mode, precision } = session.choice;
    const record = {
      mode,
      precision,
      provider: run.provider,
      device,
      clock: { resolution_ns: keeper.clock_resolution_ns },
      started_at_ms: Date.now(),
    };
    const parcel = keeper.parcel('PUT', benchmark, '', record);
    await keeper.change((now) => withRun(now, benchmark, { registered: true }), [parcel]);
  }
  return keeper.isDelivered(benchmark, REGISTER_LIMIT_MS);
}

/** The page left the front during a test. */
class Hidden extends Error {
  constructor() {
    super('The page was hidden while a test ran: the browser slows hidden pages down.');
  }
}
