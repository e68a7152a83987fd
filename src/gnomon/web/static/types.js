// The shapes that pass between the page, its worker and the server, as types for `tsc --checkJs`.
// Nothing here runs and nothing imports it at run time; the server's side is `gnomon.web.catalogue` and `.upload`.

/** @typedef {'wasm' | 'webgpu' | 'webnn'} ProviderName */
/** @typedef {'fp32' | 'fp16' | 'int8'} Precision */
/** @typedef {'performance' | 'accuracy'} Kind */
/** @typedef {'float32' | 'int32'} FeedType */

/**
 * @typedef {object} Mode
 * @property {string} name
 * @property {string} title
 * @property {string} explanation
 * @property {number} cooldown_s
 */

/**
 * @typedef {object} Test
 * @property {string} name
 * @property {Kind} kind
 * @property {string} scenario
 * @property {number} min_query_count   Samples, where the scenario is Offline.
 * @property {number} max_query_count   0: no such limit.
 * @property {number} min_duration_ns
 * @property {number} max_duration_ns   0: no such limit.
 * @property {number} percentile
 * @property {string} schedule          Path of the sample indices, relative to the page.
 */

/**
 * @typedef {object} Model
 * @property {Precision} precision
 * @property {string} path
 * @property {number} bytes
 * @property {string} sha256
 */

/**
 * @typedef {object} InputsFile
 * @property {string} path
 * @property {number} bytes
 * @property {string} sha256
 * @property {'uint8' | 'int32'} dtype
 * @property {number[]} shape           The first axis is the sample.
 * @property {FeedType[]} feeds         One: the whole sample. Several: the sample split along its first axis.
 */

/**
 * @typedef {object} Task
 * @property {string} benchmark
 * @property {string} title
 * @property {string} metric
 * @property {string} unit
 * @property {boolean} higher_is_better
 * @property {number} threshold
 * @property {number} samples
 * @property {boolean} official
 * @property {string} data_source
 * @property {Model[]} models
 * @property {InputsFile} inputs
 * @property {number} batch_size
 * @property {Record<string, Test[]>} tests   By mode.
 */

/**
 * @typedef {object} Runtime
 * @property {string} name
 * @property {string} version
 * @property {Partial<Record<ProviderName, {module: string, bytes: number, transfer_bytes?: number}>>} providers
 */

/** @typedef {{gnomon_version: string, runtime: Runtime, modes: Mode[], tasks: Task[]}} Catalogue */

/**
 * What a look at one provider found, before any model is loaded.
 * @typedef {object} Probe
 * @property {ProviderName} name
 * @property {boolean} usable
 * @property {string} why               In words: how it would run, or why it cannot.
 * @property {number} took_ms
 * @property {boolean} [software]       A GPU drawn by the CPU.
 */

/**
 * What ran, as it goes on record.
 * @typedef {object} RanOn
 * @property {ProviderName} name
 * @property {number} threads
 * @property {boolean} isolated
 * @property {string} requested
 * @property {Probe[]} probes
 */

/** @typedef {{mode: string, provider: ProviderName | 'auto', precision: Precision, tasks: string[]}} Choice */

/** @typedef {{name: string, passed: boolean, found: string, required: string, why: string}} Check */

/**
 * @typedef {object} Fault
 * @property {string} kind
 * @property {string} message
 */

/**
 * What the worker hands back of one test. Times are milliseconds of its clock since the test began.
 * @typedef {object} Measured
 * @property {Float64Array} issued_ms
 * @property {Float64Array} completed_ms
 * @property {{name: string, data: Float32Array | Int32Array, shape: number[]}[]} outputs
 * @property {number} warm_up_calls
 * @property {number} started_at_ms     Wall clock, milliseconds of the epoch.
 * @property {number} clock_resolution_ns
 * @property {number} clock_drift_ppm
 * @property {Fault[]} faults
 */

/**
 * @typedef {object} Conditions
 * @property {number | null} cooldown_s   Rest since the performance test before; null: it was the first.
 * @property {{level_start: number, level_end: number, charging_start: boolean, charging_end: boolean} | null} battery
 * @property {number} hidden_ms
 * @property {number} visibility_changes
 * @property {number} clock_resolution_ns
 * @property {number} clock_drift_ppm
 * @property {number} long_tasks_ms
 * @property {boolean} online            Whether the server knew of the run before the test began.
 */

/** What the page can show before the server has judged anything. Times in ns, throughput in samples/s.
 * @typedef {{percentile_ns?: number, percentile?: number, queries_per_s?: number, samples_per_s?: number}} OwnFigures
 */

export {};
