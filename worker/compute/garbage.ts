/**
 * Collects garbage now. V8 collects when its own heap grows, and hardly counts what typed arrays hold beside it: the copies of
 * weights and gradients that a start leaves behind would stay for the whole run.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

export function collectGarbage(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void; // a context that is made while the flag is set has it
    setFlagsFromString('--no-expose-gc');
  }
  collect();
}
