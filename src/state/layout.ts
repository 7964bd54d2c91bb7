/**
 * Where each parameter lies in the flat state. The state is cut in segments, one WebAssembly memory each; a parameter
 * lies in one segment whole, on a 64-byte boundary (TensorFlow uses such memory in place), with zeros in the gaps.
 *
 * Order over all segments: trainable parameters, then state that a step assigns, then the scalars, then what is frozen.
 * So in each segment the optimizer's work is one range from 0 to `trainableElements`, and the all-reduce's one from 0 to
 * `reducedElements`: averaging what nobody changes would round it.
 */
import { assert, LockstepError } from '../errors.js';
import { type ParameterSpec, sizeOf } from './parameter.js';

/** Elements of a 64-byte boundary. */
export const ALIGNED_ELEMENTS = 16;

/** 1 GiB: four arrays of a segment fill one WebAssembly memory of 4 GiB. */
const DEFAULT_MAX_SEGMENT_ELEMENTS = 2 ** 28;

/** Begins the names of moments in a checkpoint, beside the parameters' own. */
export const MOMENT_PREFIX = 'optimizer/';

/** A parameter and its place. */
export interface PlacedParameter extends ParameterSpec {
  readonly segment: number;
  /** First element in its segment; a multiple of 16. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
}

/** Lengths of the arrays of one segment, in elements; multiples of 16. */
export interface Segment {
  readonly elements: number;
  /** The segment's trainable parameters, with the gaps between them, are its elements 0 to `trainableElements` - 1. */
  readonly trainableElements: number;
  /** Elements that the all-reduce carries: the trainable ones, and after them assigned state and scalars. */
  readonly reducedElements: number;
}

/** Plain data: the same in every worker of a run, and cloneable between threads. */
export interface Layout {
  /** Trainable ones first, then state, then frozen ones, each in model order. */
  readonly parameters: readonly PlacedParameter[];
  /** At least one. */
  readonly segments: readonly Segment[];
  /** Loss and metrics of a step, which ride along in its all-reduce. */
  readonly numScalars: number;
  /** Place of the first scalar; the others follow it. They are the last that the all-reduce carries. */
  readonly scalars: { readonly segment: number; readonly offset: number };
}

export interface LayoutOptions {
  /**
   * Most float32 elements in a segment; at least 16. Lower it when more than four arrays of a segment's length share its
   * memory. @default 2^28 (1 GiB)
   */
  readonly maxSegmentElements?: number;
}

/** `elements` rounded up to the next 64-byte boundary. */
export function alignElements(elements: number): number {
  return Math.ceil(elements / ALIGNED_ELEMENTS) * ALIGNED_ELEMENTS;
}

/**
 * Places `parameters` and `numScalars` scalars.
 *
 * @throws LockstepError ERR_MODEL_INVALID if two parameters have one name, one's name begins with "optimizer/", or one is
 *   larger than a segment
 */
export function planLayout(
  parameters: readonly ParameterSpec[],
  numScalars: number,
  { maxSegmentElements = DEFAULT_MAX_SEGMENT_ELEMENTS }: LayoutOptions = {},
): Layout {
  checkNames(parameters);
  const segments = new SegmentFiller(maxSegmentElements);
  const place = (role: Role): PlacedParameter[] =>
    parameters
      .filter((spec) => roleOf(spec) === role)
      .map((spec) => {
        const size = sizeOf(spec.shape);
        checkSize(spec, size, maxSegmentElements);
        return { ...spec, size, ...segments.place(size, role) };
      });
  assert(numScalars <= maxSegmentElements, `${numScalars} scalars do not fit in ${maxSegmentElements} elements`);
  const reduced = [...place('trainable'), ...place('assigned')];
  const scalars = segments.place(numScalars, 'assigned');
  return { parameters: [...reduced, ...place('frozen')], segments: segments.filled, numScalars, scalars };
}

type Role = 'trainable' | 'assigned' | 'frozen';

function roleOf({ trainable, frozen }: ParameterSpec): Role {
  if (trainable) return 'trainable';
  return frozen === true ? 'frozen' : 'assigned';
}

/** Lays arrays one after the other, and begins a new segment where the next does not fit. */
class SegmentFiller {
  readonly filled: { elements: number; trainableElements: number; reducedElements: number }[] = [];
  readonly #maxElements: number;
  #current = { elements: 0, trainableElements: 0, reducedElements: 0 };

  constructor(maxElements: number) {
    assert(maxElements >= ALIGNED_ELEMENTS, `a segment of ${maxElements} elements is too small`);
    this.#maxElements = Math.floor(maxElements / ALIGNED_ELEMENTS) * ALIGNED_ELEMENTS;
    this.filled.push(this.#current);
  }

  place(size: number, role: Role): { segment: number; offset: number } {
    const elements = alignElements(size);
    if (this.#current.elements + elements > this.#maxElements) {
      this.#current = { elements: 0, trainableElements: 0, reducedElements: 0 };
      this.filled.push(this.#current);
    }
    const offset = this.#current.elements;
    this.#current.elements += elements;
    if (role === 'trainable') this.#current.trainableElements = this.#current.elements;
    if (role !== 'frozen') this.#current.reducedElements = this.#current.elements;
    return { segment: this.filled.length - 1, offset };
  }
}

function checkNames(parameters: readonly ParameterSpec[]): void {
  const names = new Set<string>();
  for (const { name } of parameters) {
    if (name.startsWith(MOMENT_PREFIX)) {
      const message = `Parameter "${name}": names that begin with "${MOMENT_PREFIX}" are those of moments. Rename the layer.`;
      throw new LockstepError('ERR_MODEL_INVALID', message, { details: { name } });
    }
    if (names.has(name)) {
      const message = `Two parameters of the model are named "${name}". Give each layer a name of its own.`;
      throw new LockstepError('ERR_MODEL_INVALID', message, { details: { name } });
    }
    names.add(name);
  }
}

function checkSize({ name, shape }: ParameterSpec, size: number, maxSegmentElements: number): void {
  if (size <= Math.floor(maxSegmentElements / ALIGNED_ELEMENTS) * ALIGNED_ELEMENTS) return;
  throw new LockstepError(
    'ERR_MODEL_INVALID',
    `Parameter "${name}" of shape [${shape.join(', ')}] has ${size} elements (${size * 4} bytes), and a segment holds ` +
      `${maxSegmentElements} (${maxSegmentElements * 4} bytes). Split the parameter in two.`,
    { details: { name, shape, size, maxSegmentElements } },
  );
}
