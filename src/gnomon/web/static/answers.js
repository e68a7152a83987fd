// The answers of an accuracy test, collected output by output in the order in which the samples were issued.
// The wire carries two types: floats of any width become float32, integers (class maps, labels) int32.

/** @typedef {Float32Array | Int32Array} Kept */
/** @typedef {{data: ArrayLike<number | bigint>, type: string, dims: readonly number[]}} Output */

/** @param {number} rows */
export function collectAnswers(rows) {
  /** @type {{data: Kept, stride: number, dims: number[]}[]} */
  const kept = [];
  return {
    /** @param {number} row @param {Output[]} outputs   Of one sample; the first axis is the batch. */
    keep(row, outputs) {
      outputs.forEach((output, at) => {
        const dims = output.dims.slice(1);
        const stride = dims.reduce((product, length) => product * length, 1);
        kept[at] ??= { data: columnOf(output.type, rows * stride), stride, dims };
        if (stride !== kept[at].stride) throw new Error(`output ${at} changed its shape between samples`);
        writeRow(kept[at].data, row * stride, stride, output);
      });
    },
    /** @param {number} done */
    close(done) {
      return kept.map(({ data, stride, dims }, at) => ({
        name: `output-${at}`,
        data: data.subarray(0, done * stride),
        shape: [done, ...dims],
      }));
    },
  };
}

/** @param {string} type @param {number} length @returns {Kept} */
function columnOf(type, length) {
  return type.startsWith('float') ? new Float32Array(length) : new Int32Array(length);
}

/** @param {Kept} column @param {number} from @param {number} stride @param {Output} output */
function writeRow(column, from, stride, { data, type }) {
  // Browsers without Float16Array hand half floats out as their bits.
  const bits = type === 'float16' && data instanceof Uint16Array;
  for (let at = 0; at < stride; at += 1) {
    column[from + at] = bits ? halfFloat(Number(data[at])) : Number(data[at]);
  }
}

/** The value of a half-precision float (IEEE 754 binary16) from its bits. @param {number} bits */
export function halfFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
