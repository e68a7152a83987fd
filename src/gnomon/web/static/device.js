// What this device is, as far as its browser tells: for the record, and in a few words for the person.

/**
 * @typedef {object} Device
 * @property {string} user_agent
 * @property {string} platform
 * @property {string} model
 * @property {string} brand             The browser and its version.
 * @property {string} os_version
 * @property {number} hardware_concurrency
 * @property {number | null} device_memory_gb
 * @property {[number, number, number]} screen   Width and height in CSS pixels, device pixels for each.
 * @property {string} gpu
 */

/** @param {string} gpu @returns {Promise<Device>} */
export async function describeDevice(gpu) {
  const hints = await highEntropyHints();
  const { userAgent, hardwareConcurrency, platform } = navigator;
  return {
    user_agent: userAgent,
    platform: hints.platform || platformIn(userAgent) || platform || '',
    model: hints.model || (/iPhone|iPad/.exec(userAgent)?.[0] ?? ''),
    brand: brandOf(hints.fullVersionList ?? []) || browserIn(userAgent),
    os_version: hints.platformVersion || (/OS (\d+(?:_\d+)*) like/.exec(userAgent)?.[1].replaceAll('_', '.') ?? ''),
    hardware_concurrency: hardwareConcurrency ?? 1,
    device_memory_gb: /** @type {any} */ (navigator).deviceMemory ?? null,
    screen: [screen.width, screen.height, devicePixelRatio],
    gpu,
  };
}

/** @returns {Promise<Record<string, any>>} */
async function highEntropyHints() {
  const data = /** @type {any} */ (navigator).userAgentData;
  if (!data) return {};
  return data.getHighEntropyValues(['platform', 'platformVersion', 'model', 'fullVersionList']).catch(() => ({}));
}

/** The brand that is neither padding nor the engine's, if there is one. @param {{brand: string, version: string}[]} list */
export function brandOf(list) {
  const real = list.filter(({ brand }) => !/not.?a.?brand/i.test(brand.replace(/[^a-z]/gi, ' ')));
  const best = real.find(({ brand }) => brand !== 'Chromium') ?? real[0];
  return best ? `${best.brand} ${best.version.split('.')[0]}` : '';
}

/** @param {string} user_agent */
export function browserIn(user_agent) {
  const found =
    /(Firefox|FxiOS|EdgA?|CriOS|OPR|SamsungBrowser)\/(\d+)/.exec(user_agent) ??
    /(Chrome)\/(\d+)/.exec(user_agent) ??
    /(Version)\/(\d+).*Safari/.exec(user_agent);
  if (!found) return 'an unknown browser';
  const names = { FxiOS: 'Firefox', Edg: 'Edge', EdgA: 'Edge', CriOS: 'Chrome', OPR: 'Opera', Version: 'Safari' };
  return `${names[/** @type {keyof typeof names} */ (found[1])] ?? found[1]} ${found[2]}`;
}

/** @param {string} user_agent */
export function platformIn(user_agent) {
  if (/Android/.test(user_agent)) return 'Android';
  if (/iPhone|iPad/.test(user_agent)) return 'iOS';
  if (/Windows/.test(user_agent)) return 'Windows';
  if (/Mac OS X/.test(user_agent)) return 'macOS';
  return /Linux/.test(user_agent) ? 'Linux' : '';
}
