/** An HDF5 file that is read: its attributes, and its tensors one by one. The library is loaded with the first file. */
import { open } from 'node:fs/promises';
import type { File } from 'h5wasm/node';
import { assert, LockstepError } from '../../../src/errors.js';
import { toFloat32 } from '../../../src/state/float-types.js';
import { sizeOf } from '../../../src/state/parameter.js';
import type { StoredTensor } from '../../../src/state/safetensors.js';

/** A tensor of a file, by its path there. */
export type SavedTensor = Pick<StoredTensor, 'name' | 'dtype' | 'shape'>;

/** Types of numbers, by h5wasm's names for them. */
const dtypes: Readonly<Record<string, StoredTensor['dtype']>> = {
  ...{ e: 'F16', f: 'F32', d: 'F64' },
  ...{ b: 'I8', h: 'I16', i: 'I32', q: 'I64' },
  ...{ B: 'U8', H: 'U16', I: 'U32', Q: 'U64' },
};

/** https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, "Format Signature" */
const signature = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');

export async function isHdf5(path: string): Promise<boolean> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(signature.length), 0, signature.length, 0);
  return buffer.subarray(0, bytesRead).equals(signature);
}

export type Library = typeof import('h5wasm/node').default;

/** The library, which throws what it would print. */
export async function loadHdf5(): Promise<Library> {
  const { default: library } = await import('h5wasm/node');
  const module = await library.ready;
  module.activate_throwing_error_handler();
  return library;
}

export class Hdf5File implements Disposable {
  /** What messages call it. */
  readonly source: string;
  readonly #library: Library;
  readonly #file: File;

  private constructor(source: string, library: Library, file: File) {
    this.source = source;
    this.#library = library;
    this.#file = file;
  }

  /**
   * @param source what messages call the file
   * @throws LockstepError ERR_MODEL_INVALID for what is no HDF5 file, or not a whole one
   */
  static async open(path: string, source: string): Promise<Hdf5File> {
    if (!(await isHdf5(path))) throw invalid(source, 'it does not begin as HDF5 does');
    const library = await loadHdf5();
    return new Hdf5File(
      source,
      library,
      attempt(source, () => new library.File(path, 'r')),
    );
  }

  /** A text; null where there is none of that name. */
  text(group: string, name: string): string | null {
    const value = this.#attribute(group, name);
    return typeof value === 'string' ? value : null;
  }

  /** A list of texts. Keras cuts long ones in several attributes: weight_names0, weight_names1, … */
  texts(group: string, name: string): string[] {
    const whole = this.#attribute(group, name);
    if (whole !== null) return stringsOf(whole);
    const found: string[] = [];
    for (let index = 0; ; index++) {
      const part = this.#attribute(group, `${name}${index}`);
      if (part === null) return found;
      found.push(...stringsOf(part));
    }
  }

  /** Every path in the file. */
  paths(): string[] {
    return attempt(this.source, () => this.#file.paths());
  }

  /** Null where no tensor has this path. */
  tensor(path: string): SavedTensor | null {
    const found = this.#get(path);
    if (!(found instanceof this.#library.Dataset)) return null;
    const { dtype, shape } = found;
    const letter = typeof dtype === 'string' ? dtype.slice(-1) : '';
    return { name: path, dtype: dtypes[letter] ?? 'U8', shape: shape ?? [] };
  }

  /** The tensor's values as float32; of F32 or F16. */
  read({ name, dtype, shape }: SavedTensor): Float32Array {
    const found = this.#get(name);
    assert(found instanceof this.#library.Dataset, `${this.source} has lost its tensor ${name}`);
    const value: unknown = attempt(this.source, () => found.value);
    if (value instanceof Float32Array) return value;
    const values = new Float32Array(sizeOf(shape));
    if (typeof value === 'number') values.fill(value);
    else if (value instanceof Uint8Array) toFloat32(dtype, value, values);
    else values.set(value as ArrayLike<number>); // numbers of 16 bits, where this Node has them
    return values;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }

  #get(path: string): ReturnType<File['get']> {
    return attempt(this.source, () => this.#file.get(path));
  }

  #attribute(path: string, name: string): unknown {
    const object = this.#get(path);
    if (!(object instanceof this.#library.Group)) return null;
    return attempt(this.source, () => object.attrs[name]?.value ?? null);
  }
}

function stringsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

/** Of the library's stack of errors, the innermost says why. */
function attempt<T>(source: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const reasons = [...text.matchAll(/\(\): (.+)$/gm)].map(([, reason]) => reason);
    throw invalid(source, reasons.at(-1) ?? text.split('\n')[0] ?? text, cause);
  }
}

function invalid(source: string, fault: string, cause?: unknown): LockstepError {
  const message = `${source} is not a whole HDF5 file: ${fault}. Copy the file again.`;
  return new LockstepError('ERR_MODEL_INVALID', message, { cause, details: { source, fault } });
}
