/** Workers that do not see the run directory: checkpoints go by way of the coordinator, there and back. */
import { mkdirSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { canHideFolders, errorLines, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { checkpointFiles, readSummary, type SummaryFile } from '../support/run-files.js';

const mayHide = canHideFolders();
/** 12 MB of state, and a checkpoint after each step. */
const job = ['test/faults/fixtures/wide.ts', '--epochs', '1000'];
/** Three times what it takes where nothing else runs. */
const timeoutMs = 180_000;

let folder: JobFolder;
let token: string;
beforeAll(async () => {
  if (!mayHide) process.stderr.write('apart.test.ts: skipped, because this user may not hide a folder\n');
  folder = await JobFolder.make();
  token = await folder.write('token', 'a secret that only this test knows\n');
});
afterAll(() => folder[Symbol.asyncDispose]());

interface Apart {
  readonly coordinator: LockstepProcess;
  readonly workers: readonly LockstepProcess[];
  readonly command: readonly string[];
}

async function startApart(name: string, ids: readonly string[], more: readonly string[]): Promise<Apart> {
  const runDir = folder.at(name);
  mkdirSync(runDir, { recursive: true });
  const files = ['--token-file', token, '--run-dir', runDir, '--summary', `${runDir}.json`];
  const command = ['coordinator', ...job, '--workers', String(ids.length), ...files, ...more];
  const coordinator = LockstepProcess.start(command);
  const [, url = ''] = await coordinator.line(/--join (\S+)/);
  const workers = ids.map((id) =>
    LockstepProcess.start(['worker', '--join', url, '--token-file', token, '--id', id], { hides: runDir }),
  );
  return { coordinator, workers, command };
}

async function endsWell({ coordinator, workers }: Apart, name: string): Promise<SummaryFile> {
  for (const { ended } of [coordinator, ...workers]) {
    const { exitCode, stderr } = await ended;
    expect(exitCode, stderr.join('\n')).toBe(0);
  }
  return readSummary(`${folder.at(name)}.json`);
}

async function undisturbed(name: string, steps: number): Promise<SummaryFile> {
  const path = folder.at(`${name}-whole`);
  const files = ['--run-dir', path, '--summary', `${path}.json`];
  await lockstepDone(['train', ...job, '--workers', '1', '--steps', String(steps), ...files]);
  return readSummary(`${path}.json`);
}

const names = (...steps: number[]): string[] => steps.map((step) => `step-0000000${step}.safetensors`);

test.runIf(mayHide)(
  'the coordinator writes their checkpoints, and sends one to whoever resumes from it',
  { timeout: timeoutMs },
  async () => {
    const begun = await startApart('apart', ['a', 'b'], ['--steps', '4']);
    await begun.workers[0]?.line(/is not seen from this host: checkpoints go by way of the coordinator/);
    await endsWell(begun, 'apart');
    expect(checkpointFiles(folder.at('apart')).slice(-1)).toEqual(names(4));
    expect(checkpointFiles(folder.at('apart')).length).toBeLessThanOrEqual(2); // checkpointsKept

    const more = await startApart('apart', ['c'], ['--steps', '7', '--resume']);
    const { weightsSha256, steps } = await endsWell(more, 'apart');
    expect({ weightsSha256, steps }).toEqual({
      weightsSha256: (await undisturbed('apart', 7)).weightsSha256,
      steps: 7,
    });
  },
);

test.runIf(mayHide)(
  'one that is killed while it sends a checkpoint leaves none that is torn, and the others go on',
  { timeout: timeoutMs },
  async () => {
    const run = await startApart('torn', ['a', 'b'], ['--steps', '40']);
    while (!readdirSync(folder.at('torn', 'checkpoints')).some((name) => name.startsWith('.tmp-'))) await delay(1);
    run.workers[0]?.signal('SIGKILL');
    const { steps, weightsSha256, recoveries } = await endsWell({ ...run, workers: run.workers.slice(1) }, 'torn');
    expect({ steps, weightsSha256 }).toEqual({
      steps: 40,
      weightsSha256: (await undisturbed('torn', 40)).weightsSha256,
    });
    expect(recoveries).toMatchObject([{ kind: 'lost', workerId: 'a' }]);
    const { stderr } = await lockstepDone([
      ...['train', ...job, '--workers', '1', '--steps', '41', '--run-dir', folder.at('torn'), '--resume'],
    ]);
    expect(stderr.filter((line) => line.includes('passed over'))).toEqual([]);
  },
);

test.runIf(mayHide)(
  'with the coordinator killed meanwhile, what was to be written goes to the one that comes back',
  { timeout: timeoutMs },
  async () => {
    const run = await startApart('back', ['a', 'b'], ['--steps', '40', '--listen', '127.0.0.1:0']);
    while (!readdirSync(folder.at('back', 'checkpoints')).some((name) => name.startsWith('.tmp-'))) await delay(1);
    run.coordinator.signal('SIGKILL');
    await run.coordinator.ended;
    const back = LockstepProcess.start(run.command);
    await back.line(/^the coordinator is back/);
    const { steps, weightsSha256 } = await endsWell({ ...run, coordinator: back }, 'back');
    expect({ steps, weightsSha256 }).toEqual({
      steps: 40,
      weightsSha256: (await undisturbed('back', 40)).weightsSha256,
    });
    expect(checkpointFiles(folder.at('back')).slice(-1)).toEqual(['step-00000040.safetensors']);
    expect(errorLines(await back.ended)).toEqual([]);
  },
);
