// What a model is fed, and what is kept of what it says.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { collectAnswers, halfFloat } from '../../../src/gnomon/web/static/answers.js';
import { batchFeeds, readInputs, singleFeeds } from '../../../src/gnomon/web/static/feeds.js';

const tensor = (type, values, dims) => ({ type, values, dims });
const images = () => readInputs(Uint8Array.from({ length: 24 }, (_, at) => at * 10).buffer, 'uint8', [4, 1, 2, 3], ['float32']);
const questions = () =>
  readInputs(Int32Array.from({ length: 18 }, (_, at) => at).buffer, 'int32', [3, 3, 2], ['int32', 'int32', 'int32']);

test('bytes of images become floats of one sample with a batch axis', () => {
  const { feedsOf } = singleFeeds(images(), ['image'], tensor);
  const { image } = feedsOf(2);
  assert.deepEqual(image, { type: 'float32', values: Float32Array.from([120, 130, 140, 150, 160, 170]), dims: [1, 1, 2, 3] });
  assert.equal(feedsOf(2), feedsOf(2), 'made once, before the clock starts');
});

test('a sample of several parts feeds several inputs, in the model’s order', () => {
  const feeds = singleFeeds(questions(), ['ids', 'mask', 'segments'], tensor).feedsOf(1);
  assert.deepEqual([...feeds.ids.values], [6, 7]);
  assert.deepEqual([...feeds.mask.values], [8, 9]);
  assert.deepEqual([...feeds.segments.values], [10, 11]);
  assert.deepEqual(feeds.mask.dims, [1, 2]);
});

test('too much for memory is cast query by query, before each is timed', () => {
  const many = images();
  many.samples = 1e8; // as announced; only the first four are looked at
  const { prepare, feedsOf } = singleFeeds(many, ['image'], tensor);
  prepare(3);
  assert.deepEqual([...feedsOf(3).image.values], [180, 190, 200, 210, 220, 230]);
  prepare(0);
  assert.equal(feedsOf(0).image.values[1], 10);
});

test('batches gather samples in order, and a short one is filled up with its last', () => {
  const gather = batchFeeds(images(), ['image'], 3, tensor);
  const { image } = gather(Int32Array.from([3, 1]));
  assert.deepEqual(image.dims, [3, 1, 2, 3]);
  assert.deepEqual([...image.values].filter((_, at) => at % 6 === 0), [180, 60, 60]);
});

test('inputs that are not what was announced are refused in words', () => {
  assert.throws(() => readInputs(new ArrayBuffer(10), 'uint8', [4, 3], ['float32']), /10 values where 4 x 3/);
  assert.throws(() => readInputs(new ArrayBuffer(12), 'uint8', [4, 3], ['int32', 'int32']), /does not split into 2/);
  assert.throws(() => singleFeeds(images(), ['one', 'two'], tensor), /takes 2 inputs where the task feeds 1/);
});

test('answers are kept row by row, output by output', () => {
  const answers = collectAnswers(2);
  for (const row of [0, 1]) {
    answers.keep(row, [
      { data: Float32Array.from([row, row + 0.5]), type: 'float32', dims: [1, 2] },
      { data: BigInt64Array.from([BigInt(row * 3)]), type: 'int64', dims: [1] },
    ]);
  }
  const [scores, classes] = answers.close(2);
  assert.deepEqual(scores, { name: 'output-0', data: Float32Array.from([0, 0.5, 1, 1.5]), shape: [2, 2] });
  assert.deepEqual(classes, { name: 'output-1', data: Int32Array.from([0, 3]), shape: [2] });
});

test('half floats are understood by their bits', () => {
  const values = [[0x3c00, 1], [0xc000, -2], [0x0001, 2 ** -24], [0x7bff, 65504], [0x7c00, Infinity], [0xfc00, -Infinity]];
  for (const [bits, value] of values) assert.equal(halfFloat(bits), value);
  assert.ok(Number.isNaN(halfFloat(0x7e00)));
  const answers = collectAnswers(1);
  answers.keep(0, [{ data: Uint16Array.from([0x3c00]), type: 'float16', dims: [1, 1] }]);
  assert.deepEqual([...answers.close(1)[0].data], [1]);
});

test('an output whose shape changes between samples is refused', () => {
  const answers = collectAnswers(2);
  answers.keep(0, [{ data: new Float32Array(3), type: 'float32', dims: [1, 3] }]);
  assert.throws(() => answers.keep(1, [{ data: new Float32Array(4), type: 'float32', dims: [1, 4] }]), /changed its shape/);
});
