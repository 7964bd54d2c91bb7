/** A wait for what this process cannot hurry: a disk, or the job's own code. */

/**
 * The result of `work`, or what `onLate` throws when there is none after `timeoutMs`. The work itself goes on, and what becomes of it
 * is of no interest.
 */
export async function within<T>(work: Promise<T>, timeoutMs: number, onLate: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(onLate());
    }, timeoutMs);
    const settled = (): void => {
      clearTimeout(timer);
    };
    work.then(resolve, reject).then(settled, settled);
  });
}
