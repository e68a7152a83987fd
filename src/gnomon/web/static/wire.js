// One measured test as the bytes that the server takes: a length, a JSON header, then the columns one after the other.
// `gnomon.web.upload` reads it.

/** @typedef {Float64Array | Float32Array | Int32Array} Column */
/** @typedef {{name: string, data: Column, shape: number[]}} NamedArray */

/**
 * @param {object} header   All but `arrays`, which is made here.
 * @param {NamedArray[]} arrays
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeTest(header, arrays) {
  const described = arrays.map(({ name, data, shape }) => {
    const elements = shape.reduce((product, length) => product * length, 1);
    if (elements !== data.length) throw new Error(`${name}: ${data.length} values do not fill the shape ${shape}`);
    return { name, dtype: dtypeOf(data), shape };
  });
  const json = new TextEncoder().encode(JSON.stringify({ ...header, arrays: described }));
  const length = arrays.reduce((total, { data }) => total + data.byteLength, 4 + json.length);
  const body = new Uint8Array(length);
  new DataView(body.buffer).setUint32(0, json.length, true);
  body.set(json, 4);
  let at = 4 + json.length;
  for (const { data } of arrays) {
    body.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return body;
}

/** Whole nanoseconds since the start of the test. @param {Float64Array} milliseconds */
export function nanoseconds(milliseconds) {
  return milliseconds.map((value) => Math.round(value * 1e6));
}

/** @param {Column} data */
function dtypeOf(data) {
  if (data instanceof Float64Array) return 'float64';
  return data instanceof Float32Array ? 'float32' : 'int32';
}
