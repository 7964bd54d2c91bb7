/** Setup of every test file: after its last test and teardown, the file fails if it left something open or alive. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll } from 'vitest';
import { numLiveTensors } from './live-tensors.js';
import { OpenHandles } from './open-handles.js';

/** A closed socket or a killed process may take this long to be gone. */
const graceMs = 2_000;
const pollMs = 20;

const handles = OpenHandles.track();
const tensorsBefore = numLiveTensors();

// Hooks run last in, first out: this one after all teardown of the file itself.
afterAll(async () => {
  const leaks = await leaksAfterGrace();
  handles.killProcesses();
  if (leaks.length > 0) {
    throw new Error(`This test file left ${leaks.length} open; close them in its teardown:\n- ${leaks.join('\n- ')}`);
  }
});

async function leaksAfterGrace(): Promise<string[]> {
  const deadline = performance.now() + graceMs;
  for (;;) {
    const leaks = [...handles.describe(), ...describeTensors()];
    if (leaks.length === 0 || performance.now() > deadline) return leaks;
    await delay(pollMs);
  }
}

function describeTensors(): string[] {
  const extra = numLiveTensors() - tensorsBefore;
  return extra > 0 ? [`${extra} live tensors; dispose them or use tf.tidy`] : [];
}
