/** Sizes in bytes as people write them: "256", "16KiB", "1MiB". */

const units = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

/** Bytes, or null for what is no size. */
export function parseSize(text: string): number | null {
  const [, count, unit = 'B'] = /^\s*(\d+)\s*(B|KiB|MiB|GiB)?\s*$/.exec(text) ?? [];
  return count === undefined ? null : Number(count) * units[unit as keyof typeof units]; // as the pattern has it
}

/** With the largest unit that leaves a whole number. */
export function formatSize(bytes: number): string {
  const [unit, size] = Object.entries(units).findLast(([, value]) => bytes % value === 0) ?? ['B', 1];
  return `${bytes / size} ${unit}`;
}
