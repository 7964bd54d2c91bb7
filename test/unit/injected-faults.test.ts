import { beforeEach, describe, expect, it } from 'vitest';
import { chaos, isWorkerFault, type Fault } from '../../src/chaos/faults.js';
import { Impediment } from '../../transport/impediment.js';
import { InjectedFaults } from '../../worker/comm/injected-faults.js';

describe('a worker that is to hurt itself', () => {
  let done: string[];
  let impediment: Impediment;
  let faults: InjectedFaults;

  const expectFaults = (...expected: readonly Fault[]): void => {
    faults.expect(expected.filter(isWorkerFault));
  };

  beforeEach(() => {
    done = [];
    impediment = new Impediment();
    faults = new InjectedFaults({
      impediment,
      send: (message) => {
        done.push(message.type === 'injected' ? `tells ${message.fault.kind} at ${message.step}` : message.type);
      },
      signal: (name) => done.push(name),
    });
  });

  it('does so after its step, having told of it', () => {
    expectFaults(chaos.kill({ rank: 1, step: 20 }), chaos.stop({ rank: 1, step: 21 }));
    for (const numSteps of [19, 20, 21, 22]) faults.onCommit(1, numSteps);
    expect(done).toEqual(['tells kill at 20', 'SIGKILL', 'tells stop at 21', 'SIGSTOP']);
  });

  it('leaves what is for another rank', () => {
    expectFaults(chaos.kill({ rank: 0, step: 20 }));
    faults.onCommit(1, 20);
    expect(done).toEqual([]);
  });

  it('does what it had no step for, at its next step', () => {
    expectFaults(chaos.kill({ rank: 1, step: 20 }));
    faults.onCommit(1, 35);
    expect(done).toEqual(['tells kill at 35', 'SIGKILL']);
  });

  it('does no more than the newest list has', () => {
    expectFaults(chaos.kill({ rank: 1, step: 20 }));
    expectFaults();
    faults.onCommit(1, 20);
    expect(done).toEqual([]);
  });

  it('cuts its cable when that is told', () => {
    expectFaults(chaos.partition({ rank: 1, step: 20 }));
    faults.onCommit(1, 20);
    expect(done).toEqual(['tells partition at 20']);
    expect(impediment.isCut).toBe(true);
  });
});
