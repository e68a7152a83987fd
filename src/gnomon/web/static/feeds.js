// From the compact inputs as they came over the network to the tensors a model is fed.
// Everything is cast and laid out before the clock starts, unless that would take more memory than a phone spares.

const MOST_BYTES_AHEAD = 256e6;

/** @typedef {import('./types.js').FeedType} FeedType */
/** @typedef {Float32Array | Int32Array} Values */
/** @typedef {(type: FeedType, values: Values, dims: number[]) => unknown} MakeTensor */
/** @typedef {Record<string, any>} Feeds */

/**
 * One input of the model over all samples: `stored` holds `sample_stride` values a sample, of which this input
 * takes `length` from `offset` on.
 * @typedef {object} Part
 * @property {FeedType} type
 * @property {number[]} dims            Of one sample.
 * @property {number} length
 * @property {number} offset
 */

/**
 * @typedef {object} Inputs
 * @property {Uint8Array | Int32Array} stored
 * @property {number} samples
 * @property {number} sample_stride
 * @property {Part[]} parts
 */

/**
 * @param {ArrayBuffer} bytes
 * @param {'uint8' | 'int32'} dtype
 * @param {number[]} shape
 * @param {FeedType[]} feeds
 * @returns {Inputs}
 */
export function readInputs(bytes, dtype, shape, feeds) {
  const stored = dtype === 'uint8' ? new Uint8Array(bytes) : new Int32Array(bytes);
  const [samples, ...sample] = shape;
  const sample_stride = product(sample);
  if (stored.length !== samples * sample_stride) {
    throw new Error(`the inputs hold ${stored.length} values where ${shape.join(' x ')} were announced`);
  }
  const several = feeds.length > 1;
  if (several && sample[0] !== feeds.length) {
    throw new Error(`a sample of shape ${sample.join(' x ')} does not split into ${feeds.length} model inputs`);
  }
  const dims = several ? sample.slice(1) : sample;
  const length = product(dims);
  const parts = feeds.map((type, at) => ({ type, dims, length, offset: at * length }));
  return { stored, samples, sample_stride, parts };
}

/**
 * Feeds for queries of one sample: all made ahead, or one set that `prepare` fills before each query.
 * @param {Inputs} inputs
 * @param {readonly string[]} names     The model's inputs, in its order.
 * @param {MakeTensor} makeTensor
 * @returns {{prepare: (sample: number) => void, feedsOf: (sample: number) => Feeds}}
 */
export function singleFeeds(inputs, names, makeTensor) {
  const ahead = inputs.samples * inputs.sample_stride * 4 <= MOST_BYTES_AHEAD;
  if (ahead) {
    const all = Array.from({ length: inputs.samples }, (_, sample) => {
      const buffers = inputs.parts.map((part) => valuesOf(part, 1));
      copySample(inputs, sample, buffers, 0);
      return makeFeeds(inputs, names, buffers, 1, makeTensor);
    });
    return { prepare: () => {}, feedsOf: (sample) => all[sample] };
  }
  const buffers = inputs.parts.map((part) => valuesOf(part, 1));
  const feeds = makeFeeds(inputs, names, buffers, 1, makeTensor);
  return { prepare: (sample) => copySample(inputs, sample, buffers, 0), feedsOf: () => feeds };
}

/**
 * Feeds for batches of one size. A shorter batch is filled up with its last sample, so that shapes never change.
 * @param {Inputs} inputs
 * @param {readonly string[]} names
 * @param {number} batch_size
 * @param {MakeTensor} makeTensor
 * @returns {(samples: Int32Array) => Feeds}
 */
export function batchFeeds(inputs, names, batch_size, makeTensor) {
  const buffers = inputs.parts.map((part) => valuesOf(part, batch_size));
  const feeds = makeFeeds(inputs, names, buffers, batch_size, makeTensor);
  return (samples) => {
    for (let row = 0; row < batch_size; row += 1) {
      copySample(inputs, samples[Math.min(row, samples.length - 1)], buffers, row);
    }
    return feeds;
  };
}

/** @param {Part} part @param {number} rows @returns {Values} */
function valuesOf(part, rows) {
  return part.type === 'float32' ? new Float32Array(part.length * rows) : new Int32Array(part.length * rows);
}

/** @param {Inputs} inputs @param {number} sample @param {Values[]} buffers @param {number} row */
function copySample(inputs, sample, buffers, row) {
  const start = sample * inputs.sample_stride;
  inputs.parts.forEach((part, at) => {
    const from = start + part.offset;
    buffers[at].set(inputs.stored.subarray(from, from + part.length), row * part.length);
  });
}

/**
 * @param {Inputs} inputs @param {readonly string[]} names @param {Values[]} buffers @param {number} rows
 * @param {MakeTensor} makeTensor
 * @returns {Feeds}
 */
function makeFeeds(inputs, names, buffers, rows, makeTensor) {
  if (names.length !== inputs.parts.length) {
    throw new Error(`the model takes ${names.length} inputs where the task feeds ${inputs.parts.length}`);
  }
  return Object.fromEntries(
    inputs.parts.map((part, at) => [names[at], makeTensor(part.type, buffers[at], [rows, ...part.dims])]),
  );
}

/** @param {number[]} lengths */
function product(lengths) {
  return lengths.reduce((result, length) => result * length, 1);
}
