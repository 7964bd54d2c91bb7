/** What the suites are made with. */
import type { PeerPython } from '../python.js';

export interface Context {
  readonly python: PeerPython;
  /** How long to measure one side in one round. */
  readonly seconds: number;
  /** Tells what is skipped and why, once for each reason. */
  readonly skip: (why: string) => void;
}
