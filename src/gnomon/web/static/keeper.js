// The session in progress, its store and its deliveries, held together: every change is kept before it is shown.

import { resolutionNs } from './clock.js';
import { BASE } from './files.js';
import { withRun } from './session.js';
import { makeUploader, sendTo, waiting } from './upload.js';

/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./upload.js').Parcel} Parcel */
/** @typedef {import('./delivery.js').Delivery} Delivery */

/** @typedef {Awaited<ReturnType<typeof makeKeeper>>} Keeper */

/**
 * @param {import('./store.js').Store} store
 * @param {(delivery: Delivery) => void} onDelivery
 * @param {() => void} onAnswer         The server said something about this session.
 */
export async function makeKeeper(store, onDelivery, onAnswer) {
  /** @type {Session | undefined} */
  let current = await store.session();
  let order = 0;
  const clock_resolution_ns = resolutionNs(() => performance.now());

  /** Changes are queued: an answer of the server must not undo what the measuring just noted, nor the reverse. */
  let last = Promise.resolve();

  const keeper = {
    clock_resolution_ns,
    /** Only called while there is one. */
    session: () => /** @type {Session} */ (current),
    known: () => current,
    /** @param {Session} session */
    begin: async (session) => {
      current = session;
      await store.save(session);
    },
    discard: async () => {
      current = undefined;
      await store.discard();
    },
    /**
     * @param {(session: Session) => Session} change @param {Parcel[]} [parcels]   Kept together with the change.
     * @returns {Promise<void>}
     */
    change: (change, parcels = []) => {
      last = last.catch(() => {}).then(async () => {
        if (!current) return;
        current = change(current);
        await store.save(current, parcels);
        if (parcels.length) keeper.startSending();
      });
      return last;
    },
    /**
     * @param {'PUT' | 'POST'} method @param {string} benchmark @param {string} below
     * @param {object | Uint8Array<ArrayBuffer>} content
     * @returns {Parcel}
     */
    parcel: (method, benchmark, below, content) => {
      const { id, key } = keeper.session();
      const path = `api/sessions/${id}/runs/${benchmark}${below}`;
      const binary = content instanceof Uint8Array;
      // Later parcels come later, also after a reload and within one millisecond.
      order = Math.max(order + 1, Date.now());
      return {
        id: idOf(method, path),
        order,
        method,
        path,
        key,
        content_type: binary ? 'application/octet-stream' : 'application/json',
        body: binary ? content : JSON.stringify(content),
      };
    },
    startSending: () => {
      reachable = true;
      uploader.start();
    },
    /** Tells what waits as the store has it: deliveries tell it only once they have begun. */
    tellDelivery: async () => tell(await store.parcels()),
    /** Ends deliveries before a test is measured, giving them a moment to come to their end. @param {number} moment_ms */
    pauseSending: async (moment_ms) => {
      const moment = new Promise((resolve) => setTimeout(resolve, reachable ? moment_ms : 0));
      await Promise.race([uploader.done(), moment]);
      await uploader.pause();
    },
    /** Whether the server has been told of this run, waiting for it a little. @param {string} benchmark @param {number} limit_ms */
    isDelivered: async (benchmark, limit_ms) => {
      const wanted = idOf('PUT', `api/sessions/${keeper.session().id}/runs/${benchmark}`);
      const until = Date.now() + limit_ms;
      for (;;) {
        const waits = (await store.parcels()).some(({ id }) => id === wanted);
        if (!waits) return true;
        if (Date.now() > until || !reachable) return false;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };

  /** Whether trying is worth a wait: each start of deliveries begins in good hope. */
  let reachable = true;
  /** Whether the last try was answered. What the page shows does not change by beginning another one. */
  let answered = true;

  /** @param {Parcel[]} parcels */
  function tell(parcels) {
    // What is left of a run without its tests is its verdict: one result too.
    const tests = parcels.filter(({ path }) => path.includes('/tests/')).length;
    onDelivery({ waiting: Math.max(tests, Math.min(1, parcels.length)), reachable: answered });
  }

  const uploader = makeUploader({
    store,
    send: sendTo(BASE),
    wait: waiting,
    onChange: (parcels, answers) => {
      reachable = answers;
      if (!answers) answered = false;
      tell(parcels);
    },
    onAnswer: async (parcel, answer) => {
      answered = true;
      await noteAnswer(parcel, answer);
      onAnswer();
    },
    onRefusal: async (parcel, why) => {
      answered = true;
      const benchmark = benchmarkOf(parcel);
      if (benchmark) {
        await keeper.change((session) =>
          withRun(session, benchmark, { refusals: [...session.runs[benchmark].refusals, why] }),
        );
      }
      onAnswer();
    },
  });

  /** The benchmark of the current session that a parcel is about. @param {Parcel} parcel */
  function benchmarkOf({ path }) {
    const [, , session, , benchmark] = path.split('/');
    return current?.id === session && benchmark in current.runs ? benchmark : undefined;
  }

  /** @param {Parcel} parcel @param {any} answer */
  async function noteAnswer(parcel, answer) {
    const benchmark = benchmarkOf(parcel);
    if (!benchmark) return;
    const [, test] = parcel.path.split('/tests/');
    if (test) {
      await keeper.change((session) =>
        withRun(session, benchmark, { answers: { ...session.runs[benchmark].answers, [test]: answer } }),
      );
    } else if (parcel.path.endsWith('/end')) {
      await keeper.change((session) => withRun(session, benchmark, { verdict: answer }));
    }
  }

  return keeper;
}

/** One request of a session has one id: measured anew before it was sent, a test takes its own place. @param {string} method @param {string} path */
function idOf(method, path) {
  return `${method} ${path}`;
}
