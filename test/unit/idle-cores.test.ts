import { describe, expect, it } from 'vitest';
import { hasIdleCores } from '../../worker/comm/idle-cores.js';

describe('a core for a thread that reduces meanwhile', () => {
  it('is there where computing leaves one for each worker', () => {
    expect(hasIdleCores(2, 1, 4)).toBe(true);
    expect(hasIdleCores(2, 1, 3)).toBe(false);
  });

  it('is there where a GPU computes, and the processor has one for each worker', () => {
    expect(hasIdleCores(8, 0, 8)).toBe(true);
    expect(hasIdleCores(8, 0, 4)).toBe(false);
  });

  it('is not there where threads are the cores divided by the workers, as they are by default', () => {
    expect(hasIdleCores(4, 4, 16)).toBe(false);
  });
});
