/**
 * What a job's data is to the rest of Lockstep: rows with a number, read by number. A `DataSource` is what a job file
 * holds, a description that opens nothing; a `Dataset` is that source opened in one process.
 */

/** One field of a batch, row-major. `shape[0]` is the number of rows. */
export interface Column {
  readonly data: Float32Array | Int32Array | Uint8Array;
  readonly shape: readonly number[];
}

/** Some rows: the model's input `x` and what it has to predict, `y`, with the same number of rows. */
export interface Batch {
  readonly x: Column;
  readonly y: Column;
}

/** One row: its numbers, flat. */
export interface Row {
  readonly x: Column['data'];
  readonly y: Column['data'];
}

/** What a row becomes; a member left out stays as it is. Typed arrays of a batch keep their type, others become float32. */
export interface ChangedRow {
  readonly x?: number | ArrayLike<number>;
  readonly y?: number | ArrayLike<number>;
}

/**
 * A row as it is trained on this time, with as many numbers of the same type.
 *
 * @param random the next number in [0, 1) of the row's own stream, which follows from the seed, the epoch and the row's number
 */
export type Augment = (row: Row, random: () => number) => ChangedRow;

/** Where rows are made by the model that is trained on them. */
export interface CollectContext {
  /** Steps that were committed before. */
  readonly step: number;
  readonly slot: number;
  /** Rows to make. */
  readonly numRows: number;
  /** The next number in [0, 1) of a stream that follows from the seed, the step and the slot. So does `Math.random()`. */
  readonly random: () => number;
  /** The model's output for inputs [rows, …], in inference mode, with the weights that the step begins with. */
  readonly predict: (x: Column) => Column;
}

/** Rows 0 to `length` - 1. Anything with these two members can be a job's data. */
export interface Dataset {
  /** Number of rows. */
  readonly length: number;
  /**
   * Reads the named rows, in the order named. The result is the caller's to keep. `spare` is a result of before that nobody
   * needs any more, whose memory may be used for this one: memory that is new in each step costs more than the copy.
   */
  read(indices: ArrayLike<number>, spare?: Batch): Batch | Promise<Batch>;
  /**
   * Makes a slot's rows at a step, with the model as it is then, such as games that it plays: a function of the context alone.
   * Where there is one, what `read` gives is of the right shapes, and not trained on.
   */
  collect?(context: CollectContext): Batch;
  /** Where a row comes from, for messages: "digits.csv.gz, row 12". Default: "row 12". */
  describe?(index: number): string;
  /** A digest of the content, equal on every host that has the same rows in the same order. */
  fingerprint?(): string | Promise<string>;
  close?(): void | Promise<void>;
}

export interface OpenContext {
  /** Folder of the job file: relative paths start there. */
  readonly baseDir: string;
  readonly signal?: AbortSignal;
}

/** A description of data that each process opens for itself. */
export interface DataSource {
  open(context: OpenContext): Promise<Dataset>;
}

/** Opens what a job file may hold as data: a source, or a dataset that is there already. */
export async function openData(data: DataSource | Dataset, context: OpenContext): Promise<Dataset> {
  return 'open' in data ? data.open(context) : data;
}
