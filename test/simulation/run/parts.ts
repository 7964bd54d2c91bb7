/** What a simulated run is made of: the machines of the real one. A planted fault puts another in the place of one of them. */
import { AllReduce } from '../../../src/collective/all-reduce.js';
import { slotsToCompute } from '../../../src/collective/kept-partials.js';
import type { AllReducePlan } from '../../../src/collective/plan.js';
import { participant } from '../../../src/membership/participant.js';
import type { FromWorker } from '../../../src/protocol/messages.js';
import { membership } from '../../../coordinator/membership.js';

export interface Parts {
  readonly membership: typeof membership;
  readonly participant: typeof participant;
  readonly slotsToCompute: typeof slotsToCompute;
  readonly makeAllReduce: (plan: AllReducePlan, step: number) => AllReduce;
  /** What the coordinator makes of a message; null: it does not hear it. */
  readonly hear: (message: FromWorker) => FromWorker | null;
  /** Whether what is read from the disk is held to its checksum. */
  readonly verifiesCheckpoints: boolean;
}

export const realParts: Parts = {
  membership,
  participant,
  slotsToCompute,
  makeAllReduce: (plan, step) => new AllReduce(plan, step),
  hear: (message) => message,
  verifiesCheckpoints: true,
};
