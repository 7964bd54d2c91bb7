/** What layers are configured with: initializers, regularizers, constraints and activations of Keras, as tfjs-layers has them. */
import { isArray, isObject, savedObject, type Json, type JsonObject } from '../layers/saved-object.js';

/** What a translation knows, and what it finds that tfjs-layers lacks. */
export interface TranslationContext {
  /** Of the version that saved the model. */
  readonly kerasMajor: number;
  /** Classes that tfjs-layers can make. */
  readonly knownClasses: ReadonlySet<string>;
  /** Tells what of the current layer cannot be translated. */
  readonly lacks: (what: string) => void;
}

const initializerNames: Readonly<Record<string, string>> = {
  IdentityInitializer: 'Identity',
  OrthogonalInitializer: 'Orthogonal',
  LecunNormal: 'LeCunNormal',
  LecunUniform: 'LeCunUniform',
};

/** One that tfjs-layers lacks becomes the layer's default: the file has all values. */
export function translateInitializer(value: Json, { knownClasses }: TranslationContext): Json {
  const saved = savedObject(value);
  if (!saved) return typeof value === 'string' ? value : null;
  const className = initializerNames[saved.className] ?? saved.className;
  if (!knownClasses.has(className)) return null;
  const { seed = null, distribution, ...config } = saved.config;
  return {
    class_name: className,
    config: {
      ...config,
      ...('seed' in saved.config && { seed: typeof seed === 'number' ? seed : null }),
      // In tfjs-layers as in Keras 2, a normal distribution is a truncated one.
      ...(distribution !== undefined && { distribution: distribution === 'uniform' ? 'uniform' : 'truncated_normal' }),
    },
  };
}

export function translateRegularizer(value: Json, key: string, { lacks }: TranslationContext): Json {
  const saved = savedObject(value);
  if (!saved) return value;
  const { l1 = 0, l2 = 0 } = saved.config;
  if (['L1', 'L2', 'L1L2'].includes(saved.className)) return { class_name: 'L1L2', config: { l1, l2 } };
  lacks(`its ${key} is ${saved.className}`);
  return null;
}

export function translateConstraint(value: Json, key: string, { knownClasses, lacks }: TranslationContext): Json {
  const saved = savedObject(value);
  if (!saved) return value;
  if (knownClasses.has(saved.className)) return { class_name: saved.className, config: saved.config };
  lacks(`its ${key} is ${saved.className}`);
  return null;
}

/** An activation is a name, or in some files an object that has it. */
export function translateActivation(
  value: Json,
  key: string,
  { kerasMajor, knownClasses, lacks }: TranslationContext,
): Json {
  if (value === null) return null;
  const name = activationName(value);
  if (name === 'silu') return 'swish';
  if (name === 'hard_sigmoid' && kerasMajor >= 3) {
    lacks(`its ${key} is hard_sigmoid, which in Keras 3 is another function`);
    return null;
  }
  if (name !== null && knownClasses.has(toCamelCase(name))) return name;
  lacks(`its ${key} is ${name ?? JSON.stringify(value)}`);
  return null;
}

function activationName(value: Json): string | null {
  if (typeof value === 'string') return value;
  if (!isObject(value)) return null;
  const { class_name: className, config } = value;
  return className === 'function' && typeof config === 'string' ? config : null;
}

/** As tfjs-layers reads names. */
function toCamelCase(name: string): string {
  return name.replace(/_+(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** A shape whose first extent is the batch's: of any size, whatever the file says. */
export function withFreeBatch(shape: Json | undefined): Json {
  return isArray(shape) ? [null, ...shape.slice(1)] : null;
}

/** The config of an input. Whole numbers are int32 in TensorFlow.js. */
export function translateInput(config: JsonObject, { lacks }: TranslationContext): JsonObject {
  const { name = 'input', dtype, sparse } = config;
  if (sparse === true) lacks('it is sparse');
  const isInteger = typeof dtype === 'string' && /int/.test(dtype);
  return {
    name,
    batch_input_shape: withFreeBatch(config['batch_shape'] ?? config['batch_input_shape']),
    dtype: isInteger ? 'int32' : 'float32',
    sparse: false,
  };
}
