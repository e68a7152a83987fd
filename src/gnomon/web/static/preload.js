// Fetching ahead while the person reads: what the first test needs, then the rest, then schedules for use without
// the server. It stops as soon as a session starts; the session itself fetches what is then still missing.

import { fetchAll, filesFor, isHere, modelOf } from './files.js';
import { candidates } from './providers.js';

/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Choice} Choice */
/** @typedef {import('./types.js').Probe} Probe */
/** @typedef {{fraction: number, ready: boolean, error: string}} Progress */

/**
 * Every file of this choice once, the first task's first.
 * @param {Catalogue} catalogue @param {Probe[]} probes @param {Choice} choice
 */
function filesOfChoice(catalogue, probes, choice) {
  const [provider] = candidates(choice.provider, probes);
  if (!provider) return [];
  const tasks = catalogue.tasks.filter(
    (task) => choice.tasks.includes(task.benchmark) && modelOf(task, choice.precision),
  );
  const all = tasks.flatMap((task) => filesFor(catalogue.runtime, provider, task, choice.precision));
  return [...new Map(all.map((file) => [file.path, file])).values()];
}

/** What still has to come over the network, in bytes as they are sent. @param {Catalogue} catalogue @param {Probe[]} probes @param {Choice} choice */
export function bytesToCome(catalogue, probes, choice) {
  const missing = filesOfChoice(catalogue, probes, choice).filter((file) => !isHere(file));
  return missing.reduce((total, { bytes, transfer_bytes }) => total + (transfer_bytes ?? bytes), 0);
}

/**
 * @param {Catalogue} catalogue @param {Probe[]} probes @param {Choice} choice
 * @param {ReturnType<typeof import('./schedules.js').makeSchedules>} schedules
 * @param {(progress: Progress) => void} onProgress
 * @returns {() => void}   Stops it.
 */
export function preload(catalogue, probes, choice, schedules, onProgress) {
  const controller = new AbortController();
  const { signal } = controller;
  const files = filesOfChoice(catalogue, probes, choice);
  const whole = files.reduce((total, { bytes }) => total + bytes, 0);
  let done = files.filter(isHere).reduce((total, { bytes }) => total + bytes, 0);
  /** @param {Partial<Progress>} change */
  const tell = (change) => {
    if (!signal.aborted) onProgress({ fraction: Math.min(1, done / (whole || 1)), ready: false, error: '', ...change });
  };
  const work = async () => {
    tell({});
    await fetchAll(
      files.filter((file) => !isHere(file)),
      catalogue.runtime,
      (bytes) => {
        done += bytes;
        tell({});
      },
      signal,
    );
    for (const task of catalogue.tasks.filter(({ benchmark }) => choice.tasks.includes(benchmark))) {
      for (const test of task.tests[choice.mode]) {
        if (signal.aborted) return;
        await schedules.prepare(test);
      }
    }
    done = whole;
    tell({ ready: true });
  };
  work().catch((error) => tell({ error: error.message }));
  return () => controller.abort();
}
