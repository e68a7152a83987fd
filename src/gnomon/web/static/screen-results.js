// The results of a session: for each task its speed, its quality against the threshold, its grade, and what to mend.
// Before the server has answered, the page shows its own figures and says that they are not judged yet.

import { endedText, waitingText } from './delivery.js';
import { element, sign } from './dom.js';
import { count, latency, quality, rate } from './format.js';
import { TITLES } from './providers.js';
import { failureOf } from './session.js';
import { standInNote } from './screen-start.js';
import { testTitle } from './screen-run.js';

/** @typedef {import('./types.js').Catalogue} Catalogue */
/** @typedef {import('./types.js').Check} Check */
/** @typedef {import('./types.js').RanOn} RanOn */
/** @typedef {import('./types.js').Task} Task */
/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./session.js').Run} Run */

const GRADES = /** @type {Record<string, {word: string, meaning: string}>} */ ({
  valid: { word: 'Valid', meaning: 'every rule holds' },
  'semi-valid': { word: 'Semi-valid', meaning: 'only lenient rules fail' },
  invalid: { word: 'Invalid', meaning: 'a rule fails that a result needs' },
});

/**
 * @param {object} given
 * @param {Catalogue} given.catalogue
 * @param {Session} given.session
 * @param {import('./delivery.js').Delivery} given.delivery
 * @param {() => void} given.onAgain
 * @param {() => void} given.onDownload
 */
export function resultsScreen({ catalogue, session, delivery, onAgain, onDownload }) {
  const tasks = catalogue.tasks.filter(({ benchmark }) => session.runs[benchmark]);
  const judged = tasks.some(({ benchmark }) => session.runs[benchmark].verdict);
  const stand_ins = tasks.filter(({ official }) => !official);
  return [
    element(
      'header',
      { class: 'top' },
      element('h1', {}, 'Results'),
      element('p', { class: 'quiet' }, headline(catalogue, session)),
    ),
    delivery.waiting > 0
      ? deliveryLine(delivery)
      : element('p', { 'data-testid': 'ended' }, endedText(delivery, session)),
    element('div', { class: 'cards' }, ...tasks.map((task) => card(task, session))),
    stand_ins.length > 0 && standInNote(stand_ins),
    element(
      'nav',
      { class: 'buttons', 'aria-label': 'More about these results' },
      element('button', { class: 'primary', type: 'button', onclick: onAgain }, 'Measure again'),
      element('a', { class: 'secondary', href: 'results' }, 'All results'),
      judged && element('button', { class: 'secondary', type: 'button', onclick: onDownload }, 'Download result file'),
    ),
  ];
}

/** @param {import('./delivery.js').Delivery} delivery */
export function deliveryLine(delivery) {
  const text = waitingText(delivery);
  return text ? element('p', { class: 'note', 'data-testid': 'waiting' }, text) : null;
}

/** @param {Catalogue} catalogue @param {Session} session */
function headline(catalogue, session) {
  const mode = catalogue.modes.find(({ name }) => name === session.choice.mode)?.title ?? session.choice.mode;
  return `${mode} run, ${session.choice.precision}, ${new Date(session.started_at_ms).toLocaleString()}`;
}

/** @param {Task} task @param {Session} session */
function card(task, session) {
  const run = session.runs[task.benchmark];
  const failure = failureOf(session, task.benchmark);
  return element(
    'section',
    { class: 'card', 'aria-labelledby': `result-${task.benchmark}` },
    element('div', { class: 'between' }, element('h2', { id: `result-${task.benchmark}` }, task.title), chip(run, failure)),
    failure && element('p', { class: 'problem' }, `Not measured to the end: ${failure}`),
    element('div', { class: 'figures' }, ...speedFigures(task, session), qualityFigure(task, session)),
    problems(run),
    run.provider && element('p', { class: 'quiet small' }, providerLine(run.provider, session.choice.precision)),
    run.verdict && element('a', { href: `results/${run.verdict.run}/report` }, 'Full report'),
  );
}

/** @param {Run} run @param {string} failure */
function chip(run, failure) {
  const grade = GRADES[run.verdict?.grade ?? ''];
  if (grade) return element('span', { class: `chip ${run.verdict?.grade}`, title: grade.meaning }, grade.word);
  return element('span', { class: 'chip' }, failure && !run.registered ? 'Failed' : 'Not judged yet');
}

/** @param {Task} task @param {Session} session */
function speedFigures(task, session) {
  const steps = session.steps.filter(({ benchmark, kind }) => benchmark === task.benchmark && kind === 'performance');
  return steps.flatMap(({ test, figures }) => {
    if (!figures) return [figureOf(testTitle(test), '–', 'not measured')];
    if (figures.samples_per_s !== undefined) {
      return [figureOf('Throughput', `${rate(figures.samples_per_s)}`, 'samples/s, in batches')];
    }
    const { percentile = 0.9, percentile_ns = NaN, queries_per_s = NaN } = figures;
    return [
      figureOf(`Latency, ${Math.round(percentile * 100)}th percentile`, latency(percentile_ns), `${rate(queries_per_s)} queries/s on average`),
    ];
  });
}

/** @param {Task} task @param {Session} session */
function qualityFigure(task, session) {
  const { unit, threshold, metric, higher_is_better } = task;
  const result = session.runs[task.benchmark].answers.accuracy?.result;
  const needed = `needs ${higher_is_better ? 'at least' : 'at most'} ${quality(threshold, unit)}`;
  if (result?.quality === undefined || result.quality === null) return figureOf(metric, '–', needed);
  const met = higher_is_better ? result.quality >= threshold : result.quality <= threshold;
  return figureOf(metric, quality(result.quality, unit), needed, met ? 'good' : 'bad');
}

/** @param {string} label @param {string} value @param {string} remark @param {'good' | 'bad'} [kind] */
function figureOf(label, value, remark, kind) {
  return element(
    'div',
    { class: 'figure' },
    element('span', { class: 'quiet small' }, label),
    element('span', { class: 'value' }, kind ? sign(kind === 'good' ? 'yes' : 'no', kind) : '', value),
    element('span', { class: 'quiet small' }, remark),
  );
}

/** Rules that failed, and what to do; and what the server would not take. @param {Run} run */
function problems(run) {
  const checks = run.verdict?.checks ?? Object.values(run.answers).flatMap((answer) => answer.checks ?? []);
  const failed = checks.filter(({ passed }) => !passed);
  if (!failed.length && !run.refusals.length) return null;
  return element(
    'ul',
    { class: 'reasons' },
    ...run.refusals.map((why) => element('li', {}, `The server refused: ${why}`)),
    ...failed.map(({ name, found, required, why }) =>
      element(
        'li',
        {},
        element('b', {}, name.replaceAll('_', ' ')),
        `: found ${found}, required ${required}.`,
        why && element('span', { class: 'block' }, `${why[0].toUpperCase()}${why.slice(1)}.`),
      ),
    ),
  );
}

/** @param {RanOn} provider @param {string} precision */
function providerLine({ name, threads, isolated, requested, probes }, precision) {
  const own = probes.find((probe) => probe.name === name);
  const how = name === 'wasm' ? `${count(threads, 'thread')}${isolated ? '' : ', page not isolated'}` : own?.why;
  const chosen = requested === 'auto' ? 'chosen automatically' : 'as asked for';
  const refused = probes.find(({ name: other, usable, why }) => other !== name && !usable && /could not load/.test(why));
  return `Ran on ${TITLES[name]}${how ? ` (${how})` : ''}, ${precision}, ${chosen}.${refused ? ` ${refused.why}.` : ''}`;
}
