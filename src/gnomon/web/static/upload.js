// Deliveries to the server, in order, again and again until it has them: it takes the same bytes twice and answers the
// same. A parcel is only dropped when the server has it, or says in words that it will not take it.

/**
 * One request that must arrive. `order` is when it was made; requests of a session depend on the ones before.
 * @typedef {object} Parcel
 * @property {string} id
 * @property {number} order
 * @property {'PUT' | 'POST'} method
 * @property {string} path
 * @property {string} key
 * @property {string} content_type
 * @property {string | Uint8Array<ArrayBuffer>} body
 */

/** @typedef {{status: number, body: any}} Reply   `body` is undefined where it is no JSON. */

/**
 * @typedef {object} Surroundings
 * @property {Pick<import('./store.js').Store, 'parcels' | 'delivered'>} store
 * @property {(parcel: Parcel, signal: AbortSignal) => Promise<Reply>} send
 * @property {(milliseconds: number, signal: AbortSignal) => Promise<void>} wait
 * @property {(parcel: Parcel, answer: any) => void | Promise<void>} onAnswer
 * @property {(parcel: Parcel, why: string) => void | Promise<void>} onRefusal
 * @property {(parcels: Parcel[], reachable: boolean) => void} onChange   What waits, and whether the server answers.
 */

/** The session's secret travels in it; `gnomon.web.session_routes` reads it. */
export const KEY_HEADER = 'X-Gnomon-Key';
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;
const SEND_LIMIT_MS = 120_000;

/**
 * A refusal is final only in the server's own words: a 404 from elsewhere (a new token, a proxy) loses nothing.
 * @param {Reply} reply @returns {'delivered' | 'refused' | 'again'}
 */
export function judge({ status, body }) {
  if (status >= 200 && status < 300) return 'delivered';
  const passing = status === 408 || status === 425 || status === 429;
  return status >= 400 && status < 500 && !passing && typeof body?.error === 'string' ? 'refused' : 'again';
}

/** @param {number} failures   In a row. @param {number} chance   0 to 1, so that many pages do not return at once. */
export function waitAfter(failures, chance) {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1)) * (0.75 + 0.5 * chance);
}

/** @param {Surroundings} surroundings */
export function makeUploader({ store, send, wait, onAnswer, onRefusal, onChange }) {
  /** @type {AbortController | undefined} */
  let running;
  /** @type {AbortController | undefined} */
  let nap;
  let more = false;
  /** @type {Promise<void>} */
  let ended = Promise.resolve();

  /** @param {AbortSignal} signal */
  async function deliverAll(signal) {
    let failures = 0;
    for (;;) {
      more = false;
      const parcels = await store.parcels();
      if (signal.aborted) return;
      if (failures === 0) onChange(parcels, true);
      const [parcel] = parcels;
      if (!parcel && more) continue;
      if (!parcel) {
        running = undefined; // at once: whoever starts now must not rely on a loop that is over
        return;
      }
      failures = (await deliver(parcel, signal)) ? 0 : failures + 1;
      if (signal.aborted) return;
      if (failures > 0) {
        onChange(parcels, false);
        nap = new AbortController();
        await wait(waitAfter(failures, Math.random()), nap.signal);
        if (signal.aborted) return;
      }
    }
  }

  /** @param {Parcel} parcel @param {AbortSignal} signal @returns {Promise<boolean>}   Whether it is settled. */
  async function deliver(parcel, signal) {
    const reply = await send(parcel, signal).catch(() => ({ status: 0, body: undefined }));
    if (signal.aborted) return false;
    const verdict = judge(reply);
    if (verdict === 'again') return false;
    if (verdict === 'delivered') await onAnswer(parcel, reply.body);
    else await onRefusal(parcel, reply.body.error);
    await store.delivered(parcel.id);
    return true;
  }

  return {
    /** Begins to deliver; where it rests before its next try, tries at once. */
    start() {
      more = true;
      nap?.abort();
      if (running) return;
      const controller = new AbortController();
      running = controller;
      ended = deliverAll(controller.signal).catch(() => {
        if (running === controller) running = undefined;
      });
    },
    /** Stops before a test is measured; what was under way is sent again later. */
    async pause() {
      running?.abort();
      running = undefined;
      nap?.abort();
      await ended;
    },
    /** Everything is delivered, or `pause` was called. */
    done: () => ended,
  };
}

/** @param {URL} base @returns {Surroundings['send']} */
export function sendTo(base) {
  return async ({ method, path, key, content_type, body }, signal) => {
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal.addEventListener('abort', abort);
    const timer = setTimeout(abort, SEND_LIMIT_MS);
    try {
      const headers = { 'Content-Type': content_type, [KEY_HEADER]: key };
      const response = await fetch(new URL(path, base), { method, headers, body, signal: controller.signal });
      return { status: response.status, body: parsed(await response.text()) };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {number} milliseconds @param {AbortSignal} signal @returns {Promise<void>} */
export function waiting(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
