/** What a test of fault recovery imports: `import { chaos, train } from 'lockstep/testing'`. Docs: docs/fault-testing.md. */
export { chaos, type Fault } from '../src/chaos/faults.js';
export { LockstepError } from '../src/errors.js';
export type { Injection, RecoverySummary, RunSummary } from '../src/run-summary.js';
export { train, type TrainOptions } from './train.js';
