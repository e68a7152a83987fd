// What must survive a reload: the session in progress or last finished, and what still waits for the server.
// IndexedDB keeps it; a browser that refuses one (some private windows) gets a store that lives as long as the page.

/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./upload.js').Parcel} Parcel */

/**
 * @typedef {object} Store
 * @property {() => Promise<Session | undefined>} session
 * @property {(session: Session, parcels?: Parcel[]) => Promise<void>} save   Both or neither.
 * @property {() => Promise<void>} discard
 * @property {() => Promise<Parcel[]>} parcels   In the order in which they were saved.
 * @property {(id: string) => Promise<void>} delivered
 */

/** @returns {Promise<Store>} */
export async function openStore() {
  try {
    return lastingStore(await open());
  } catch {
    return passingStore();
  }
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open('gnomon', 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore('session');
    request.result.createObjectStore('parcels', { keyPath: 'id' }).createIndex('order', 'order');
  };
  return settled(request);
}

/** @param {IDBDatabase} database @returns {Store} */
function lastingStore(database) {
  /** @param {IDBTransactionMode} mode @param {(sessions: IDBObjectStore, parcels: IDBObjectStore) => void} work */
  const transact = (mode, work) => {
    const transaction = database.transaction(['session', 'parcels'], mode);
    work(transaction.objectStore('session'), transaction.objectStore('parcels'));
    return /** @type {Promise<void>} */ (
      new Promise((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error('the browser did not keep the result'));
      })
    );
  };
  /** @param {string} name */
  const reading = (name) => database.transaction(name).objectStore(name);
  return {
    session: () => settled(reading('session').get('current')),
    save: (session, parcels = []) =>
      transact('readwrite', (sessions, waiting) => {
        sessions.put(session, 'current');
        for (const parcel of parcels) waiting.put(parcel);
      }),
    discard: () => transact('readwrite', (sessions) => sessions.delete('current')),
    parcels: () => settled(reading('parcels').index('order').getAll()),
    delivered: (id) => transact('readwrite', (_, waiting) => waiting.delete(id)),
  };
}

/** @returns {Store} */
export function passingStore() {
  /** @type {Session | undefined} */
  let current;
  /** @type {Map<string, Parcel>} */
  const waiting = new Map();
  return {
    session: async () => current,
    save: async (session, parcels = []) => {
      current = structuredClone(session);
      for (const parcel of parcels) waiting.set(parcel.id, parcel);
    },
    discard: async () => {
      current = undefined;
    },
    parcels: async () => [...waiting.values()].sort((one, other) => one.order - other.order),
    delivered: async (id) => {
      waiting.delete(id);
    },
  };
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
