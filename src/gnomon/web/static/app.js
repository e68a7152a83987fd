// The page: finds out where it is, shows the screen that fits, and carries out what the person chooses.
// Its address may choose for a lab: ?mode=quick&tasks=mobile-classification&provider=wasm&precision=fp32&autostart=1

import { conduct, endFinishedRuns, Stopped } from './conduct.js';
import { keepScreenOn } from './conditions.js';
import { endedText } from './delivery.js';
import { describeDevice } from './device.js';
import { announce, element, showScreen } from './dom.js';
import { BASE } from './files.js';
import { makeKeeper } from './keeper.js';
import { Measurer } from './measurer.js';
import { preload } from './preload.js';
import { inWords, probeAll } from './providers.js';
import { makeSchedules } from './schedules.js';
import { runScreen } from './screen-run.js';
import { deliveryLine, resultsScreen } from './screen-results.js';
import { masthead, startScreen } from './screen-start.js';
import { nextStep, startSession, withFailure } from './session.js';
import { openStore } from './store.js';
import { KEY_HEADER } from './upload.js';

/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Choice} Choice */
/** @typedef {import('./types.js').Probe} Probe */

const schedules = makeSchedules(async (path) => {
  const response = await fetch(new URL(path, BASE)).catch(() => undefined);
  if (!response?.ok) throw new Error('The server cannot be reached for the order of the samples');
  return response.arrayBuffer();
});

/** Whether a service worker keeps the page for use without the server. */
let offline = false;
let delivery = { waiting: 0, reachable: true };
/** @type {() => void} */
let redraw = () => {};

async function boot() {
  const asked = new URLSearchParams(location.search);
  const kept = keepForOffline();
  const catalogue = await fetchCatalogue();
  const keeper = await makeKeeper(
    await openStore(),
    (state) => {
      delivery = state;
      redraw();
    },
    () => redraw(),
  );
  keeper.startSending();
  addEventListener('online', () => keeper.startSending());
  const probing = probeAll(globalThis, () => performance.now());
  const choice = choiceOf(catalogue, asked);
  await showStart({ catalogue, keeper, probing, kept, choice }, asked.get('autostart') === '1');
}

/**
 * @typedef {object} Page
 * @property {Catalogue} catalogue
 * @property {import('./keeper.js').Keeper} keeper
 * @property {Promise<Probe[]>} probing
 * @property {Promise<void>} kept       The service worker answers, or never will.
 * @property {Choice} choice
 */

/** @param {Page} page @param {boolean} [at_once]   Starts without being asked. */
async function showStart(page, at_once = false) {
  const { catalogue, keeper, probing } = page;
  let stopLoading = () => {};
  redraw = () => {};
  const begin = async () => {
    stopLoading();
    if (await isRunningElsewhere()) return;
    if (keeper.known()?.finished === false) await giveUp(page, 'given up for a new session');
    await keeper.begin(startSession(catalogue, page.choice, { ...newIdentity(), now_ms: Date.now() }));
    await run(page);
  };
  let loadAhead = () => {}; // until it is known what this browser can run, and where it is kept
  const start = startScreen({
    catalogue,
    choice: page.choice,
    device: await describeDevice(''),
    session: keeper.known(),
    onChoice: (choice) => {
      page.choice = choice;
      loadAhead();
    },
    onStart: begin,
    onContinue: () => {
      stopLoading();
      run(page);
    },
    onDiscard: async () => {
      stopLoading();
      if (await isRunningElsewhere()) return;
      await discard(page);
      letOthersMeasure();
      await showStart(page);
    },
    onLastResults: () => {
      stopLoading();
      showResults(page);
    },
  });
  const waits = element('div');
  redraw = () => waits.replaceChildren(deliveryLine(delivery) ?? '');
  showScreen(start.screen[0], waits, ...start.screen.slice(1));
  redraw();
  document.title = 'Gnomon: measure this device';
  const probes = await probing;
  start.showProbes(probes);
  // Only what is fetched from then on is kept for use without the server.
  await page.kept;
  loadAhead = () => {
    stopLoading();
    stopLoading = preload(catalogue, probes, page.choice, schedules, (progress) => start.showLoading(progress, offline));
  };
  if (!at_once) loadAhead();
  else if (isUnfinished(keeper.known(), page.choice)) await run(page); // the page was loaded again in the middle
  else await begin();
}

