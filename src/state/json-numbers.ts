/**
 * Numbers that may be NaN or infinite, in JSON, which has none such: as their names. What a validation has come to is one, and a
 * checkpoint that says so can be read like any other.
 */
import { z } from 'zod';

/** A number, or its name as `toJson` writes it. */
export const numberSchema = z
  .union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity'])], 'expected a number, "NaN", "Infinity" or "-Infinity"')
  .transform(Number);

/** JSON, with the name of every number that it lacks. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) =>
    typeof field === 'number' && !Number.isFinite(field) ? String(field) : field,
  );
}
