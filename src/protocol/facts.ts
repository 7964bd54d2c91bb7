/** Facts about a run, by name, that must be equal in all its workers: "rows of the train data" → "1437". */

export type Facts = Readonly<Record<string, string>>;

/** Facts of the model come from workers alone, and all at once: with one of them known, all are. */
const isParameter = (name: string): boolean => name.startsWith('parameter ');

/** What differs from the run's facts, each with both values. Facts that the run does not know yet differ from nothing. */
export function compareFacts(run: Facts, worker: Facts): string[] {
  const complete = Object.keys(run).some(isParameter);
  const names = new Set([...Object.keys(worker), ...Object.keys(run).filter(isParameter)]);
  return [...names].flatMap((name) => {
    const expected = run[name];
    const found = worker[name];
    if (expected === found || (expected === undefined && !(complete && isParameter(name)))) return [];
    return [`${name}: the worker has ${found ?? 'none'}, the run has ${expected ?? 'none'}`];
  });
}
