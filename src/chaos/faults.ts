/**
 * Faults that a run is given on purpose, so that a test can see it recover: what happens, to which rank, after which step.
 * On the command line they are words, "kill:1@20,delay:1=200ms@100"; in a test they are made by `chaos`.
 */
import { z } from 'zod';
import { LockstepError } from '../errors.js';

const rank = z.int().min(0);
/** Steps committed: the fault comes right after the step that makes it so many. */
const step = z.int().positive();
/** Longer than any limit of a run by far. */
const maxDelayMs = 600_000;

const kill = z.strictObject({ kind: z.literal('kill'), rank, step });
const stop = z.strictObject({ kind: z.literal('stop'), rank, step });
const partition = z.strictObject({ kind: z.literal('partition'), rank, step });
const delay = z.strictObject({
  kind: z.literal('delay'),
  rank,
  step,
  delayMs: z.int().positive().max(maxDelayMs),
});
const join = z.strictObject({ kind: z.literal('join'), step });
const coordinator = z.strictObject({ kind: z.literal('coordinator'), step });

/** What a worker does to itself. */
export const workerFaultSchema = z.discriminatedUnion('kind', [kill, stop, partition, delay]);
export type WorkerFault = z.output<typeof workerFaultSchema>;

const faultSchema = z.discriminatedUnion('kind', [kill, stop, partition, delay, join, coordinator]);
export type Fault = z.output<typeof faultSchema>;

export function isWorkerFault(fault: Fault): fault is WorkerFault {
  return 'rank' in fault;
}

interface At {
  /** Of the generation that trains then. */
  readonly rank: number;
  /** Steps committed. */
  readonly step: number;
}

/** Makes faults: `chaos.kill({ rank: 1, step: 20 })`. */
export const chaos = {
  /** SIGKILL of the worker that has the rank once it has committed so many steps. */
  kill: ({ rank, step }: At): Fault => ({ kind: 'kill', rank, step }),
  /** SIGSTOP: its process is there, and silent. */
  stop: ({ rank, step }: At): Fault => ({ kind: 'stop', rank, step }),
  /** Its connections stay open, and nothing comes through any more, either way. */
  partition: ({ rank, step }: At): Fault => ({ kind: 'partition', rank, step }),
  /** All that it sends from then on comes so much later, in milliseconds. */
  delay: ({ rank, step, delayMs }: At & { readonly delayMs: number }): Fault => {
    return { kind: 'delay', rank, step, delayMs };
  },
  /** The run wants one worker more. */
  join: ({ step }: Pick<At, 'step'>): Fault => ({ kind: 'join', step }),
  /** SIGKILL of the coordinator, which is started again. */
  coordinator: ({ step }: Pick<At, 'step'>): Fault => ({ kind: 'coordinator', step }),
};

const word = /^(?<kind>[a-z]+)(?::(?<rank>\d+))?(?:=(?<delayMs>\d+)ms)?@(?<step>\d+)$/;

/**
 * Reads "kill:1@20,stop:0@40,join@60,coordinator@80,partition:2@90,delay:1=200ms@100".
 *
 * @throws LockstepError ERR_USAGE, naming the first word that is none
 */
export function parseFaults(text: string): Fault[] {
  return text.split(',').map((part) => {
    const fault = parseFault(part.trim());
    if (fault) return fault;
    const forms = 'kill:RANK@STEP, stop:RANK@STEP, partition:RANK@STEP, delay:RANK=MILLISECONDSms@STEP, join@STEP';
    const message = `--chaos: "${part}" is no fault; expected ${forms} or coordinator@STEP, separated by commas.`;
    throw new LockstepError('ERR_USAGE', message, { details: { found: part } });
  });
}

function parseFault(text: string): Fault | null {
  const groups: Readonly<Record<string, string | undefined>> = word.exec(text)?.groups ?? {};
  const { kind, ...numbers } = groups;
  const given = Object.entries(numbers).flatMap(([name, digits]): [string, number][] => {
    return digits === undefined ? [] : [[name, Number(digits)]];
  });
  return faultSchema.safeParse({ kind, ...Object.fromEntries(given) }).data ?? null;
}

/** "delay:1=200ms@100" */
export function formatFault(fault: Fault): string {
  const who = isWorkerFault(fault) ? `:${fault.rank}` : '';
  const howMuch = fault.kind === 'delay' ? `=${fault.delayMs}ms` : '';
  return `${fault.kind}${who}${howMuch}@${fault.step}`;
}
