import { describe, expect, it } from 'vitest';
import { chaos, isWorkerFault, type Fault } from '../../src/chaos/faults.js';
import { Impediment } from '../../transport/impediment.js';
import { Injector } from '../../worker/comm/injector.js';
import { DueFaults } from '../../worker/due-faults.js';

const ofWorkers = (...faults: readonly Fault[]) => faults.filter(isWorkerFault);

describe('the faults of a worker', () => {
  it('are due after their step, once', () => {
    const kill = chaos.kill({ rank: 1, step: 20 });
    const stop = chaos.stop({ rank: 1, step: 21 });
    const due = new DueFaults(ofWorkers(kill, stop), 1);
    expect([19, 20, 21, 22].map((step) => due.after(step))).toEqual([[], [kill], [stop], []]);
  });

  it('are not those of another rank', () => {
    expect(new DueFaults(ofWorkers(chaos.kill({ rank: 0, step: 20 })), 1).after(20)).toEqual([]);
  });

  it('that had no step of their own are due after the next', () => {
    const kill = chaos.kill({ rank: 1, step: 20 });
    expect(new DueFaults(ofWorkers(kill), 1).after(35)).toEqual([kill]);
  });
});

describe('the injector', () => {
  const inject = (fault: Fault) => {
    const impediment = new Impediment();
    const done: string[] = [];
    let heard: () => void = () => undefined;
    const injector = new Injector({
      impediment,
      send: (message, onHeard) => {
        heard = onHeard;
        done.push(message.type === 'injected' ? `tells ${message.fault.kind} at ${message.step}` : message.type);
      },
      signal: (name) => done.push(name),
    });
    for (const one of ofWorkers(fault)) injector.inject(one, 20, () => done.push('goes on'));
    return { done, impediment, hear: () => heard() };
  };

  it.each([
    [chaos.kill({ rank: 1, step: 20 }), 'SIGKILL'],
    [chaos.stop({ rank: 1, step: 20 }), 'SIGSTOP'],
  ])('sends no signal before the coordinator has heard of it: %o', (fault, signal) => {
    const { done, hear } = inject(fault);
    expect(done).toEqual([`tells ${fault.kind} at 20`]);
    hear();
    expect(done).toEqual([`tells ${fault.kind} at 20`, signal, 'goes on']);
  });

  it('cuts the cable when that is heard', () => {
    const { done, impediment, hear } = inject(chaos.partition({ rank: 1, step: 20 }));
    expect(impediment.isCut).toBe(false);
    hear();
    expect(done).toEqual(['tells partition at 20', 'goes on']);
    expect(impediment.isCut).toBe(true);
  });
});
