/** Items for a message: the first `max` of them, and how many more there are. */
export function listed(items: readonly string[], max: number, separator = '; '): string {
  const numMore = items.length - max;
  const more = numMore > 0 ? [`and ${numMore} more`] : [];
  return [...items.slice(0, max), ...more].join(separator);
}
