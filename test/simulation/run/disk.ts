/** The folder of checkpoints, on a disk that all see: it may be slow, and what it says is written may be damaged. */
import { LockstepError } from '../../../src/errors.js';
import { hashOf, type State } from './job.js';
import type { Clock } from './clock.js';
import type { Process } from './process.js';
import type { Random } from './random.js';

interface File {
  readonly step: number;
  readonly state: State;
  readonly checksum: string;
}

/** What is written aside. */
interface Aside {
  readonly step: number;
  isGone: boolean;
}

const numKept = 3;

export class Disk {
  /** On top of what each write takes. */
  slownessMs = 0;
  /** So many of the next writes come out damaged. */
  numTorn = 0;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #verifies: boolean;
  readonly #files = new Map<string, File>();
  readonly #aside = new Set<Aside>();

  /** @param verifies whether what is read is held to its checksum */
  constructor(clock: Clock, random: Random, verifies: boolean) {
    this.#clock = clock;
    this.#random = random;
    this.#verifies = verifies;
  }

  /**
   * Under its name when all of it is there; a process that dies before leaves nothing under it. `onWritten` gets null where another one
   * has written a later checkpoint meanwhile, and has removed this.
   */
  write(writer: Process, step: number, state: State, onWritten: (path: string | null) => void): void {
    const path = `step-${step}`;
    const checksum = checksumOf(state);
    if (this.numTorn > 0) {
      this.numTorn--;
      state.moments.fill(0, 3);
    }
    const aside: Aside = { step, isGone: false };
    this.#aside.add(aside);
    this.#clock.after(this.#random.between(1, 30) + this.slownessMs, () => {
      if (writer.isDead) return;
      writer.run(() => {
        this.#aside.delete(aside);
        if (!aside.isGone) this.#files.set(path, { step, state, checksum });
        else if (!this.#isOvertaken(step)) throw new LockstepError('ERR_CHECKPOINT_WRITE', `${path} is gone.`);
        this.#prune(step);
        onWritten(this.#files.has(path) ? path : null);
      });
    });
  }

  /** The newest that is whole, as worker/checkpoint/checkpoint-folder.ts finds it. */
  latest(): { readonly step: number; readonly path: string } | null {
    const newestFirst = [...this.#files].toSorted(([, a], [, b]) => b.step - a.step);
    const found = newestFirst.find(([, file]) => this.#isWhole(file));
    return found ? { step: found[1].step, path: found[0] } : null;
  }

  /** All that is on it. */
  lose(): void {
    this.#files.clear();
  }

  read(path: string): State {
    const file = this.#files.get(path);
    if (!file) throw new LockstepError('ERR_CHECKPOINT_INVALID', `${path} is not there.`);
    if (!this.#isWhole(file)) throw new LockstepError('ERR_CHECKPOINT_INVALID', `${path} is damaged.`);
    return file.state;
  }

  #isWhole({ state, checksum }: File): boolean {
    return !this.#verifies || checksumOf(state) === checksum;
  }

  #isOvertaken(step: number): boolean {
    return [...this.#files.values()].some((file) => file.step >= step);
  }

  #prune(step: number): void {
    for (const aside of this.#aside) aside.isGone ||= aside.step <= step;
    const past = [...this.#files].filter(([, file]) => file.step <= step).toSorted(([, a], [, b]) => b.step - a.step);
    let numWhole = 0;
    for (const [path, file] of past) {
      if (numWhole >= numKept) this.#files.delete(path);
      else if (this.#isWhole(file)) numWhole++;
    }
  }
}

function checksumOf({ parameters, moments }: State): string {
  return hashOf(parameters) + hashOf(moments);
}
