/** Reads rows for workers that have no copy of the data (`data: { serve: true }`). */
import { LockstepError } from '../src/errors.js';
import { dataFacts } from '../src/job/data-facts.js';
import { openData, type Column, type Dataset } from '../src/job/dataset.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import type { Limits } from '../src/protocol/limits.js';
import type { FromCoordinator, FromWorker, RunPlan } from '../src/protocol/messages.js';
import { within } from './deadline.js';

type Request = Extract<FromWorker, { type: 'read-rows' }>;
type Rows = Extract<FromCoordinator, { type: 'rows' }>;

interface Splits {
  readonly train: Dataset;
  readonly validation: Dataset | null;
}

export class RowServer {
  readonly #data: Splits;
  /** For the plan that workers get. */
  readonly served: NonNullable<RunPlan['served']>;

  private constructor(data: Splits, served: RowServer['served']) {
    this.#data = data;
    this.served = served;
  }

  /** @throws LockstepError ERR_TIMEOUT where the data is not open in time */
  static async open(loaded: LoadedJob, { readyTimeoutMs }: Limits): Promise<RowServer> {
    return within(RowServer.#open(loaded), readyTimeoutMs, () => {
      const message = `The data of job ${loaded.job.name} is not open after ${readyTimeoutMs} ms. --ready-timeout-ms gives it longer.`;
      return new LockstepError('ERR_TIMEOUT', message);
    });
  }

  static async #open({ job, baseDir }: LoadedJob): Promise<RowServer> {
    const train = await openData(job.data.train, { baseDir });
    const validation = job.data.validation ? await openData(job.data.validation, { baseDir }) : null;
    if (train.collect ?? validation?.collect) {
      const message = 'The job is not valid: data.serve: rollouts are made by workers, with the model; leave it out';
      throw new LockstepError('ERR_JOB_INVALID', `${message}.`);
    }
    const facts = {
      ...(await dataFacts('train', train)),
      ...(validation ? await dataFacts('validation', validation) : {}),
    };
    const served = { trainRows: train.length, validationRows: validation?.length ?? null, facts };
    return new RowServer({ train, validation }, served);
  }

  async answer({ request, split, indices }: Request): Promise<Rows> {
    const data = this.#data[split];
    const outside = indices.find((index) => index >= (data?.length ?? 0));
    if (!data || outside !== undefined) {
      throw new LockstepError(
        'ERR_PROTOCOL',
        `Row ${outside ?? 0} of the ${split} data was asked for; it has ${data?.length ?? 0}.`,
      );
    }
    const { x, y } = await data.read(indices);
    return { type: 'rows', request, x: toWire(x), y: toWire(y) };
  }

  async close(): Promise<void> {
    await this.#data.train.close?.();
    await this.#data.validation?.close?.();
  }
}

function toWire({ data, shape }: Column): Rows['x'] {
  const dtype = data instanceof Float32Array ? 'float32' : data instanceof Int32Array ? 'int32' : 'uint8';
  return { dtype, shape: [...shape], bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
}
