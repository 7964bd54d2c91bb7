/** Whether a coordinator has its run still: it looks often enough, and never again once it has given up. */
import { expect, it } from 'vitest';
import { Charge } from '../../coordinator/charge.js';
import { defaultLimits } from '../../src/protocol/limits.js';

const limits = { ...defaultLimits, heartbeatTimeoutMs: 1_000 };

/** A journal that somebody else takes, and how often it was looked into. */
class Looked {
  isTaken = false;
  numLooks = 0;

  keep(): boolean {
    this.numLooks++;
    return !this.isTaken;
  }

  note(): void {
    throw new Error('who asks whether it has the run writes nothing');
  }
}

it('looks into the journal before the first thing that it does', () => {
  const journal = new Looked();
  journal.isTaken = true;
  expect(new Charge(journal, limits).isHeld(0)).toBe(false);
});

it('looks twice in the time that a worker bears its silence, however often it is asked', () => {
  const journal = new Looked();
  const charge = new Charge(journal, limits);
  for (let nowMs = 0; nowMs < 1_000; nowMs += 10) expect(charge.isHeld(nowMs)).toBe(true);
  expect(journal.numLooks).toBe(2);
});

it('finds that it was replaced within that time', () => {
  const journal = new Looked();
  const charge = new Charge(journal, limits);
  charge.isHeld(0);
  journal.isTaken = true;
  expect(charge.isHeld(499)).toBe(true);
  expect(charge.isHeld(500)).toBe(false);
});

it('looks after a pause before it does anything', () => {
  const journal = new Looked();
  const charge = new Charge(journal, limits);
  charge.isHeld(0);
  journal.isTaken = true; // while this process was stopped
  expect(charge.isHeld(60_000)).toBe(false);
});

it('never has the run again once it has given up, whatever the journal says', () => {
  const journal = new Looked();
  const charge = new Charge(journal, limits);
  expect(charge.isReplaced).toBe(false);
  charge.giveUp();
  expect(charge.isReplaced).toBe(true);
  expect(charge.isHeld(0)).toBe(false);
  expect(journal.numLooks).toBe(0);
});

it('holds a run without a journal, which nobody can take', () => {
  expect(new Charge(null, limits).isHeld(0)).toBe(true);
});
