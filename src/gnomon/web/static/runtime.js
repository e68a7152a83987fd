// ONNX Runtime Web in this worker: loaded once for a provider, then one session of one model at a time.
// It reports what really ran: threads after the runtime's own retreat, operators that a GPU left to the CPU.

import { threadsIn, webNnDevice } from './providers.js';

/** @typedef {import('./types.js').ProviderName} ProviderName */

/**
 * @typedef {object} Loaded
 * @property {any} session
 * @property {number} threads
 * @property {boolean} isolated
 * @property {string} remark            What the person should know of how it runs; '' if nothing.
 */

/** @type {Promise<any> | undefined} */
let loading;

/** @param {string} module_url @returns {Promise<any>} */
export function loadRuntime(module_url) {
  loading ??= import(module_url).then((ort) => {
    ort.env.logLevel = 'error';
    ort.env.wasm.wasmPaths = new URL('.', module_url).href;
    ort.env.wasm.numThreads = threadsIn(globalThis);
    ort.env.wasm.proxy = false;
    return ort;
  });
  return loading;
}

/**
 * @param {any} ort
 * @param {ProviderName} provider
 * @param {ArrayBuffer} model
 * @param {number} batch_size           Fixed for the session: shapes that vary cost time on every provider.
 * @returns {Promise<Loaded>}
 */
export async function createSession(ort, provider, model, batch_size) {
  const options = {
    executionProviders: [await providerOptions(provider)],
    graphOptimizationLevel: 'all',
    freeDimensionOverrides: { n: batch_size, N: batch_size, batch: batch_size, batch_size },
  };
  const { session, remark } =
    provider === 'wasm'
      ? { session: await create(ort, model, options), remark: '' }
      : await createOnAccelerator(ort, model, options);
  return { session, threads: ort.env.wasm.numThreads, isolated: globalThis.crossOriginIsolated, remark };
}

/**
 * The runtime runs on the CPU, without a word, what an accelerator cannot. So it is first forbidden to; only if
 * that fails is it allowed, and said.
 * @param {any} ort @param {ArrayBuffer} model @param {object} options
 */
async function createOnAccelerator(ort, model, options) {
  try {
    const strict = { ...options, extra: { session: { disable_cpu_ep_fallback: '1' } } };
    return { session: await create(ort, model, strict), remark: '' };
  } catch {
    return { session: await create(ort, model, options), remark: 'some operators run on the CPU' };
  }
}

/** @param {any} ort @param {ArrayBuffer} model @param {object} options */
function create(ort, model, options) {
  return ort.InferenceSession.create(new Uint8Array(model), options);
}

/** @param {ProviderName} provider */
async function providerOptions(provider) {
  if (provider !== 'webnn') return provider;
  const deviceType = await webNnDevice(/** @type {any} */ (navigator).ml);
  return { name: 'webnn', deviceType, powerPreference: 'default' };
}
