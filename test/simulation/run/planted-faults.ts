/** Faults of the protocol, each planted by another machine in the place of a real one: the simulator has to find them. */
import { AllReduce } from '../../../src/collective/all-reduce.js';
import type { AllReduceEffect, AllReduceEvent } from '../../../src/collective/events.js';
import { slotsToCompute } from '../../../src/collective/kept-partials.js';
import {
  participant,
  type ParticipantEffect,
  type ParticipantTransition,
} from '../../../src/membership/participant.js';
import { Outbox } from '../../../src/membership/outbox.js';
import type { FromWorker, RosterEntry } from '../../../src/protocol/messages.js';
import { Charge } from '../../../coordinator/charge.js';
import { successorOf } from '../../../coordinator/journal.js';
import { membership } from '../../../coordinator/membership.js';
import type { MembershipEffect, MembershipTransition } from '../../../coordinator/membership-state.js';
import { RunRecord } from '../../../coordinator/run-record.js';
import { realParts, type Parts } from './parts.js';
import type { Family } from './schedule.js';

/** The participant, with its effects altered. */
function participantThat(change: (effect: ParticipantEffect) => readonly ParticipantEffect[]): Partial<Parts> {
  return {
    participant: (config, state, event) => {
      const taken = participant(config, state, event);
      return { ...taken, effects: taken.effects.flatMap(change) };
    },
  };
}

/** The coordinator, with its effects altered. */
function membershipThat(change: (effect: MembershipEffect) => MembershipEffect): Partial<Parts> {
  return {
    membership: (config, state, event, nowMs) => {
      const taken = membership(config, state, event, nowMs);
      return { ...taken, effects: taken.effects.map(change) };
    },
  };
}

function withRoster(change: (roster: readonly RosterEntry[]) => readonly RosterEntry[]): Partial<Parts> {
  return membershipThat((effect) =>
    effect.type === 'form-generation' ? { ...effect, roster: change(effect.roster) } : effect,
  );
}

/** Says to itself that all has left, which has not. */
class HastyAllReduce extends AllReduce {
  override take(event: AllReduceEvent): AllReduceEffect[] {
    const effects = super.take(event);
    const { step } = this;
    const sent = effects.flatMap((effect) => ('to' in effect ? effect.to : []));
    return [...effects, ...sent.flatMap((to) => super.take({ type: 'sent', to, step }))];
  }
}

function both(first: ParticipantTransition, second: ParticipantTransition): ParticipantTransition {
  return { ...second, effects: [...first.effects, ...second.effects] };
}

type Planted = Readonly<Record<string, Partial<Parts>>>;

const inEverything: Planted = {
  'a halt that does not end the generation': {
    participant: (config, state, event) => {
      if (event.type !== 'halt' || state.phase !== 'training') return participant(config, state, event);
      const { generation } = event;
      return {
        state: { ...state, generation },
        effects: [{ type: 'halted', generation, step: state.step }],
        reason: '',
      };
    },
  },
  'a state that is not fetched': {
    participant: (config, state, event) => {
      const taken = participant(config, state, event);
      const fetch = taken.effects.find((effect) => effect.type === 'fetch');
      if (!fetch) return taken;
      const { generation } = fetch;
      return both({ ...taken, effects: [] }, participant(config, taken.state, { type: 'fetched', generation }));
    },
  },
  'a halt answered with a step too many': participantThat((effect) => {
    if (effect.type !== 'halted' || effect.step === null) return [effect];
    return [{ ...effect, step: effect.step + 1 }];
  }),
  'a commit that the participant does not hear of': {
    participant: (config, state, event) => {
      if (event.type === 'committed') return { state, effects: [], reason: null };
      return participant(config, state, event);
    },
  },
  'a step that is committed before its frames have left': {
    makeAllReduce: (plan, step) => new HastyAllReduce(plan, step),
  },
  'partials of an older step that are used': {
    slotsToCompute: (kept, step, range) => slotsToCompute(kept, kept.step < 0 ? step : kept.step, range),
  },
  'a slot that two workers have': withRoster((roster) =>
    roster.map((entry) => ({ ...entry, firstSlot: Math.max(0, entry.firstSlot - 1) })),
  ),
  'a slot that nobody has': withRoster((roster) =>
    roster.map((entry, rank) =>
      rank > 0 && rank === roster.length - 1 ? { ...entry, endSlot: entry.endSlot - 1 } : entry,
    ),
  ),
  'a generation that begins at the least step that one holds': membershipThat((effect) => {
    if (effect.type !== 'form-generation') return effect;
    const held = effect.roster.flatMap(({ step }) => step ?? []);
    return held.length === 0 ? effect : { ...effect, step: Math.min(...held) };
  }),
  'a start before all are connected': {
    membership: (config, state, event, nowMs) => {
      if (event.type !== 'connected') return membership(config, state, event, nowMs);
      const first: MembershipTransition = { state, effects: [], reason: null };
      return state.roster.reduce((before, { workerId }) => {
        if (!before.state.members.has(workerId)) return before;
        const next = membership(config, before.state, { ...event, workerId }, nowMs);
        return { ...next, effects: [...before.effects, ...next.effects] };
      }, first);
    },
  },
  'a worker that is silent, and is not evicted': {
    membership: (config, state, event, nowMs) => {
      return event.type === 'tick' ? { state, effects: [], reason: null } : membership(config, state, event, nowMs);
    },
  },
  'a finish that the coordinator does not hear of': {
    hear: (message) => (message.type === 'finished' ? null : message),
  },
  'a validation that is lost with its worker': {
    hear: (message) => (message.type === 'evaluated' && message.slots[0]?.slot === 0 ? null : message),
  },
};

