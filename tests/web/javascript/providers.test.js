// What the page finds out about a browser, and the words it has for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as providers from '../../../src/gnomon/web/static/providers.js';

const clock = () => performance.now();
const browser = (navigator = {}, more = {}) => ({
  isSecureContext: true,
  crossOriginIsolated: true,
  WebAssembly,
  navigator: { hardwareConcurrency: 8, ...navigator },
  ...more,
});
const probed = async (found) => Object.fromEntries((await providers.probeAll(found, clock, 50)).map((probe) => [probe.name, probe]));

test('threads are as many as processors, four at most, one without isolation', () => {
  assert.equal(providers.threadsIn(browser()), 4);
  assert.equal(providers.threadsIn(browser({ hardwareConcurrency: 2 })), 2);
  assert.equal(providers.threadsIn(browser({}, { crossOriginIsolated: false })), 1);
});

test('WebAssembly says its threads, and why there is only one', async () => {
  assert.equal((await probed(browser())).wasm.why, '4 threads, SIMD');
  const plain = await probed(browser({}, { crossOriginIsolated: false, isSecureContext: false }));
  assert.match(plain.wasm.why, /^1 thread.*plain HTTP.*https address/);
  assert.equal(plain.wasm.usable, true);
  const bare = { ...WebAssembly, validate: () => false };
  assert.deepEqual([(await probed(browser({}, { WebAssembly: bare }))).wasm.usable], [false]);
});

test('WebGPU without an adapter, without support and with an adapter is told apart', async () => {
  assert.equal((await probed(browser())).webgpu.why, 'not in this browser');
  assert.equal((await probed(browser({ gpu: { requestAdapter: async () => null } }))).webgpu.why, 'no adapter here');
  const info = { vendor: 'arm', architecture: 'valhall', description: '' };
  const found = (await probed(browser({ gpu: { requestAdapter: async () => ({ info }) } }))).webgpu;
  assert.deepEqual([found.usable, found.why], [true, 'arm valhall']);
});

test('a provider that never answers costs only the time limit', async () => {
  const hung = browser({ gpu: { requestAdapter: () => new Promise(() => {}) } });
  const { webgpu } = await probed(hung);
  assert.deepEqual([webgpu.usable, webgpu.why], [false, 'no answer within 0.05 s']);
});

test('WebNN takes the most special device it gives a context for', async () => {
  const ml = (only) => ({
    createContext: async ({ deviceType }) => {
      if (deviceType !== only) throw new Error(`no ${deviceType}`);
    },
  });
  assert.equal((await probed(browser({ ml: ml('gpu') }))).webnn.why, 'a context for the GPU');
  const none = (await probed(browser({ ml: ml('none') }))).webnn;
  assert.deepEqual([none.usable, none.why], [false, 'no cpu']);
});

test('automatic prefers WebGPU, then WebAssembly, and never WebNN or a GPU in software', async () => {
  const probes = [{ name: 'webgpu', usable: true }, { name: 'wasm', usable: true }, { name: 'webnn', usable: true }];
  assert.deepEqual(providers.candidates('auto', probes), ['webgpu', 'wasm']);
  assert.deepEqual(providers.candidates('auto', probes.slice(1)), ['wasm']);
  assert.deepEqual(providers.candidates('auto', [{ ...probes[0], software: true }, probes[1]]), ['wasm']);
  assert.deepEqual(providers.candidates('webnn', probes), ['webnn']);
});

test('a provider that refused a model is no longer called usable', () => {
  const probes = [{ name: 'webgpu', usable: true, why: 'arm', took_ms: 1 }, { name: 'wasm', usable: true, why: 'x', took_ms: 1 }];
  const [webgpu, wasm] = providers.withRefusal(probes, 'webgpu', 'out of memory');
  assert.deepEqual([webgpu.usable, webgpu.why, wasm.usable], [false, 'out of memory', true]);
  assert.equal(probes[0].usable, true);
});

test('errors are told in one short line', () => {
  assert.equal(providers.inWords(new TypeError('first\nsecond')), 'first');
  assert.ok(providers.inWords('x'.repeat(1000)).length < 250);
});
