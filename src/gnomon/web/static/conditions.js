// Under what conditions a test ran, as far as a page can tell: power, whether it was in front, work that held it up.
// It only reads; the one thing it asks of the phone is to keep the screen on.

/** @typedef {{level: number, charging: boolean} | null} Power */

/** @returns {Promise<Power>} */
export async function readPower() {
  const battery = await /** @type {any} */ (navigator).getBattery?.().catch(() => null);
  return battery ? { level: battery.level, charging: battery.charging } : null;
}

/** @param {Power} start @param {Power} end */
export function powerBetween(start, end) {
  if (!start || !end) return null;
  return {
    level_start: start.level,
    level_end: end.level,
    charging_start: start.charging,
    charging_end: end.charging,
  };
}

/**
 * Watches the page from now until `stop`: calls `onHidden` when it leaves the front.
 * @param {() => void} onHidden
 */
export function watchPage(onHidden) {
  let hidden_since = document.hidden ? performance.now() : 0;
  let hidden_ms = 0;
  let visibility_changes = 0;
  let long_tasks_ms = 0;
  const onChange = () => {
    visibility_changes += 1;
    if (document.hidden) {
      hidden_since = performance.now();
      onHidden();
    } else {
      hidden_ms += performance.now() - hidden_since;
    }
  };
  document.addEventListener('visibilitychange', onChange);
  const observer = observeLongTasks((duration) => (long_tasks_ms += duration));
  if (document.hidden) queueMicrotask(onHidden);
  return {
    stop() {
      document.removeEventListener('visibilitychange', onChange);
      observer?.disconnect();
      if (document.hidden) hidden_ms += performance.now() - hidden_since;
      return { hidden_ms: Math.round(hidden_ms), visibility_changes, long_tasks_ms: Math.round(long_tasks_ms) };
    },
  };
}

/** @param {(duration_ms: number) => void} onTask */
function observeLongTasks(onTask) {
  if (!globalThis.PerformanceObserver?.supportedEntryTypes?.includes('longtask')) return undefined;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) onTask(entry.duration);
  });
  observer.observe({ type: 'longtask' });
  return observer;
}

/**
 * Keeps the screen on until released; the browser lets go whenever the page is hidden, so it is asked again.
 * Nothing happens where there is no such thing (plain HTTP).
 */
export function keepScreenOn() {
  /** @type {any} */
  let lock;
  const ask = async () => {
    if (document.hidden) return;
    lock = await /** @type {any} */ (navigator).wakeLock?.request('screen').catch(() => undefined);
  };
  document.addEventListener('visibilitychange', ask);
  ask();
  return () => {
    document.removeEventListener('visibilitychange', ask);
    lock?.release();
  };
}
