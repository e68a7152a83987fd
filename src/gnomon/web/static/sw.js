// The service worker: keeps the page and what it measures with, so that a session needs no server after the first load.
// The page's own files come from the server while it answers; what is named by its content comes from the cache.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const PAGE = 'gnomon-page';
const FILES = 'gnomon-files';
const SERVER_LIMIT_MS = 3000;
const base = new URL('./', worker.location.href);

/** The page itself: everything that it needs to open, but no model. */
const SHELL = [
  './',
  'manifest.webmanifest',
  'api/catalogue',
  ...[
    'answers.js', 'app.js', 'clock.js', 'conditions.js', 'conduct.js', 'delivery.js', 'device.js', 'dom.js', 'feeds.js',
    'figures.js', 'files.js', 'format.js', 'icon.svg', 'icon-192.png', 'keeper.js', 'loops.js', 'measure-worker.js',
    'measurer.js', 'preload.js', 'providers.js', 'runtime.js', 'schedules.js', 'screen-results.js', 'screen-run.js',
    'screen-start.js', 'session.js', 'store.js', 'style.css', 'upload.js', 'wire.js',
  ].map((name) => `static/${name}`),
];

worker.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(PAGE)
      .then((cache) => cache.addAll(SHELL.map((path) => new URL(path, base).href)))
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (request.method !== 'GET' || !address.href.startsWith(base.href)) return;
  const path = address.pathname.slice(base.pathname.length);
  if (/^(ort|api\/(models|inputs|schedules))\//.test(path)) event.respondWith(keptFirst(request));
  else if (path === '' || path === 'api/catalogue' || path === 'manifest.webmanifest' || path.startsWith('static/')) {
    event.respondWith(serverFirst(request, path));
  }
});

/** Files that never change under their name. @param {Request} request @returns {Promise<Response>} */
async function keptFirst(request) {
  const cache = await caches.open(FILES);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

/** Files that the server may have newer; kept ones when it does not answer. @param {Request} request @param {string} path @returns {Promise<Response>} */
async function serverFirst(request, path) {
  const cache = await caches.open(PAGE);
  // The page's address may carry a lab's choices; it is one page all the same.
  const name = new URL(path, base).href;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), SERVER_LIMIT_MS);
  try {
    const response = await fetch(request, { signal: limit.signal });
    if (!response.ok) return response;
    if (path === 'api/catalogue') await forgetOld(await cache.match(name), response.clone());
    await cache.put(name, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(name);
    if (kept) return kept;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Drops files of a catalogue that no longer holds: another runtime, another gnomon, other data. @param {Response | undefined} before @param {Response} now */
async function forgetOld(before, now) {
  if (!before) return;
  /** @type {import('./types.js').Catalogue[]} */
  const [old, current] = await Promise.all([before.json(), now.json()]);
  const cache = await caches.open(FILES);
  const named = new Set(
    current.tasks.flatMap((task) => [task.inputs, ...task.models]).map(({ path }) => new URL(path, base).href),
  );
  const same_runtime = old.runtime.version === current.runtime.version;
  const same_gnomon = old.gnomon_version === current.gnomon_version;
  for (const { url } of await cache.keys()) {
    const path = url.slice(base.href.length);
    const keep = path.startsWith('ort/') ? same_runtime : path.startsWith('api/schedules/') ? same_gnomon : named.has(url);
    if (!keep) await cache.delete(url);
  }
}
