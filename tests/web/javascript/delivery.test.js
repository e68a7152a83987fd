// What the page says of results on their way, and when it may say that all is done.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { endedText, waitingText } from '../../../src/gnomon/web/static/delivery.js';

const session = (statuses, refusals = []) => ({ steps: statuses.map((status) => ({ status })), runs: { one: { refusals } } });
const whole = session(['done', 'done']);

test('while results are being sent, nothing is called done, and the page is to stay open', () => {
  const text = endedText({ waiting: 2, reachable: true }, whole);
  assert.equal(text, 'Sending: 2 results to go. Keep this page open.');
  assert.doesNotMatch(text, /done/);
});

test('all tests are done when the server has them', () => {
  assert.equal(endedText({ waiting: 0, reachable: true }, whole), 'All tests are done. The server has the results.');
});

test('without the server the results wait in this browser, and that is said', () => {
  const text = (waiting) => endedText({ waiting, reachable: false }, whole);
  assert.equal(text(1), 'The server cannot be reached: 1 result waits in this browser and is sent when it is back.');
  assert.equal(text(3), 'The server cannot be reached: 3 results wait in this browser and are sent when it is back.');
});

test('a session that was stopped, or that the server refused, is not called whole', () => {
  const there = { waiting: 0, reachable: true };
  assert.equal(endedText(there, session(['done', 'failed'])), 'The session has ended; not every test was measured. The server has the results.');
  assert.match(endedText(there, session(['done'], ['other bytes'])), /refused a part/);
});

test('where nothing waits there is nothing to say of it', () => {
  assert.equal(waitingText({ waiting: 0, reachable: false }), '');
});
