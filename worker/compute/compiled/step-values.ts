/** What goes into a compiled step and what comes out, in the order in which a recording has it. */
import { assert } from '../../../src/errors.js';
import type { Batch } from '../../../src/job/dataset.js';
import { inputValues, labelValues } from '../batch.js';
import type { HandleValues } from '../node-backend.js';
import { statelessSeed } from '../random.js';
import type { Measurements, SlotOutputs, SlotStep, StepKey } from '../step.js';
import type { CompiledGraph, Feed } from './compiled-graph.js';

/** The values of each placeholder at one slot. */
export function feedOf({ weights }: Pick<SlotStep, 'weights'>, batch: Batch, key: StepKey): Feed {
  return ({ role, index }) => {
    switch (role) {
      case 'weight': {
        const values = weights[index];
        assert(values, `Parameter ${index} has no weights`);
        return values;
      }
      case 'inputs':
        return inputValues(batch.x).values;
      case 'labels':
        return labelValues(batch.y).values;
      case 'seed':
        return statelessSeed({ purpose: 'step', ...key }, index);
    }
  };
}

/** Runs the graph on one slot; gradients and state go into `outputs`. */
export function runSlot(graph: CompiledGraph, numMetrics: number, feed: Feed, outputs: SlotOutputs): Measurements {
  const measured: number[] = [];
  const targets = [...outputs.gradients, ...outputs.state];
  graph.run(feed, (output, values) => {
    if (output <= numMetrics) measured.push(firstOf(values));
    else write(targets[output - numMetrics - 1], values);
  });
  const [loss = NaN, ...metrics] = measured;
  return { loss, metrics };
}

function firstOf(values: HandleValues | null): number {
  const first = values?.[0];
  return typeof first === 'number' ? first : NaN;
}

function write(target: Float32Array | undefined, values: HandleValues | null): void {
  if (values === null) target?.fill(0);
  else if (values instanceof Float32Array) target?.set(values);
  else assert(false, 'A gradient or a state of a compiled step is not float32');
}