/** @param {import('./session.js').Session | undefined} session @param {Choice} choice   Of this address. */
function isUnfinished(session, choice) {
  return session?.finished === false && JSON.stringify(session.choice) === JSON.stringify(choice);
}

/** @param {Page} page */
async function run(page) {
  const { catalogue, keeper } = page;
  if (await isRunningElsewhere()) return;
  const probes = await page.probing;
  const stopping = new AbortController();
  const { screen, show, showDelivery } = runScreen(catalogue, keeper.session(), stopping);
  redraw = () => showDelivery(delivery);
  showScreen(...screen);
  redraw();
  const release = keepScreenOn();
  const gpu = probes.find(({ name, usable }) => name === 'webgpu' && usable)?.why ?? '';
  const measurer = new Measurer();
  try {
    const device = await describeDevice(gpu);
    await conduct({ catalogue, probes, device, measurer, schedules, keeper }, show, stopping.signal);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    await giveUp(page, 'stopped by the person');
  } finally {
    measurer.stop();
    release();
  }
  await keeper.change((session) => ({ ...session, finished: true }));
  doNotStartByItselfAgain();
  keeper.startSending();
  await keeper.tellDelivery();
  showResults(page);
}

/** Marks what was not measured, and ends the runs that the server knows. @param {Page} page @param {string} why */
async function giveUp({ keeper }, why) {
  for (let at = nextStep(keeper.session()); at >= 0; at = nextStep(keeper.session())) {
    const failed = at;
    await keeper.change((session) => withFailure(session, failed, why));
  }
  await endFinishedRuns({ keeper }, why);
}

/** Until its session has ended, a page that was told to start by itself measures after a reload too; then no more. */
function doNotStartByItselfAgain() {
  const address = new URL(location.href);
  if (!address.searchParams.has('autostart')) return;
  address.searchParams.delete('autostart');
  history.replaceState(history.state, '', address);
}

/** @param {Page} page */
async function discard(page) {
  await giveUp(page, 'discarded by the person');
  await page.keeper.discard();
}

/** @param {Page} page */
function showResults(page) {
  const { catalogue, keeper } = page;
  const draw = () =>
    resultsScreen({
      catalogue,
      session: keeper.session(),
      delivery,
      onAgain: () => showStart(page),
      onDownload: () => download(keeper.session()),
    });
  const say = () => announce(endedText(delivery, keeper.session()));
  showScreen(...draw());
  say();
  document.title = 'Results · Gnomon';
  redraw = () => {
    say();
    const main = /** @type {HTMLElement} */ (document.querySelector('main'));
    // Only what is below the heading: the focus and the place on the page stay.
    main.replaceChildren(main.children[0], ...draw().slice(1).filter((part) => part instanceof Node));
  };
}

