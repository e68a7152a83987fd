// Numbers as a person reads them: three digits that count, four of a rate, the unit beside, the same everywhere.

/** Of a unit's size: from here on a figure of three digits is rounded up to it, so that 999.6 µs reads 1.00 ms. */
const ROUNDED_UP = 0.9995;

/** At least so many digits that count; the whole part is never rounded away. @param {number} value @param {number} digits */
function digits(value, digits = 3) {
  if (value === 0) return '0';
  const exponent = Number(value.toExponential(digits - 1).split('e')[1]);
  const decimals = Math.max(0, digits - 1 - exponent);
  return rounded(value, decimals).toLocaleString('en', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/**
 * Rounds what the value really is in binary, and a tie to the even digit, as the server's pages do: 7.755 is a little
 * less than that and becomes 7.75, where `toLocaleString` alone would round its shortest decimal form up.
 * @param {number} value @param {number} decimals
 */
function rounded(value, decimals) {
  const up = value.toFixed(decimals); // of a tie the larger
  const [, rest = ''] = value.toFixed(60).split('.'); // to the last of its binary digits
  const tie = /^50*$/.test(rest.slice(decimals));
  return tie && Number(up.at(-1)) % 2 === 1 ? Number(up) - Math.sign(value) * 10 ** -decimals : Number(up);
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {number} nanoseconds */
export function latency(nanoseconds) {
  if (nanoseconds < 1e3 * ROUNDED_UP) return `${digits(nanoseconds)} ns`;
  if (nanoseconds < 1e6 * ROUNDED_UP) return `${digits(nanoseconds / 1e3)} µs`;
  if (nanoseconds < 1e9 * ROUNDED_UP) return `${digits(nanoseconds / 1e6)} ms`;
  return `${digits(nanoseconds / 1e9)} s`;
}

/** @param {number} per_s */
export function rate(per_s) {
  return digits(per_s, 4);
}

/** @param {number} seconds */
export function seconds(seconds) {
  return `${seconds.toFixed(1)} s`;
}

/** A wait or an estimate: whole seconds below a minute and a half, then minutes. @param {number} seconds */
export function wait(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 90 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}

/** A figure of quality: a percentage where it is a fraction, else with its unit, never apart from it at the end of a line. @param {number} value @param {string} unit */
export function quality(value, unit) {
  return unit ? `${value.toFixed(2)}\u00a0${unit}` : `${(value * 100).toFixed(2)}\u00a0%`;
}

/** @param {number} count @param {string} one @param {string} [several] */
export function count(count, one, several = `${one}s`) {
  return `${count.toLocaleString('en')} ${count === 1 ? one : several}`;
}