const inDisks: Planted = {
  'a worker that stands ready before it has read the checkpoint': {
    participant: (config, state, event) => {
      const taken = participant(config, state, event);
      if (event.type !== 'linked') return taken;
      const { generation } = event;
      return both(taken, participant(config, taken.state, { type: 'resting', generation, filled: true }));
    },
  },
  'a torn checkpoint that is read': { verifiesCheckpoints: false },
};

const inComingsAndGoings: Planted = {
  'a stop that asks for a step less': membershipThat((effect) => {
    return effect.type === 'stop-after' ? { ...effect, step: Math.max(0, effect.step - 1) } : effect;
  }),
};

const inReturns: Planted = {
  'a journal that forgets the term': {
    successorOf: (before, own) => ({ ...successorOf(before, own), term: 1 }),
  },
  'a coordinator that is back and does not wait for its workers': {
    membership: (config, state, event, nowMs) => {
      const patience = { ...config.patience, returnTimeoutMs: -1 };
      return membership({ ...config, patience }, state, event, nowMs);
    },
  },
  'an outbox that is dropped when there is a coordinator again': { makeOutbox: () => new ForgetfulOutbox() },
  'a record that begins anew with each coordinator, so that steps are told twice': {
    makeRecord: (shape, slots) => new RunRecord(shape, slots, null),
  },
  'an old coordinator that does not find out that it was replaced': {
    makeCharge: (_journal, patience) => new Charge(null, patience),
  },
  'a generation that is gone on with in the midst of the moves': {
    membership: (config, state, event, nowMs) => {
      if (event.type !== 'hello' || !event.standing) return membership(config, state, event, nowMs);
      const standing = { ...event.standing, isTraining: true, generation: event.standing.entered };
      return membership(config, state, { ...event, standing }, nowMs);
    },
  },
};

const inSharded: Planted = {
  'a share of the moments that is taken for the whole': {
    participant: (config, state, event) => participant({ ...config, holdsAll: true }, state, event),
  },
  'a checkpoint with the moments of rank 0 alone': { gathersMoments: false },
};

class ForgetfulOutbox extends Outbox {
  override reconnect(): FromWorker[] {
    super.reconnect();
    return [];
  }
}

/** By the family of schedules that finds them. */
const planted = {
  everything: inEverything,
  disks: inDisks,
  'comings and goings': inComingsAndGoings,
  sharded: inSharded,
  returns: inReturns,
} satisfies Partial<Record<Family, Planted>>;

export const plantedFaults: readonly (readonly [name: string, parts: Parts, family: Family])[] = Object.entries(
  planted,
).flatMap(([family, faults]) => {
  return Object.entries(faults).map(([name, parts]) => [name, { ...realParts, ...parts }, family as Family] as const); // its keys
});
