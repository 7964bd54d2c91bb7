/** Patterns of parameter names, as a job gives them: `*` stands for any characters, also for none, all else for itself. */
import { LockstepError } from '../errors.js';
import { listed } from '../listed.js';

/** Names that a message gives. */
const maxListed = 12;

/** What each `*` of the pattern stands for in `name`; null where the name is another one. */
export type NamePattern = (name: string) => readonly string[] | null;

export function namePattern(pattern: string): NamePattern {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
  const expression = new RegExp(`^${parts.join('(.*)')}$`, 's');
  return (name) => expression.exec(name)?.slice(1) ?? null;
}

/** How many `*` a name has. */
export function numStars(pattern: string): number {
  return pattern.split('*').length - 1;
}

/** The name in which the first `*` is the first of `values`, and so on. */
export function fillStars(pattern: string, values: readonly string[]): string {
  const [first = '', ...rest] = pattern.split('*');
  return rest.reduce((name, part, index) => `${name}${values[index] ?? ''}${part}`, first);
}

export function matchesPattern(pattern: string, name: string): boolean {
  return namePattern(pattern)(name) !== null;
}

export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchesPattern(pattern, name));
}

/**
 * A pattern that matches nothing is a mistake: the model is another one than its author thinks.
 *
 * @param field of the job, for messages
 * @throws LockstepError ERR_JOB_INVALID
 */
export function requireMatches(field: string, patterns: readonly string[], names: readonly string[]): void {
  const unmatched = patterns.filter((pattern) => !names.some((name) => matchesPattern(pattern, name)));
  if (unmatched.length === 0) return;
  const known = listed(names, maxListed, ', ') || 'there are none';
  const found = unmatched.map((pattern) => `"${pattern}"`).join(', ');
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `${field}: ${found} matches none of the parameters that it could: ${known}. "*" stands for any characters.`,
    { details: { field, unmatched, names } },
  );
}
