// The first screen: what this is, what this device offers, what is measured and what that costs, and a button.

import { element, rows, sign } from './dom.js';
import { count, size, wait } from './format.js';
import { modelOf } from './files.js';
import { bytesToCome } from './preload.js';
import { candidates, TITLES } from './providers.js';
import { estimateSeconds, testsDone } from './session.js';

/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Choice} Choice */
/** @typedef {import('./types.js').Precision} Precision */
/** @typedef {import('./types.js').Probe} Probe */
/** @typedef {import('./types.js').ProviderName} ProviderName */
/** @typedef {import('./types.js').Task} Task */
/** @typedef {import('./session.js').Session} Session */

const PRECISIONS = /** @type {const} */ ({
  fp32: 'float32, the reference',
  fp16: 'float16, half the size',
  int8: '8-bit, quantised',
});

/**
 * @param {object} given
 * @param {Catalogue} given.catalogue
 * @param {Choice} given.choice
 * @param {import('./device.js').Device} given.device
 * @param {Session | undefined} given.session
 * @param {(choice: Choice) => void} given.onChoice
 * @param {() => void} given.onStart
 * @param {() => void} given.onContinue
 * @param {() => void} given.onDiscard
 * @param {() => void} given.onLastResults
 */
export function startScreen(given) {
  const { catalogue, device } = given;
  let { choice } = given;
  /** @type {Probe[] | undefined} */
  let probes;

  const list = element('ul', { class: 'providers', 'aria-busy': 'true' });
  const providers = element('div', { class: 'choices wide' });
  const minutes = new Map(catalogue.modes.map(({ name }) => [name, element('span', { class: 'cost' })]));
  const notes = new Map(catalogue.tasks.map(({ benchmark }) => [benchmark, element('span', { class: 'warn' })]));
  const cost = element('p', { class: 'cost' });
  const bar = element('progress', { max: 1, value: 0, 'aria-label': 'Loading what the tests need' });
  const readiness = element('p', { class: 'quiet small' }, 'Looking at what this browser can do…');
  const start = element('button', { class: 'primary', type: 'button', disabled: true, onclick: given.onStart }, 'Start');

  /** @param {Partial<Choice>} change */
  function choose(change) {
    choice = { ...choice, ...change };
    refresh();
    given.onChoice(choice);
  }

  function refresh() {
    for (const [mode, place] of minutes) {
      place.textContent = choice.tasks.length ? `about ${wait(estimateSeconds(catalogue, { ...choice, mode }))}` : '';
    }
    for (const task of catalogue.tasks) {
      const place = notes.get(task.benchmark);
      if (place) place.textContent = modelOf(task, choice.precision) ? '' : `has no ${choice.precision} model`;
    }
    const usable = catalogue.tasks.filter(
      (task) => choice.tasks.includes(task.benchmark) && modelOf(task, choice.precision),
    );
    const runs = probes !== undefined && candidates(choice.provider, probes).length > 0;
    start.disabled = !runs || usable.length === 0;
    if (!probes) return;
    const to_come = bytesToCome(catalogue, probes, choice);
    const load = to_come > 0 ? `, ${size(to_come)} to load` : '';
    cost.textContent = usable.length
      ? `${count(usable.length, 'task')}, about ${wait(estimateSeconds(catalogue, choice))}${load}`
      : 'Choose at least one task';
  }

  /** @param {Probe[]} found */
  function showProbes(found) {
    probes = found;
    list.removeAttribute('aria-busy');
    list.replaceChildren(...found.map(probeItem));
    const [preferred] = candidates('auto', found);
    const automatic = preferred ? `now ${TITLES[preferred]}` : 'nothing usable';
    providers.replaceChildren(
      option('provider', 'auto', 'Automatic', automatic, choice.provider === 'auto', choose),
      ...found
        .filter(({ name }) => catalogue.runtime.providers[name])
        .map(({ name, usable }) =>
          option('provider', name, TITLES[name], usable ? '' : 'not here', choice.provider === name, choose, !usable),
        ),
    );
    refresh();
  }

  list.replaceChildren(
    ...Object.values(TITLES).map((title) =>
      element('li', {}, sign('wait', 'quiet'), element('span', {}, element('b', {}, title), ': looking…')),
    ),
  );
  providers.replaceChildren(option('provider', 'auto', 'Automatic', 'looking…', true, choose));

  const stand_ins = catalogue.tasks.filter(({ official }) => !official);
  const screen = [
    element('header', { class: 'top' }, masthead(), introduction()),
    unfinished(given),
    element(
      'section',
      { class: 'card', 'aria-labelledby': 'device' },
      element('h2', { id: 'device' }, 'This device'),
      rows(deviceRows(device)),
      element('h3', {}, 'What can run models here'),
      list,
    ),
    element(
      'form',
      { class: 'card', onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
      fieldset('Run mode', modeOptions(catalogue, choice, minutes, choose)),
      fieldset('Tasks', taskOptions(catalogue, choice, notes, choose)),
      fieldset('Runs on', [providers]),
      fieldset('Precision', [element('div', { class: 'choices wide' }, ...precisionOptions(catalogue, choice, choose))]),
    ),
    stand_ins.length > 0 && standInNote(stand_ins),
    element('div', { class: 'dock' }, bar, element('div', { class: 'dock-row' }, element('div', {}, cost, readiness), start)),
  ];
  refresh();
  return {
    screen,
    showProbes,
    /** @param {import('./preload.js').Progress} progress @param {boolean} offline   Whether the page works without the server. */
    showLoading({ fraction, ready, error }, offline) {
      bar.value = ready ? 1 : fraction;
      if (error) readiness.textContent = error;
      else if (!ready) readiness.textContent = `Loading ahead: ${Math.round(fraction * 100)} %`;
      else if (offline) readiness.textContent = 'Ready to run offline';
      else readiness.replaceChildren('Loaded. Keep the server in reach.', ...howToBeTrusted());
      refresh();
    },
  };
}

/** Behind a certificate that the browser does not trust no page is kept for use offline. */
function howToBeTrusted() {
  if (location.protocol !== 'https:') return [];
  return [' Offline once you ', element('a', { href: 'authority.crt' }, 'trust it'), '.'];
}

export function masthead() {
  const mark = element('span', { class: 'mark', 'aria-hidden': 'true' });
  mark.innerHTML =
    '<svg viewBox="0 0 32 32"><path d="M4 26h24" class="ground"/><path d="M10 26V7l13 19z" class="upright"/></svg>';
  return element('p', { class: 'brand' }, mark, 'Gnomon');
}

function introduction() {
  return element(
    'div',
    {},
    element('h1', {}, 'Measure this device'),
    element(
      'p',
      { class: 'lead' },
      'Small models run in this browser. Each answer is timed, every answer is checked, and a verdict says what may be claimed.',
    ),
    // Of every device: there may be some where this browser has measured nothing.
    element('p', {}, element('a', { href: 'results' }, 'All results')),
  );
}

/** @param {import('./device.js').Device} device @returns {[string, string][]} */
function deviceRows(device) {
  const system = [device.platform, device.os_version].filter(Boolean).join(' ');
  const memory = device.device_memory_gb;
  return [
    ['Browser', device.brand],
    ['System', system || 'not told'],
    ...(device.model ? [/** @type {[string, string]} */ (['Model', device.model])] : []),
    ['Processors', count(device.hardware_concurrency, 'core')],
    // Browsers round memory, and cap it, so that it tells one device from another less well.
    ['Memory', memory ? `${memory} GB or more, as the browser rounds it` : 'not told'],
  ];
}

/** @param {Probe} probe */
function probeItem({ name, usable, why }) {
  return element(
    'li',
    { class: usable ? '' : 'quiet' },
    sign(usable ? 'yes' : 'no', usable ? 'good' : 'quiet'),
    element('span', {}, element('b', {}, TITLES[name]), `: ${why}`),
  );
}

/** @param {string} legend @param {HTMLElement[]} content */
function fieldset(legend, content) {
  return element('fieldset', {}, element('legend', {}, legend), ...content);
}

/** @param {(change: Partial<Choice>) => void} choose @param {Catalogue} catalogue @param {Choice} choice @param {Map<string, HTMLElement>} minutes */
function modeOptions(catalogue, choice, minutes, choose) {
  return catalogue.modes.map(({ name, title, explanation }) =>
    element(
      'label',
      { class: 'option' },
      element('input', {
        type: 'radio',
        name: 'mode',
        value: name,
        checked: choice.mode === name,
        onchange: () => choose({ mode: name }),
      }),
      element(
        'span',
        {},
        element('span', { class: 'between' }, element('b', {}, title), minutes.get(name)),
        element('span', { class: 'quiet small block' }, explanation),
      ),
    ),
  );
}

/** @param {Catalogue} catalogue @param {Choice} choice @param {Map<string, HTMLElement>} notes @param {(change: Partial<Choice>) => void} choose */
function taskOptions(catalogue, choice, notes, choose) {
  const chosen = new Set(choice.tasks);
  return catalogue.tasks.map(({ benchmark, title, metric, samples }) =>
    element(
      'label',
      { class: 'option' },
      element('input', {
        type: 'checkbox',
        name: 'task',
        value: benchmark,
        checked: chosen.has(benchmark),
        onchange: (/** @type {Event} */ { target }) => {
          if (/** @type {HTMLInputElement} */ (target).checked) chosen.add(benchmark);
          else chosen.delete(benchmark);
          const tasks = catalogue.tasks.map((task) => task.benchmark).filter((name) => chosen.has(name));
          choose({ tasks });
        },
      }),
      element(
        'span',
        {},
        element('b', {}, title),
        element('span', { class: 'quiet small block' }, `${metric} over ${count(samples, 'sample')} `, notes.get(benchmark)),
      ),
    ),
  );
}

/** @param {Catalogue} catalogue @param {Choice} choice @param {(change: Partial<Choice>) => void} choose */
function precisionOptions(catalogue, choice, choose) {
  const names = /** @type {Precision[]} */ (Object.keys(PRECISIONS));
  return names
    .filter((name) => catalogue.tasks.some((task) => modelOf(task, name)))
    .map((name) => option('precision', name, name, PRECISIONS[name], choice.precision === name, choose));
}

/**
 * @param {'provider' | 'precision'} name @param {string} value @param {string} title @param {string} remark
 * @param {boolean} checked @param {(change: Partial<Choice>) => void} choose @param {boolean} [disabled]
 */
function option(name, value, title, remark, checked, choose, disabled = false) {
  return element(
    'label',
    { class: 'option' },
    element('input', { type: 'radio', name, value, checked, disabled, onchange: () => choose({ [name]: value }) }),
    element('span', {}, element('b', {}, title), remark && element('span', { class: 'quiet small block' }, remark)),
  );
}

/** @param {Task[]} tasks   Those on stand-in data; at least one. */
export function standInNote(tasks) {
  return element(
    'div',
    { class: 'note' },
    element('b', {}, 'Stand-in data. '),
    'Results compare devices measured with this page. They are not comparable with published MLPerf results: the ' +
      'data only stands in for the official sets, and the models are small.',
    element(
      'details',
      {},
      element('summary', {}, 'Which data'),
      element('ul', {}, ...tasks.map(({ title, data_source }) => element('li', {}, `${title}: ${data_source}`))),
    ),
  );
}

/** @param {Parameters<typeof startScreen>[0]} given */
function unfinished({ session, onContinue, onDiscard, onLastResults }) {
  if (!session) return null;
  if (session.finished) {
    return element(
      'p',
      { class: 'card slim' },
      'The last session on this device is finished. ',
      element('button', { class: 'link', type: 'button', onclick: onLastResults }, 'Show its results'),
    );
  }
  const progress = `${testsDone(session)} of ${session.steps.length} tests done`;
  return element(
    'section',
    { class: 'card accent', 'aria-labelledby': 'unfinished' },
    element('h2', { id: 'unfinished' }, 'An unfinished session'),
    element('p', {}, `Begun ${new Date(session.started_at_ms).toLocaleString()}. The test that was interrupted is measured anew.`),
    element(
      'div',
      { class: 'buttons' },
      element('button', { class: 'primary', type: 'button', onclick: onContinue }, `Continue (${progress})`),
      element('button', { class: 'secondary', type: 'button', onclick: onDiscard }, 'Discard'),
    ),
  );
}
