/** Names with `*` in them, which stands for any characters, also for none. */

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
