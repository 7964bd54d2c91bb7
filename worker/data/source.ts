/**
 * What a job file holds as data: a description that opens nothing. Its methods describe changed data, so they can be
 * chained. Sources that are made of one another share what they open, and the last to close closes it.
 */
import type { Dataset, DataSource, OpenContext } from '../../src/job/dataset.js';
import { mapRows, type RowMap } from './map.js';
import { normalizeRows, type NormalizeOptions } from './normalize.js';
import { describeRow } from './rows.js';
import { fingerprintOf } from './fingerprint.js';
import { reshapeRows, type RowShapes } from './reshape.js';
import { splitRows, type SplitOptions, type SplitPart } from './split.js';

interface Shared {
  readonly dataset: Promise<Dataset>;
  numUsers: number;
}

export interface SourceTraits {
  /** What `text` was given, where rows are tokens. */
  readonly tokenizer?: string | undefined;
}

export class Source implements DataSource {
  readonly tokenizer: string | undefined;
  readonly #open: (context: OpenContext) => Promise<Dataset>;
  /** What is open now, by base folder. */
  readonly #shared = new Map<string, Shared>();

  constructor(open: (context: OpenContext) => Promise<Dataset>, { tokenizer }: SourceTraits = {}) {
    this.#open = open;
    this.tokenizer = tokenizer;
  }

  /**
   * Opens the data and looks through it.
   *
   * @throws LockstepError ERR_DATA_NOT_FOUND, ERR_DATA_INVALID
   */
  async open(context: OpenContext): Promise<Dataset> {
    const shared = this.#shared.get(context.baseDir) ?? { dataset: this.#open(context), numUsers: 0 };
    this.#shared.set(context.baseDir, shared);
    shared.numUsers++;
    const release = async () => {
      if (--shared.numUsers > 0) return;
      if (this.#shared.get(context.baseDir) === shared) this.#shared.delete(context.baseDir);
      await (await shared.dataset).close?.();
    };
    try {
      return withClose(await shared.dataset, release);
    } catch (error) {
      this.#shared.delete(context.baseDir);
      throw error;
    }
  }

  /**
   * Each row changed by a function, which must be pure: it is called once per row when the data is opened, or, where the
   * result is larger than the memory limit, whenever a row is read.
   *
   * @example csv('digits.csv', { label: 64 }).map(({ x }) => ({ x: x.map((pixel) => pixel / 16) }))
   */
  map(change: RowMap, options: { readonly memoryLimitBytes?: number } = {}): Source {
    return this.#changed((dataset) => mapRows(dataset, change, options));
  }

  /**
   * x as (x − mean) / std or x · scale, in float32.
   *
   * @example
   * images.normalize({ scale: 1 / 255 })
   * validation.normalize({ fit: train })     // the mean and deviation of the training rows
   */
  normalize(options: NormalizeOptions = {}): Source {
    return new Source((context) => this.#derive(context, (dataset) => normalizeRows(dataset, options, context)));
  }

  /** The same numbers with another shape per row: `reshape({ x: [28, 28, 1] })`. */
  reshape(shapes: RowShapes): Source {
    return this.#changed((dataset) => reshapeRows(dataset, shapes));
  }

  /**
   * Parts that have no row in common and together have all, each in the data's own order. Which row falls where depends on
   * `seed` alone.
   *
   * @example const { train, validation } = digits.split({ validation: 0.2 });
   */
  split(options: SplitOptions): Readonly<Record<SplitPart, Source>> {
    const part = (name: SplitPart) => this.#changed((dataset) => splitRows(dataset, name, options));
    return { train: part('train'), validation: part('validation'), test: part('test') };
  }

  #changed(change: (dataset: Dataset) => Dataset | Promise<Dataset>): Source {
    return new Source((context) => this.#derive(context, change), this);
  }

  async #derive(context: OpenContext, change: (dataset: Dataset) => Dataset | Promise<Dataset>): Promise<Dataset> {
    const dataset = await this.open(context);
    try {
      return await change(dataset);
    } catch (error) {
      await dataset.close?.();
      throw error;
    }
  }
}

/** Makes any data chainable: an object `{ length, read(indices) }`, or what opens one. */
export function source(data: Dataset | DataSource): Source {
  return new Source((context) => ('open' in data ? data.open(context) : Promise.resolve(data)));
}

/** The dataset with another `close`, which runs once. */
function withClose(dataset: Dataset, close: () => Promise<void>): Dataset {
  let closed: Promise<void> | undefined;
  return {
    length: dataset.length,
    read: (indices, spare) => dataset.read(indices, spare),
    describe: (index) => describeRow(dataset, index),
    fingerprint: () => fingerprintOf(dataset),
    close: () => (closed ??= close()),
  };
}