/** The result file needs the session's key, which a plain link cannot send. @param {import('./session.js').Session} session */
async function download({ id, key }) {
  const response = await fetch(new URL(`api/sessions/${id}/result.json`, BASE), {
    headers: { [KEY_HEADER]: key },
  }).catch(() => undefined);
  if (!response?.ok) {
    announce('The server cannot be reached for the result file');
    return;
  }
  const name = /filename="?([^";]+)/.exec(response.headers.get('Content-Disposition') ?? '')?.[1] ?? 'result.json';
  const address = URL.createObjectURL(await response.blob());
  element('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @returns {Promise<Catalogue>} */
async function fetchCatalogue() {
  const response = await fetch(new URL('api/catalogue', BASE));
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.json();
}

/** The page's address asks for what is not offered. */
class WrongAddress extends Error {}

/** @param {Catalogue} catalogue @param {URLSearchParams} asked @returns {Choice} */
function choiceOf(catalogue, asked) {
  const known = catalogue.tasks.map(({ benchmark }) => benchmark);
  const tasks = asked.get('tasks')?.split(',') ?? known;
  const strange = tasks.filter((task) => !known.includes(task));
  if (strange.length) throw new WrongAddress(`there is no task ${strange.join(', ')} in this address: choose from ${known.join(', ')}`);
  return {
    mode: oneOf(asked, 'mode', catalogue.modes.map(({ name }) => name)),
    provider: oneOf(asked, 'provider', /** @type {const} */ (['auto', 'webgpu', 'wasm', 'webnn'])),
    precision: oneOf(asked, 'precision', /** @type {const} */ (['fp32', 'fp16', 'int8'])),
    tasks: known.filter((task) => tasks.includes(task)),
  };
}

/** @template {string} Name @param {URLSearchParams} asked @param {string} key @param {readonly Name[]} names @returns {Name}   The first if none is asked for. */
function oneOf(asked, key, names) {
  const wanted = asked.get(key) ?? names[0];
  const found = names.find((name) => name === wanted);
  if (!found) throw new WrongAddress(`there is no ${key} ${wanted} in this address: choose from ${names.join(', ')}`);
  return found;
}

/** A session's name and the secret that only this page knows. */
function newIdentity() {
  const bytes = crypto.getRandomValues(new Uint8Array(48));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const id = hex.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return { id, key: hex.slice(32) };
}

/**
 * Holds a lock as long as this page lives, if no other page does; else says that another one measures.
 * Whatever changes the session asks first: all tabs share one.
 * @returns {Promise<boolean>}
 */
async function isRunningElsewhere() {
  if (!navigator.locks || holdsLock) return false;
  holdsLock = await new Promise((resolve) => {
    navigator.locks.request('gnomon-measuring', { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock ? new Promise((release) => (letGo = () => release(undefined))) : undefined;
    });
  });
  if (!holdsLock) {
    showProblem('Gnomon is already measuring in another tab. Two at once would slow each other down: close one.');
  }
  return !holdsLock;
}
let holdsLock = false;
let letGo = () => {};

/** Gives the lock back, for this page neither measures nor holds a session any more. */
function letOthersMeasure() {
  holdsLock = false;
  letGo();
}

async function keepForOffline() {
  if (!('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register(new URL('sw.js', BASE), { scope: BASE.pathname });
    // A first visit waits until the worker answers for this page, so that what it fetches is kept.
    const limit = new Promise((resolve) => setTimeout(resolve, 3000));
    await Promise.race([navigator.serviceWorker.ready, limit]);
    if (!navigator.serviceWorker.controller) {
      const taken = new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }));
      await Promise.race([taken, limit]);
    }
    offline = navigator.serviceWorker.controller !== null;
  } catch {
    offline = false; // a certificate that the browser does not trust is enough; the page then needs the server
  }
}

/** @param {string} text */
function showProblem(text) {
  showFailure('This does not work yet', text, 'Try again', () => location.reload());
}

/** @param {string} title @param {string} text @param {string} mend @param {() => void} onMend */
function showFailure(title, text, mend, onMend) {
  showScreen(
    masthead(),
    element('h1', {}, title),
    element('p', { class: 'note', role: 'alert' }, text),
    element('div', { class: 'buttons' }, element('button', { class: 'primary', type: 'button', onclick: onMend }, mend)),
  );
}

boot().catch((error) => {
  if (!(error instanceof WrongAddress)) showProblem(inWords(error));
  else {
    const title = 'This address asks for something else than there is';
    showFailure(title, inWords(error), 'Choose on the page', () => location.assign(BASE));
  }
});
