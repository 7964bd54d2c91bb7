/** The lines of `metrics.jsonl`: as they are written, and what of them the next coordinator takes up. */
import { z } from 'zod';
import type { RecordBefore, StepLine, Validation } from './run-record.js';

/** Each on a line of its own. */
export function metricsText(records: readonly object[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

/** JSON has no NaN. */
const lineSchema = z.object({
  step: z.int(),
  epoch: z.int(),
  loss: z.number().nullable().optional(),
  metrics: z.record(
    z.string(),
    z
      .number()
      .nullable()
      .transform((value) => value ?? NaN),
  ),
});

/** What lines that are read one after the other come to. */
export class MetricsRead {
  #last: StepLine | null = null;
  #validation: Validation | null = null;
  #numSkipped = 0;

  add(line: string): void {
    const { step, epoch, metrics, loss } = lineSchema.parse(JSON.parse(line));
    if (loss === undefined) this.#validation = { step, epoch, metrics };
    else this.#last = { step, epoch, metrics, loss: loss ?? NaN };
    if (loss === null) this.#numSkipped++;
  }

  get record(): Pick<RecordBefore, 'last' | 'validation' | 'numSkipped'> {
    return { last: this.#last, validation: this.#validation, numSkipped: this.#numSkipped };
  }
}
