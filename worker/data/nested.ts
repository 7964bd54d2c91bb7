/** Numbers in nested arrays, as JSON and job files have them. */
import { isFloat32 } from './element.js';

/** The shape that the first value sets for all. Of a number: []. */
export function nestedShape(value: unknown): number[] {
  const shape: number[] = [];
  for (let part = value; Array.isArray(part); part = part[0] as unknown) shape.push(part.length);
  return shape;
}

/** Appends the numbers of nested arrays of this shape; where something else is there, says what. */
export function flatten(value: unknown, shape: readonly number[], numbers: number[]): string | undefined {
  const [length, ...inner] = shape;
  if (length === undefined) {
    if (typeof value !== 'number' || !isFloat32(value)) return describeValue(value);
    numbers.push(value);
    return undefined;
  }
  if (!Array.isArray(value)) return describeValue(value);
  if (value.length !== length) return `an array of ${value.length}`;
  for (const part of value as unknown[]) {
    const problem = flatten(part, inner, numbers);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function describeValue(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
