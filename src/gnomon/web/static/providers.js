// Which execution providers this browser has: each is asked within a time limit, and the answer is put in words.
// A probe loads no model: a provider that passes may still refuse one, and then the page says so.

/** @typedef {import('./types.js').Probe} Probe */
/** @typedef {import('./types.js').ProviderName} ProviderName */

export const TITLES = /** @type {Record<ProviderName, string>} */ ({
  webgpu: 'WebGPU',
  wasm: 'WebAssembly',
  webnn: 'WebNN',
});

const TIME_LIMIT_MS = 5000;
const MOST_THREADS = 4;

/**
 * A function of one v128 constant: valid only where the engine has SIMD, which the runtime needs.
 * Sections: type () -> v128; function 0 of it; code: i32.const 0, i8x16.splat, end.
 */
const SIMD_MODULE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]);

/**
 * What probing needs to know of a browser; `globalThis` has it, tests have their own.
 * @typedef {object} Browser
 * @property {boolean} isSecureContext
 * @property {boolean} crossOriginIsolated
 * @property {typeof WebAssembly} [WebAssembly]
 * @property {{hardwareConcurrency?: number, gpu?: any, ml?: any}} navigator
 */

/** As many threads as processors, at most four: more gain little and heat the phone. @param {Browser} browser */
export function threadsIn(browser) {
  if (!browser.crossOriginIsolated) return 1;
  return Math.max(1, Math.min(MOST_THREADS, browser.navigator.hardwareConcurrency ?? 1));
}

/**
 * @param {Browser} browser
 * @param {() => number} clock
 * @param {number} [limit_ms]
 * @returns {Promise<Probe[]>}   WebGPU, WebAssembly, WebNN: the order in which `auto` prefers the first two.
 */
export function probeAll(browser, clock, limit_ms = TIME_LIMIT_MS) {
  return Promise.all([
    probe('webgpu', clock, limit_ms, () => askWebGpu(browser)),
    probe('wasm', clock, limit_ms, async () => askWebAssembly(browser)),
    probe('webnn', clock, limit_ms, () => askWebNn(browser)),
  ]);
}

/**
 * The providers to try, the preferred one first: one alone where it was asked for by name. Never chosen automatically
 * are WebNN, which browsers still call experimental, and a WebGPU that is the CPU in disguise.
 * @param {ProviderName | 'auto'} requested
 * @param {Probe[]} probes
 * @returns {ProviderName[]}
 */
export function candidates(requested, probes) {
  if (requested !== 'auto') return [requested];
  return probes
    .filter(({ name, usable, software }) => usable && !software && name !== 'webnn')
    .map(({ name }) => name);
}

/**
 * The probes with what happened later: a provider that passed and then could not load a model.
 * @param {Probe[]} probes @param {ProviderName} name @param {string} why
 */
export function withRefusal(probes, name, why) {
  return probes.map((probe) => (probe.name === name ? { ...probe, usable: false, why } : probe));
}

/** @param {Probe[]} probes @param {ProviderName} name @param {string} remark */
export function withRemark(probes, name, remark) {
  return probes.map((probe) => (probe.name === name ? { ...probe, why: `${probe.why}; ${remark}` } : probe));
}

/**
 * @param {ProviderName} name @param {() => number} clock @param {number} limit_ms
 * @param {() => Promise<{usable: boolean, why: string, software?: boolean}>} ask
 * @returns {Promise<Probe>}
 */
async function probe(name, clock, limit_ms, ask) {
  const began = clock();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, limit_ms, { usable: false, why: `no answer within ${limit_ms / 1000} s` });
  });
  const answer = await Promise.race([ask().catch((error) => ({ usable: false, why: inWords(error) })), late]);
  clearTimeout(timer);
  return { name, ...answer, took_ms: Math.round(clock() - began) };
}

/** @param {Browser} browser */
async function askWebGpu(browser) {
  if (!browser.navigator.gpu) {
    return { usable: false, why: browser.isSecureContext ? 'not in this browser' : 'needs the https address' };
  }
  const adapter = await browser.navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return { usable: false, why: 'no adapter here' };
  const { vendor = '', architecture = '', description = '', isFallbackAdapter = false } = adapter.info ?? {};
  const name = [description || vendor, architecture].filter(Boolean).join(' ') || 'an unnamed adapter';
  return { usable: true, why: isFallbackAdapter ? `${name}, in software` : name, software: isFallbackAdapter };
}

/** @param {Browser} browser */
function askWebAssembly(browser) {
  if (!browser.WebAssembly) return { usable: false, why: 'not in this browser' };
  if (!browser.WebAssembly.validate(SIMD_MODULE)) {
    return { usable: false, why: 'no SIMD here, which the runtime needs: use a newer browser' };
  }
  const threads = threadsIn(browser);
  if (browser.crossOriginIsolated) return { usable: true, why: `${threads} thread${threads > 1 ? 's' : ''}, SIMD` };
  const why = browser.isSecureContext
    ? 'this browser did not isolate the page, which threads need'
    : 'this page is not isolated (plain HTTP): open the https address for threads';
  return { usable: true, why: `1 thread, SIMD: ${why}` };
}

/** @param {Browser} browser */
async function askWebNn(browser) {
  if (!browser.navigator.ml) {
    return { usable: false, why: browser.isSecureContext ? 'not in this browser' : 'needs the https address' };
  }
  const device = await webNnDevice(browser.navigator.ml);
  return { usable: true, why: `a context for the ${device.toUpperCase()}` };
}

/**
 * The most special device that WebNN gives a context for.
 * @param {any} ml   `navigator.ml`
 * @returns {Promise<'npu' | 'gpu' | 'cpu'>}
 */
export async function webNnDevice(ml) {
  let refusal;
  for (const deviceType of /** @type {const} */ (['npu', 'gpu', 'cpu'])) {
    try {
      await ml.createContext({ deviceType });
      return deviceType;
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

/** The first line of what went wrong, without the class of the error. @param {unknown} error */
export function inWords(error) {
  const [line] = String(error instanceof Error ? error.message : error).split('\n');
  return line.length > 240 ? `${line.slice(0, 240)}…` : line;
}
