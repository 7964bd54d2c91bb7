/** How much memory a process has had, as Linux counts it (proc(5)). */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

export interface PeakMemory {
  /** The most that it has had resident (VmHWM): pages that it reads in a peer's memory count in both. */
  readonly residentBytes: number;
  /**
   * The most that was seen of what it has by itself: of a page that several processes have mapped each counts its part (Pss),
   * but for files, such as TensorFlow's code, which count whole.
   */
  readonly ownBytes: number;
}

const sampleMs = 50;

/** Looks at processes again and again, which come and go. */
export class MemoryWatch {
  readonly #peaks = new Map<number, PeakMemory>();
  #isOver = false;

  /** @param pidsNow whom to look at */
  async run(pidsNow: () => Promise<readonly number[]>): Promise<void> {
    while (!this.#isOver) {
      for (const pid of await pidsNow()) await this.look(pid);
      await delay(sampleMs);
    }
  }

  async look(pid: number): Promise<void> {
    const residentBytes = await bytesOf(pid, 'status', ['VmHWM']);
    const own = await bytesOf(pid, 'smaps_rollup', ['Pss_Anon', 'Pss_Shmem']);
    const files = await bytesOf(pid, 'status', ['RssFile']);
    if (residentBytes === null || own === null || files === null) return;
    const before = this.#peaks.get(pid)?.ownBytes ?? 0;
    this.#peaks.set(pid, { residentBytes, ownBytes: Math.max(before, own + files) });
  }

  end(): void {
    this.#isOver = true;
  }

  /** Of each process. */
  get peaks(): readonly PeakMemory[] {
    return [...this.#peaks.values()];
  }
}

/** The sum of these lines; null where there is no such process (any more). */
async function bytesOf(pid: number, file: 'status' | 'smaps_rollup', names: readonly string[]): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
  const kibibytes = names.map((name) => new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]);
  if (kibibytes.includes(undefined)) return null;
  return kibibytes.reduce((sum, one) => sum + Number(one) * 1024, 0);
}
