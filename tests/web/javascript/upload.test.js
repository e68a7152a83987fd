// Deliveries: in order, again after failures, given up on only in the server's own words.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { passingStore } from '../../../src/gnomon/web/static/store.js';
import { judge, makeUploader, waitAfter } from '../../../src/gnomon/web/static/upload.js';

const parcel = (id, order) => ({ id, order, method: 'PUT', path: id, key: 'k', content_type: 'application/json', body: '{}' });

/** An uploader whose server gives these replies one after the other, an Error for no connection. */
async function made(parcels, replies, wait = async () => {}) {
  const store = passingStore();
  await store.save({ id: 'session' }, parcels);
  const log = { sent: [], answers: [], refusals: [], changes: [], store };
  const uploader = makeUploader({
    store,
    send: async ({ id }) => {
      log.sent.push(id);
      const reply = replies.shift() ?? { status: 200, body: {} };
      if (reply instanceof Error) throw reply;
      return reply;
    },
    wait,
    onAnswer: ({ id }, answer) => void log.answers.push([id, answer]),
    onRefusal: ({ id }, why) => void log.refusals.push([id, why]),
    onChange: (parcels, reachable) => log.changes.push({ waiting: parcels.length, reachable }),
  });
  return { uploader, log };
}

test('parcels go out in the order in which they were made, and each is forgotten when it arrived', async () => {
  const { uploader, log } = await made([parcel('second', 2), parcel('first', 1)], [{ status: 201, body: { run: 'r' } }]);
  uploader.start();
  await uploader.done();
  assert.deepEqual(log.sent, ['first', 'second']);
  assert.deepEqual(log.answers[0], ['first', { run: 'r' }]);
  assert.deepEqual(await log.store.parcels(), []);
});

test('without a connection the same parcel is sent again, and later ones wait for it', async () => {
  const { uploader, log } = await made([parcel('a', 1), parcel('b', 2)], [new TypeError('offline'), { status: 503 }]);
  uploader.start();
  await uploader.done();
  assert.deepEqual(log.sent, ['a', 'a', 'a', 'b']);
  assert.ok(log.changes.some(({ reachable, waiting }) => !reachable && waiting === 2));
});

test('a refusal in the server’s words drops the parcel and goes on with the next', async () => {
  const { uploader, log } = await made([parcel('a', 1), parcel('b', 2)], [{ status: 409, body: { error: 'on record' } }]);
  uploader.start();
  await uploader.done();
  assert.deepEqual(log.refusals, [['a', 'on record']]);
  assert.deepEqual(log.answers.map(([id]) => id), ['b']);
});

test('pausing stops deliveries, and starting again takes them up where they were', async () => {
  let woken = 0;
  const wait = (_, signal) =>
    new Promise((resolve) =>
      signal.addEventListener('abort', () => {
        woken += 1;
        resolve();
      }),
    );
  const { uploader, log } = await made([parcel('a', 1)], [new TypeError('offline')], wait);
  uploader.start();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await uploader.pause();
  assert.equal(woken, 1);
  assert.equal((await log.store.parcels()).length, 1);
  uploader.start();
  await uploader.done();
  assert.deepEqual(log.sent, ['a', 'a']);
});

test('starting while it waits for its next try tries at once', async () => {
  const wait = (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
  const { uploader, log } = await made([parcel('a', 1)], [new TypeError('offline')], wait);
  uploader.start();
  await new Promise((resolve) => setTimeout(resolve, 5));
  uploader.start();
  await uploader.done();
  assert.deepEqual(log.sent, ['a', 'a']);
});

test('a parcel made while others are sent goes out too', async () => {
  const { uploader, log } = await made([parcel('a', 1)], []);
  uploader.start();
  await log.store.save({ id: 'session' }, [parcel('b', 2)]);
  uploader.start();
  await uploader.done();
  assert.deepEqual(log.sent, ['a', 'b']);
});

test('only the server itself, in words, can refuse for good', () => {
  assert.equal(judge({ status: 200, body: {} }), 'delivered');
  assert.equal(judge({ status: 409, body: { error: 'other bytes' } }), 'refused');
  assert.equal(judge({ status: 404, body: undefined }), 'again'); // another server, or a new token
  for (const status of [0, 408, 429, 500, 502, 503]) assert.equal(judge({ status, body: { error: 'x' } }), 'again');
});

test('waits double up to a minute, and differ from page to page', () => {
  assert.equal(waitAfter(1, 0.5), 1000);
  assert.equal(waitAfter(3, 0.5), 4000);
  assert.equal(waitAfter(20, 0.5), 60_000);
  assert.ok(waitAfter(3, 0) < waitAfter(3, 1));
});
