/** `--set key=value`: replaces plain fields of a job definition before it is validated. */
import { LockstepError } from '../errors.js';

/**
 * A copy of the definition with the overrides applied. A value is read as JSON where it is JSON, as text otherwise.
 *
 * @param overrides "slots=4", "optimizer.learningRate=0.01"
 * @throws LockstepError ERR_OVERRIDE_INVALID
 */
export function applyOverrides(definition: unknown, overrides: readonly string[]): unknown {
  return overrides.reduce<unknown>((changed, override) => {
    const [, key, value] = /^([A-Za-z][A-Za-z0-9.]*)=(.*)$/s.exec(override) ?? [];
    if (key === undefined || value === undefined) {
      throw new LockstepError('ERR_OVERRIDE_INVALID', `--set ${override}: expected key=value, such as --set slots=4.`);
    }
    return setField(changed, key.split('.'), parseValue(value), override);
  }, definition);
}

function setField(target: unknown, path: readonly string[], value: unknown, override: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (typeof target !== 'object' || target === null || Array.isArray(target)) {
    throw new LockstepError(
      'ERR_OVERRIDE_INVALID',
      `--set ${override}: "${key}" is inside of something that has no fields.`,
    );
  }
  const current: unknown = Reflect.get(target, key);
  if (typeof current === 'function') {
    throw new LockstepError(
      'ERR_OVERRIDE_INVALID',
      `--set ${override}: "${key}" is a function in the job file; only plain values can be set.`,
    );
  }
  return { ...target, [key]: setField(current, rest, value, override) };
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // plain text need not be quoted
  }
}
