// The screen of a session in progress: one test at a time in large figures, and below it what is done and what is left.

import { UNREACHABLE } from './delivery.js';
import { announce, element, sign } from './dom.js';
import { count, seconds } from './format.js';

/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Test} Test */
/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./session.js').Step} Step */

const TEST_TITLES = /** @type {Record<string, string>} */ ({
  'single-stream': 'Latency, one query at a time',
  offline: 'Throughput, in batches',
  accuracy: 'Accuracy, every sample once',
});

/** @param {string} test */
export function testTitle(test) {
  return TEST_TITLES[test] ?? test;
}

/**
 * @param {Catalogue} catalogue
 * @param {Session} session
 * @param {AbortController} stopping
 */
export function runScreen(catalogue, session, stopping) {
  const title = element('h1', {}, 'Measuring');
  const task = element('p', { class: 'eyebrow' });
  const what = element('h2', { class: 'stage' });
  const figure = element('p', { class: 'big' });
  const detail = element('p', { class: 'quiet' });
  const bar = element('progress', { max: 1, value: 0, 'aria-label': 'This test' });
  const question = element('div', { class: 'question', hidden: true, role: 'alertdialog', 'aria-labelledby': 'question' });
  const steps = element('ol', { class: 'steps' });
  const unreachable = element('p', { class: 'note', hidden: true, 'data-testid': 'unreachable' }, UNREACHABLE);
  const confirm = element('dialog', { 'aria-labelledby': 'stop-question' });
  confirm.append(
    element('h2', { id: 'stop-question' }, 'Stop measuring?'),
    element('p', {}, 'Tests that are done are kept. The others are missing, so their results stay incomplete.'),
    element(
      'div',
      { class: 'buttons' },
      element('button', { class: 'secondary', type: 'button', onclick: () => confirm.close() }, 'Go on'),
      element('button', {
        class: 'primary',
        type: 'button',
        onclick: () => {
          confirm.close();
          stopping.abort();
        },
      }, 'Stop'),
    ),
  );
  const screen = [
    element('header', { class: 'top' }, title, element('p', { class: 'quiet' }, 'Keep this page in front and the phone at rest.')),
    unreachable,
    element('section', { class: 'card stage-card' }, task, what, figure, bar, detail, question),
    element('section', { class: 'card', 'aria-label': 'All tests' }, steps),
    element('div', { class: 'buttons' }, element('button', { class: 'secondary', type: 'button', onclick: () => confirm.showModal() }, 'Stop')),
    confirm,
  ];

  /** @param {number} fraction @param {string} large @param {string} small */
  function draw(fraction, large, small) {
    bar.value = Math.min(1, fraction);
    figure.textContent = large;
    detail.textContent = small;
  }

  /** @param {boolean} now */
  function asking(now) {
    question.hidden = !now;
    for (const part of [figure, bar, detail]) part.hidden = now;
  }

  /** @param {Step} step */
  function nameOf({ benchmark, test }) {
    const found = catalogue.tasks.find((candidate) => candidate.benchmark === benchmark);
    return { task: found?.title ?? benchmark, test: testTitle(test) };
  }

  /** @param {Session} now @param {number} at */
  function showStep(now, at) {
    const name = nameOf(now.steps[at]);
    task.textContent = `Test ${at + 1} of ${now.steps.length}: ${name.task}`;
    what.textContent = name.test;
    asking(false);
    document.title = `${at + 1} of ${now.steps.length} · Gnomon`;
    steps.replaceChildren(...now.steps.map((step, place) => stepItem(step, nameOf(step), place === at)));
  }

  /** @type {import('./conduct.js').Show} */
  const show = {
    step(now, at) {
      showStep(now, at);
      draw(0, '', 'Loading');
      const name = nameOf(now.steps[at]);
      announce(`Test ${at + 1} of ${now.steps.length}: ${name.task}, ${name.test}`);
    },
    loading: (done, whole) => draw(done / whole, `${Math.min(100, Math.round((100 * done) / whole))} %`, 'Loading what this test needs'),
    resting(now, at, left_s, whole_s) {
      const left = Math.ceil(left_s);
      draw(1 - left_s / whole_s, `${left} s`, 'Cooling down: a warm device is slower. The rules ask for this rest.');
      if (left === Math.ceil(whole_s)) announce(`Cooling down for ${left} seconds`);
    },
    preparing: (text) => draw(0, '', text),
    measuring(test, done, elapsed_ms) {
      const by_count = done / test.min_query_count;
      const by_time = test.min_duration_ns > 0 ? (elapsed_ms * 1e6) / test.min_duration_ns : 1;
      const unit = test.scenario === 'single-stream' && test.kind === 'performance' ? 'query' : 'sample';
      const units = unit === 'query' ? 'queries' : 'samples';
      const least = test.min_duration_ns > 0 ? ` and ${seconds(test.min_duration_ns / 1e9)}` : '';
      draw(
        Math.min(by_count, by_time),
        count(done, unit, units),
        `${seconds(elapsed_ms / 1000)} so far; at least ${count(test.min_query_count, unit, units)}${least}`,
      );
    },
    ask: (heading, text, button) =>
      new Promise((resolve) => {
        const go = element('button', { class: 'primary', type: 'button', onclick: () => resolve() }, button);
        question.replaceChildren(element('h3', { id: 'question' }, heading), element('p', {}, text), go);
        asking(true);
        go.focus();
        stopping.signal.addEventListener('abort', () => resolve());
      }),
  };
  return {
    screen,
    show,
    /** @param {import('./delivery.js').Delivery} delivery */
    showDelivery({ reachable }) {
      if (unreachable.hidden === reachable) return;
      unreachable.hidden = reachable;
      announce(reachable ? 'The server is back' : UNREACHABLE);
    },
  };
}

/** @param {Step} step @param {{task: string, test: string}} name @param {boolean} current */
function stepItem(step, name, current) {
  const done = step.status === 'done';
  const mark = step.status === 'failed' ? sign('no', 'bad') : done ? sign('yes', 'good') : sign(current ? 'part' : 'wait', 'quiet');
  const state = step.status === 'failed' ? `failed: ${step.why}` : done ? 'done' : current ? 'now' : 'to come';
  return element(
    'li',
    { class: current ? 'current' : '', 'aria-current': current ? 'step' : null },
    mark,
    element('span', {}, element('b', {}, name.task), element('span', { class: 'block small quiet' }, name.test)),
    element('span', { class: 'state small' }, state),
  );
}
