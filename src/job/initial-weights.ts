/** `initialWeights` of a job: a file, and which of its tensors is which parameter where the names differ. */
import { z } from 'zod';
import { numStars } from '../state/name-pattern.js';

const name = z.string().min(1);

const namesSchema = z
  .record(name, name.nullable())
  .refine(
    (names) => Object.entries(names).every(([from, to]) => numStars(to ?? '') <= numStars(from)),
    "a parameter's name cannot have more * than that of the file",
  );

export const initialWeightsSchema = z.union(
  [name, z.strictObject({ file: name, names: namesSchema.default({}), own: z.array(name).default([]) })],
  'expected the name of a file, or { file, names, own }; names are { "name in the file": "name of the parameter" or null }',
);

/** First weights whose names are not the model's. In names, `*` stands for any characters. */
export interface InitialWeightsDefinition {
  /** A safetensors file, or the index of several (`….safetensors.index.json`), relative to the job file. */
  readonly file: string;
  /**
   * From names of the file to names of parameters, or to `null`: left out. The first that fits counts, and a `*` of the
   * parameter's name is what the same one of the file's stands for. @default names are the same
   */
  readonly names?: Readonly<Record<string, string | null>>;
  /** Parameters that keep the model's own first values, whatever the file has: a new head. @default none */
  readonly own?: readonly string[];
}
