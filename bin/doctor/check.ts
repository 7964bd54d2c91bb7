/** What a check of `lockstep doctor` answers, and how the answers are shown. */

export interface CheckResult {
  readonly name: string;
  /** `note`: works, and could be better; `bad`: something that training needs is missing. */
  readonly status: 'ok' | 'note' | 'bad';
  readonly found: string;
  /** What to do about it. */
  readonly mend?: string;
}

/** A check never throws: what goes wrong is its answer. */
export type Check = () => CheckResult | Promise<CheckResult>;

/** Runs the checks one after the other; they would disturb one another's measurements of this machine. */
export async function runChecks(checks: readonly Check[]): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) results.push(await check());
  return results;
}

const nameColumns = 15;

/** A line for each check, and one more where there is something to mend. */
export function formatResults(results: readonly CheckResult[]): string {
  return results
    .flatMap(({ name, status, found, mend }) => [
      `${status.padEnd(5)} ${name.padEnd(nameColumns)} ${found}`,
      ...(mend === undefined ? [] : [`${' '.repeat(6 + nameColumns)} → ${mend}`]),
    ])
    .join('\n');
}
