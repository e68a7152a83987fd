// Elements of the page made in one expression each, and the few icons, drawn inline.

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, any>} [properties]   Attributes; functions are listeners (`onclick`); false and null are left out.
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === 'function') made.addEventListener(key.replace(/^on/, ''), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A table of terms and what they are. @param {[string, Child | Child[]][]} rows */
export function rows(rows) {
  const pairs = rows.map(([term, value]) =>
    element('div', {}, element('dt', {}, term), element('dd', {}, ...[value].flat())),
  );
  return element('dl', { class: 'rows' }, ...pairs);
}

const PATHS = {
  yes: 'M3.5 8.5l3 3 6-7',
  no: 'M4.5 4.5l7 7M11.5 4.5l-7 7',
  part: 'M3.5 8h9',
  wait: 'M8 4.5V8l2.5 1.5',
};

/**
 * A small sign beside words that say the same; hidden from screen readers for that reason.
 * @param {keyof typeof PATHS} name @param {string} [kind]
 */
export function sign(name, kind = '') {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', `sign ${kind}`);
  svg.setAttribute('aria-hidden', 'true');
  const circle = name === 'wait' ? '<circle cx="8" cy="8" r="6"/>' : '';
  svg.innerHTML = `${circle}<path d="${PATHS[name]}"/>`;
  return svg;
}

/** Puts a new screen in place of the old one and the focus on its heading. @param {Child[]} children */
export function showScreen(...children) {
  const main = /** @type {HTMLElement} */ (document.querySelector('main'));
  main.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false));
  const heading = main.querySelector('h1');
  heading?.setAttribute('tabindex', '-1');
  heading?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Says something to a screen reader, once, when it next pauses. @param {string} text */
export function announce(text) {
  const status = /** @type {HTMLElement} */ (document.querySelector('#status'));
  if (status.textContent !== text) status.textContent = text;
}
