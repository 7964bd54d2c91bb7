/** Which tensors of a file are which parameters of a model: compared as a whole, before any of them is read. */
import { LockstepError } from '../errors.js';
import { listed } from '../listed.js';
import { fillStars, namePattern } from './name-pattern.js';
import type { ParameterShape } from './parameter.js';
import type { StoredTensor } from './safetensors.js';

/** From a tensor's name in a file to its parameter's; `null` for a tensor that is left out on purpose. */
export type NameMap = (tensorName: string) => string | null;

/** By patterns of names, of which the first that fits counts. Names that none fits stay as they are. */
export function namesByPattern(names: Readonly<Record<string, string | null>>): NameMap {
  const patterns = Object.entries(names).map(([from, to]) => ({ match: namePattern(from), to }));
  return (tensorName) => {
    for (const { match, to } of patterns) {
      const stars = match(tensorName);
      if (stars) return to && fillStars(to, stars);
    }
    return tensorName;
  };
}

/** Types that become float32 without rounding. */
const exactTypes: ReadonlySet<string> = new Set(['F32', 'F16', 'BF16']);

/** Differences that a message names. */
const maxListed = 20;

type Stored = Pick<StoredTensor, 'name' | 'dtype' | 'shape'>;

/**
 * The file's tensor for each parameter, in the order of the parameters.
 *
 * @param source the file's name, for messages
 * @throws LockstepError ERR_MODEL_INVALID, with all that is missing, left over or of another shape or type
 */
export function matchTensors<T extends Stored>(
  stored: readonly T[],
  parameters: readonly ParameterShape[],
  { nameOf, source }: { readonly nameOf: NameMap; readonly source: string },
): T[] {
  const found = new Map<string, T>();
  const differences: string[] = [];
  for (const tensor of stored) {
    const name = nameOf(tensor.name);
    if (name === null) continue;
    const other = found.get(name);
    if (other) differences.push(`"${other.name}" and "${tensor.name}" of the file are both "${name}"`);
    else found.set(name, tensor);
  }
  const known = new Set(parameters.map(({ name }) => name));
  const matched = parameters.flatMap((parameter) => {
    const tensor = found.get(parameter.name);
    const difference = differenceOf(tensor, parameter);
    if (difference !== undefined) differences.push(difference);
    return tensor ? [tensor] : [];
  });
  const leftOver = [...found].filter(([name]) => !known.has(name));
  differences.push(...leftOver.map(([, { name }]) => `the model has no place for "${name}"`));
  refuse(differences, source);
  return matched;
}

function differenceOf(tensor: Stored | undefined, { name, shape }: ParameterShape): string | undefined {
  if (!tensor) return `the file has no "${name}"`;
  const [found, expected] = [tensor.shape, shape].map((one) => `[${one.join(', ')}]`);
  if (found !== expected) return `"${tensor.name}" is ${found} in the file and ${expected} in the model`;
  if (!exactTypes.has(tensor.dtype)) return `"${tensor.name}" is ${tensor.dtype}, expected F32, F16 or BF16`;
  return undefined;
}

function refuse(differences: readonly string[], source: string): void {
  if (differences.length === 0) return;
  const message = `The weights in ${source} do not fit the model: ${listed(differences, maxListed)}.`;
  throw new LockstepError('ERR_MODEL_INVALID', message, { details: { source, differences } });
}
