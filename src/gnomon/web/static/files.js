// What the page fetches before it measures: models, inputs, the runtime. Each is fetched once, checked and kept in
// memory; the service worker keeps it for later visits. Nothing here runs while a test is measured.

/** @typedef {import('./types.js').Runtime} Runtime */
/** @typedef {import('./types.js').Task} Task */
/** @typedef {import('./types.js').Precision} Precision */
/** @typedef {import('./types.js').ProviderName} ProviderName */

/** The page's own address: everything else is under it. */
export const BASE = new URL('..', import.meta.url);

/**
 * One file to fetch; without `sha256` it is only put into the browser's caches.
 * @typedef {object} Wanted
 * @property {string} path
 * @property {number} bytes
 * @property {number} [transfer_bytes]   As they are sent, where that is known to be fewer.
 * @property {string} [sha256]
 */

/** @type {Map<string, ArrayBuffer>} */
const kept = new Map();
/** @type {Set<string>} */
const primed = new Set();

/** @param {string} path */
function address(path) {
  return new URL(path, BASE).href;
}

/** @param {Wanted} wanted */
export function isHere({ path }) {
  return kept.has(address(path)) || primed.has(address(path));
}

/**
 * @param {Wanted & {sha256: string}} wanted
 * @param {(bytes: number) => void} [onBytes]   Called with each piece's length.
 * @param {AbortSignal} [signal]
 * @returns {Promise<ArrayBuffer>}
 */
export async function fileOf(wanted, onBytes = () => {}, signal) {
  const at = address(wanted.path);
  const known = kept.get(at);
  if (known) return known;
  const bytes = await download(at, onBytes, signal);
  await verify(bytes, wanted);
  kept.set(at, bytes);
  return bytes;
}

/**
 * Fetches the runtime's files so that the worker finds them in the browser's caches. The module names the two that
 * it loads in turn.
 * @param {{module: string, bytes: number}} provider
 * @param {(bytes: number) => void} onBytes
 * @param {AbortSignal} [signal]
 */
async function primeRuntime(provider, onBytes = () => {}, signal) {
  const at = address(provider.module);
  if (primed.has(at)) return;
  const source = new TextDecoder().decode(await download(at, onBytes, signal));
  const [glue] = source.match(/ort-wasm-simd-threaded(\.\w+)?\.mjs/) ?? [];
  if (glue) {
    await download(new URL(glue, at).href, onBytes, signal);
    await download(new URL(glue.replace(/\.mjs$/, '.wasm'), at).href, onBytes, signal);
  }
  primed.add(at);
}

/** @param {Task} task @param {Precision} precision */
export function modelOf(task, precision) {
  return task.models.find((model) => model.precision === precision);
}

/**
 * What must be here before this task can be measured.
 * @param {Runtime} runtime @param {ProviderName} provider @param {Task} task @param {Precision} precision
 * @returns {Wanted[]}
 */
export function filesFor(runtime, provider, task, precision) {
  const module = runtime.providers[provider];
  const model = modelOf(task, precision);
  return [
    ...(module ? [{ ...module, path: module.module }] : []),
    ...(model ? [model] : []),
    task.inputs,
  ];
}

/**
 * @param {Wanted[]} wanted @param {Runtime} runtime
 * @param {(bytes: number) => void} onBytes @param {AbortSignal} [signal]
 */
export async function fetchAll(wanted, runtime, onBytes, signal) {
  for (const file of wanted) {
    const { sha256 } = file;
    if (sha256) await fileOf({ ...file, sha256 }, onBytes, signal);
    else {
      const provider = Object.values(runtime.providers).find(({ module }) => module === file.path);
      if (provider) await primeRuntime(provider, onBytes, signal);
    }
  }
}

/** @param {string} at @param {(bytes: number) => void} onBytes @param {AbortSignal} [signal] */
async function download(at, onBytes, signal) {
  const response = await fetch(at, { signal }).catch((error) => {
    throw signal?.aborted ? error : new Error('The server cannot be reached');
  });
  if (!response.ok || !response.body) throw new Error(`${nameOf(at)}: the server answered ${response.status}`);
  /** @type {Uint8Array[]} */
  const pieces = [];
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    onBytes(value.length);
  }
  return new Blob(/** @type {BlobPart[]} */ (pieces)).arrayBuffer();
}

/** @param {ArrayBuffer} bytes @param {Wanted & {sha256: string}} wanted */
async function verify(bytes, { path, sha256 }) {
  // Plain HTTP is no secure context and has no digests; the transport is then no more to be trusted anyway.
  if (!globalThis.crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== sha256) throw new Error(`${path} arrived damaged: reload the page`);
}

/** @param {string} at */
function nameOf(at) {
  return new URL(at).pathname.split('/').slice(-2).join('/');
}
