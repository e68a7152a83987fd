// The page's side of the measuring worker: one job at a time, with limits of time so that a hung driver is noticed.
// The worker lives on between tests of one provider, since a runtime once compiled is a runtime at full speed.

/** @typedef {import('./types.js').Measured} Measured */
/** @typedef {import('./types.js').ProviderName} ProviderName */
/** @typedef {import('./measure-worker.js').Job} Job */
/** @typedef {{have: number, latency_ms: number}} NeedRows */

const LOAD_LIMIT_MS = 120_000;
const SILENCE_LIMIT_MS = 90_000;

/** A model or a provider that failed; the message is for a person. */
export class MeasureError extends Error {}

export class Measurer {
  /** @type {Worker | undefined} */
  #worker;
  /** @type {string} */
  #module_url = '';
  /** @type {((error: Error) => void) | undefined} */
  #reject;

  /**
   * @param {Job} job
   * @returns {Promise<{threads: number, isolated: boolean, remark: string}>}
   */
  async load(job) {
    if (this.#worker && this.#module_url !== job.module_url) this.stop();
    this.#worker ??= new Worker(new URL('./measure-worker.js', import.meta.url), { type: 'module' });
    this.#module_url = job.module_url;
    return this.#exchange({ type: 'load', job }, 'loaded', LOAD_LIMIT_MS, () => undefined);
  }

  /**
   * @param {(done: number, elapsed_ms: number) => void} onProgress
   * @param {(need: NeedRows) => Promise<Int32Array>} rowsFor
   * @returns {Promise<Measured>}
   */
  async measure(onProgress, rowsFor) {
    const finished = await this.#exchange({ type: 'measure' }, 'finished', SILENCE_LIMIT_MS, (message) => {
      if (message.type === 'progress') onProgress(message.done, message.elapsed_ms);
      if (message.type === 'need-rows') this.#answerRows(message, rowsFor);
    });
    return finished.measured;
  }

  /** Ends whatever is going on; the promise that waits for it fails with this reason. @param {Error} [why] */
  stop(why = new MeasureError('stopped')) {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#reject?.(why);
  }

  /** @param {NeedRows} need @param {(need: NeedRows) => Promise<Int32Array>} rowsFor */
  async #answerRows(need, rowsFor) {
    const worker = this.#worker;
    try {
      worker?.postMessage({ type: 'rows', rows: await rowsFor(need) });
    } catch (error) {
      this.stop(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /**
   * @param {object} request @param {string} wanted   The message that ends the exchange.
   * @param {number} silence_ms @param {(message: any) => void} onOther
   * @returns {Promise<any>}
   */
  #exchange(request, wanted, silence_ms, onOther) {
    const worker = /** @type {Worker} */ (this.#worker);
    return new Promise((resolve, reject) => {
      const silent = () => this.stop(new MeasureError(`nothing was heard for ${silence_ms / 1000} s`));
      let timer = setTimeout(silent, silence_ms);
      const end = () => {
        clearTimeout(timer);
        worker.onmessage = null;
        worker.onerror = null;
        this.#reject = undefined;
      };
      this.#reject = (error) => {
        end();
        reject(error);
      };
      worker.onmessage = ({ data }) => {
        clearTimeout(timer);
        timer = setTimeout(silent, silence_ms);
        if (data.type === 'failed') this.#reject?.(new MeasureError(data.message));
        else if (data.type !== wanted) onOther(data);
        else {
          end();
          resolve(data);
        }
      };
      worker.onerror = (event) => this.stop(new MeasureError(event.message || 'the measuring worker could not start'));
      worker.postMessage(request);
    });
  }
}
