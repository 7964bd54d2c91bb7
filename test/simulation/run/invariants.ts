/** What must hold after each event of a simulated run; a Violation where it does not. */
import type { RecordBefore, StepLine, Validation } from '../../../coordinator/run-record.js';
import { hashOf, isSameState, lossOf, type Job, type State } from './job.js';
import type { Elements } from './memory.js';
import type { RunSetting } from './schedule.js';
import { nameOf, Terms, type Place } from './terms.js';
import { Violation } from './violation.js';

export interface Held extends State {
  /** The moments that this worker holds; null: all. */
  readonly owned: readonly Elements[] | null;
}

export class Invariants {
  readonly #job: Job;
  readonly #isSharded: boolean;
  /** By worker, the newest generation that it has heard of. */
  readonly #heard = new Map<string, number>();
  /** By worker, steps committed. */
  readonly #taken = new Map<string, number>();
  /** By generation, then worker that trains in it: steps committed. */
  readonly #committed = new Map<string, Map<string, number>>();
  readonly terms = new Terms();
  #toldRun: string | null = null;
  /** The last step in metrics.jsonl. */
  #numTold = 0;
  /** The last step of which a line was there, and is lost with its disk. */
  #numLost = 0;
  /** After which step the last validation has come in. */
  #validated = 0;
  /** Something else than the coordinator's faults has befallen the run. */
  #isDisturbed = false;
  /** The last checkpoint that the run went on from: what led to it may be known to nobody that lives. */
  #resumedStep = 0;
  /** Generations that began at one. */
  readonly #resumed = new Set<string>();
  /** Steps that were told have been lost since, with all that had them, and a run that is stopped does not take them again. */
  #isSetBack = false;

  constructor(job: Job, { isSharded }: Pick<RunSetting, 'isSharded'>) {
    this.#job = job;
    this.#isSharded = isSharded;
  }

  onDisturbed(): void {
    this.#isDisturbed = true;
  }

  /** A worker ends before the run does. */
  onWorkerEnd(workerId: string, why: string): void {
    if (this.#isDisturbed || !this.#taken.has(workerId)) return;
    throw new Violation('a coordinator costs no worker', `${workerId} ends, and was at work: ${why}`);
  }

  onHeard(workerId: string, generation: number): void {
    this.#heard.set(workerId, Math.max(generation, this.#heard.get(workerId) ?? 0));
  }

  /** A worker begins to train. */
  onBegin(workerId: string, place: Place, step: number, state: Held): void {
    const what = `${workerId} begins generation ${place.generation}`;
    this.#expectState(what, step, state);
    const taken = this.#taken.get(workerId) ?? 0;
    const isBack = this.#isSharded && this.#resumed.has(nameOf(place));
    if (step < taken && !isBack) {
      throw new Violation('no step taken back', `${what} at step ${step}, and has committed ${taken}`);
    }
    this.#advance(workerId, place, step);
  }

  /** @param numSteps committed by now */
  onCommit(workerId: string, place: Place, numSteps: number, state: Held): void {
    const { generation } = place;
    const what = `${workerId} has committed step ${numSteps - 1} in generation ${generation}`;
    const heard = this.#heard.get(workerId) ?? 0;
    if (generation < heard) throw new Violation('one generation', `${what}, having heard of ${heard}`);
    this.#expectState(what, numSteps, state);
    this.#advance(workerId, place, numSteps);
  }

  /** Lines come into metrics.jsonl; of another run than those before, where its disk was lost and nobody of it was left. */
  onTold(lines: readonly (StepLine | Validation)[], runId: string): void {
    if (this.#toldRun !== null && runId !== this.#toldRun) this.onLinesLost({ last: null, validation: null });
    this.#toldRun = runId;
    for (const line of lines) {
      if ('loss' in line) this.#onStep(line);
      else this.#onValidation(line);
    }
  }

  #onStep({ step, loss }: StepLine): void {
    if (step <= this.#numTold || step > Math.max(this.#numKnown, this.#resumedStep) + 1) {
      throw new Violation('each step told once', `step ${step} is told after step ${this.#numTold}`);
    }
    this.#numTold = step;
    const expected = lossOf(this.#job.stateAfter(step).parameters);
    if (!Object.is(loss, expected)) throw new Violation('the same bits', `step ${step} is told with loss ${loss}`);
  }

  #onValidation({ step, metrics }: Validation): void {
    if (step <= this.#validated) {
      throw new Violation('each step told once', `the validation after step ${step} is told again`);
    }
    this.#validated = step;
    const { parameters } = this.#job.stateAfter(step);
    const slots = Array.from({ length: this.#job.shape.slots }, (_, slot) => this.#job.evaluation(slot, parameters));
    const expected = slots.reduce((sum, { loss }) => sum + loss, 0) / slots.length;
    if (Object.is(metrics['val_loss'], expected)) return;
    throw new Violation('the same bits', `after step ${step} the validation has loss ${metrics['val_loss'] ?? NaN}`);
  }

  /** The disk of a coordinator that died has kept so much of metrics.jsonl. */
  onLinesLost({ last, validation }: Pick<RecordBefore, 'last' | 'validation'>): void {
    this.#numLost = this.#numKnown;
    this.#numTold = last?.step ?? 0;
    this.#validated = validation?.step ?? 0;
  }

  /** Steps of which there is a line, or was. */
  get #numKnown(): number {
    return Math.max(this.#numTold, this.#numLost);
  }

  /** Nobody has the state any more: the run goes on from a checkpoint, or from its beginning. */
  onResume(place: Place, step: number): void {
    this.#resumed.add(nameOf(place));
    this.#resumedStep = step;
    this.#isSetBack ||= !this.#isSharded && step < this.#numKnown;
  }

  /** The run has ended well, after so many steps. */
  onFinish(numSteps: number, weightsSha256: string): void {
    const expected = hashOf(this.#job.stateAfter(numSteps).parameters);
    if (weightsSha256 !== expected) throw new Violation('the same bits', `the run ends with weights ${weightsSha256}`);
    const numKnown = Math.max(this.#numKnown, this.#resumedStep);
    if (numKnown < numSteps || (numKnown > numSteps && !this.#isSetBack)) {
      throw new Violation('each step told once', `the run ends after ${numSteps} steps, and ${numKnown} were told`);
    }
    // After any other step the weights of a validation that was lost with its worker are gone.
    if (this.#job.schedule.endsEpoch(numSteps) && this.#validated < numSteps) {
      throw new Violation('each step told once', `the run ends without the validation after step ${numSteps}`);
    }
  }

  #expectState(what: string, numSteps: number, { owned, ...state }: Held): void {
    const expected = this.#job.stateAfter(numSteps);
    const ranges = owned ?? [{ offset: 0, elements: state.moments.length }];
    if (isSameState(state, expected, ranges)) return;
    throw new Violation('the same bits', `${what}, and its state is not that after ${numSteps} steps`);
  }

  #advance(workerId: string, place: Place, numSteps: number): void {
    const { generation } = place;
    const key = nameOf(place);
    const committed = this.#committed.get(key) ?? new Map<string, number>();
    this.#committed.set(key, committed.set(workerId, numSteps));
    this.#taken.set(workerId, numSteps);
    for (const [other, theirs] of committed) {
      if (Math.abs(theirs - numSteps) <= 1) continue;
      const found = `${workerId} has committed ${numSteps} steps in generation ${generation}, and ${other} ${theirs}`;
      throw new Violation('within one step', found);
    }
  }
}
