// The bytes of a measured test, read back the way the server reads them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { encodeTest, nanoseconds } from '../../../src/gnomon/web/static/wire.js';

const TYPES = { float64: Float64Array, float32: Float32Array, int32: Int32Array };

function decode(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(body.subarray(4, 4 + length)));
  let at = 4 + length;
  const arrays = header.arrays.map(({ dtype, shape }) => {
    const bytes = shape.reduce((product, side) => product * side, 1) * TYPES[dtype].BYTES_PER_ELEMENT;
    const array = new TYPES[dtype](body.slice(at, at + bytes).buffer);
    at += bytes;
    return array;
  });
  assert.equal(at, body.length, 'nothing is left over');
  return { header, arrays };
}

test('header and columns come back as they went', () => {
  const times = Float64Array.from([0, 1.5e9, 2 ** 52]);
  const answers = Float32Array.from([0.25, -1, 3e38, 7, 8, 9]);
  const labels = Int32Array.from([1, -2, 2 ** 31 - 1]);
  const body = encodeTest({ test: 'accuracy', message: 'Grüße, 世界' }, [
    { name: 'issued_ns', data: times, shape: [3] },
    { name: 'output-0', data: answers, shape: [3, 2] },
    { name: 'output-1', data: labels, shape: [3, 1] },
  ]);
  const { header, arrays } = decode(body);
  assert.equal(header.message, 'Grüße, 世界');
  assert.deepEqual(header.arrays[1], { name: 'output-0', dtype: 'float32', shape: [3, 2] });
  assert.deepEqual(arrays, [times, answers, labels]);
});

test('a column that is a view of a larger buffer sends only its own values', () => {
  const data = Float64Array.from([1, 2, 3, 4]).subarray(1, 3);
  assert.deepEqual([...decode(encodeTest({}, [{ name: 'issued_ns', data, shape: [2] }])).arrays[0]], [2, 3]);
});

test('values that do not fill their shape are refused', () => {
  const data = new Float32Array(5);
  assert.throws(() => encodeTest({}, [{ name: 'output-0', data, shape: [2, 3] }]), /output-0: 5 values/);
});

test('times become whole nanoseconds', () => {
  assert.deepEqual([...nanoseconds(Float64Array.from([0, 0.005, 12.3456789]))], [0, 5000, 12345679]);
});
