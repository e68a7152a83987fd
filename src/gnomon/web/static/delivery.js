// What the page says of results on their way to the server: whether they are there, and what to do until then.

import { count } from './format.js';

/** @typedef {import('./session.js').Session} Session */

/**
 * What still waits, and whether the server answered when it was last tried.
 * @typedef {object} Delivery
 * @property {number} waiting
 * @property {boolean} reachable
 */

/** During a session, where the count of what waits changes with every test and helps nobody. */
export const UNREACHABLE = 'The server cannot be reached: results wait here and are sent when it is back.';

/** Of what waits; '' when nothing does. @param {Delivery} delivery */
export function waitingText({ waiting, reachable }) {
  if (waiting === 0) return '';
  if (reachable) return `Sending: ${count(waiting, 'result')} to go. Keep this page open.`;
  const wait = count(waiting, 'result waits', 'results wait');
  return `The server cannot be reached: ${wait} in this browser and ${waiting === 1 ? 'is' : 'are'} sent when it is back.`;
}

/** Of a session that measures nothing any more. Only what the server has is done. @param {Delivery} delivery @param {Session} session */
export function endedText(delivery, session) {
  if (delivery.waiting > 0) return waitingText(delivery);
  const whole = session.steps.every(({ status }) => status === 'done');
  const ended = whole ? 'All tests are done' : 'The session has ended; not every test was measured';
  const refused = Object.values(session.runs).some(({ refusals }) => refusals.length > 0);
  return refused ? `${ended}. The server refused a part: see below.` : `${ended}. The server has the results.`;
}
