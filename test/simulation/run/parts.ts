/** What a simulated run is made of: the machines of the real one. A planted fault puts another in the place of one of them. */
import { AllReduce } from '../../../src/collective/all-reduce.js';
import { slotsToCompute } from '../../../src/collective/kept-partials.js';
import type { AllReducePlan } from '../../../src/collective/plan.js';
import { isFollowed } from '../../../src/membership/following.js';
import { Outbox } from '../../../src/membership/outbox.js';
import { participant } from '../../../src/membership/participant.js';
import type { FromWorker } from '../../../src/protocol/messages.js';
import { Charge } from '../../../coordinator/charge.js';
import { successorOf, type Journal } from '../../../coordinator/journal.js';
import { membership } from '../../../coordinator/membership.js';
import type { Patience } from '../../../coordinator/membership-state.js';
import { RunRecord } from '../../../coordinator/run-record.js';

type MakeRecord = (
  shape: ConstructorParameters<typeof RunRecord>[0],
  slots: number,
  before: ConstructorParameters<typeof RunRecord>[3],
) => RunRecord;

export interface Parts {
  readonly membership: typeof membership;
  readonly participant: typeof participant;
  readonly slotsToCompute: typeof slotsToCompute;
  readonly makeAllReduce: (plan: AllReducePlan, step: number) => AllReduce;
  /** What the coordinator makes of a message; null: it does not hear it. */
  readonly hear: (message: FromWorker) => FromWorker | null;
  readonly isFollowed: typeof isFollowed;
  readonly successorOf: typeof successorOf;
  readonly makeOutbox: () => Outbox;
  readonly makeRecord: MakeRecord;
  readonly makeCharge: (journal: Journal, patience: Patience) => Charge;
  /** Whether what is read from the disk is held to its checksum. */
  readonly verifiesCheckpoints: boolean;
  /** Whether moments that are shared out come from all for a checkpoint. */
  readonly gathersMoments: boolean;
}

export const realParts: Parts = {
  membership,
  participant,
  slotsToCompute,
  makeAllReduce: (plan, step) => new AllReduce(plan, step),
  hear: (message) => message,
  isFollowed,
  successorOf,
  makeOutbox: () => new Outbox(),
  makeRecord: (shape, slots, before) => new RunRecord(shape, slots, null, before),
  makeCharge: (journal, patience) => new Charge(journal, patience),
  verifiesCheckpoints: true,
  gathersMoments: true,
};
