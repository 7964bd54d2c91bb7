/** Patterns of parameter names, as a job gives them: `*` stands for any characters, all else for itself. */
import { LockstepError } from '../errors.js';

/** Names that a message lists; the others are counted. */
const maxListed = 12;

export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name);
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
  const listed = names.slice(0, maxListed).join(', ');
  const more = names.length > maxListed ? `, and ${names.length - maxListed} more` : '';
  const found = unmatched.map((pattern) => `"${pattern}"`).join(', ');
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `${field}: ${found} matches none of the parameters that it could: ${listed || 'there are none'}${more}. "*" stands for any characters.`,
    { details: { field, unmatched, names } },
  );
}
