/** Ctrl-C (SIGINT, or SIGTERM from a supervisor): the first asks nicely, the second exits at once. */

export interface InterruptHandlers {
  readonly first: () => void;
  /** Before the process exits with 128 + 2. */
  readonly second: () => void;
}

const exitCode = 130;

/** Returns a function that stops listening. */
export function onInterrupt({ first, second }: InterruptHandlers): () => void {
  let seen = false;
  const onSignal = (): void => {
    if (!seen) {
      seen = true;
      first();
      return;
    }
    second();
    process.exit(exitCode);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
}
