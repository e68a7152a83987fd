// The page as files: what the service worker keeps, what the rules of content allow, colours that can be read.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const FOLDER = new URL('../../../src/gnomon/web/static/', import.meta.url);
const read = (name) => readFileSync(new URL(name, FOLDER), 'utf8');
const files = readdirSync(FOLDER);

test('the service worker keeps every module that the page loads', () => {
  const worker = read('sw.js');
  const needed = files.filter((name) => name.endsWith('.js') && !['sw.js', 'types.js'].includes(name));
  for (const name of [...needed, 'style.css']) assert.ok(worker.includes(`'${name}'`), `${name} is missing in SHELL`);
  for (const [, name] of worker.matchAll(/'([\w-]+\.(?:js|css|svg|png))'/g)) assert.ok(files.includes(name), `${name} is no file`);
});

test('modules only load modules that are there', () => {
  for (const name of files.filter((file) => file.endsWith('.js'))) {
    for (const [, target] of read(name).matchAll(/from '\.\/([^']+)'/g)) assert.ok(files.includes(target), `${name}: ${target}`);
  }
});

test('nothing comes from another host, and no script is inline', () => {
  for (const name of files.filter((file) => /\.(js|css|html|webmanifest)$/.test(file))) {
    assert.doesNotMatch(read(name).replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\//, name);
  }
  assert.doesNotMatch(read('index.html'), /<script(?![^>]*\bsrc=)|\son\w+=|style=/);
});

test('the page can be installed: its manifest names icons that are there', () => {
  const { icons, start_url, display } = JSON.parse(read('manifest.webmanifest'));
  assert.deepEqual([start_url, display], ['./', 'standalone']);
  for (const { src } of icons) assert.ok(files.includes(src.replace('static/', '')), src);
});

test('all that the page loads to open is small', () => {
  const loaded = files.filter((name) => /\.(js|css|html)$/.test(name) && name !== 'types.js');
  const bytes = loaded.reduce((total, name) => total + gzipSync(read(name)).length, 0);
  assert.ok(bytes < 64_000, `${bytes} bytes with gzip`);
});

/** Relative luminance and contrast as WCAG 2.2 defines them. */
function contrast(one, other) {
  const luminance = (colour) => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const share = parseInt(colour.slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

test('text can be read in light and in dark: a contrast of 4.5 at least', () => {
  const [light, dark] = [...read('style.css').matchAll(/:root \{([^}]+)\}/g)].map(([, block]) =>
    Object.fromEntries([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map(([, name, colour]) => [name, colour])),
  );
  const pairs = [
    ['ink', 'paper'], ['ink', 'card'], ['ink', 'accent-wash'], ['ink', 'bad-wash'], ['quiet', 'paper'], ['quiet', 'card'],
    ['quiet', 'accent-wash'], ['quiet', 'rule'], ['accent', 'paper'], ['accent', 'card'], ['on-accent', 'accent'], ['note', 'note-wash'],
    ['note', 'card'], ['note', 'accent-wash'], ['good', 'card'], ['good', 'good-wash'], ['semi', 'semi-wash'], ['bad', 'bad-wash'], ['bad', 'card'],
  ];
  for (const [theme, colours] of Object.entries({ light, dark })) {
    for (const [text, ground] of pairs) {
      const found = contrast(colours[text], colours[ground]);
      assert.ok(found >= 4.5, `${theme}: ${text} on ${ground} has ${found.toFixed(2)}`);
    }
    const field = contrast(colours.field, colours.card);
    assert.ok(field >= 3, `${theme}: the edge of a control has ${field.toFixed(2)}`);
  }
});
