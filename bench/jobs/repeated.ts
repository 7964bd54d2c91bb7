/**
 * Rows in memory, over and over: an epoch of them never ends, so that no checkpoint falls into a measurement (the peers
 * write none).
 */
import { arrays, type Column, type DataSource } from 'lockstep';

/** What a job file of this folder exports beside its job: its rows, for a peer that trains on the same. */
export interface Rows {
  readonly x: Column;
  readonly y: Column;
}

const times = 100_000;

export function repeated(rows: Rows): DataSource {
  return {
    open: async (context) => {
      const once = await arrays(rows).open(context);
      return {
        length: once.length * times,
        read: (indices, spare) =>
          once.read(
            Array.from(indices, (index) => index % once.length),
            spare,
          ),
      };
    },
  };
}
