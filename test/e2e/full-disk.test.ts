/** A run directory on a disk that fills up: a file system of its own, so only where this test may mount one. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { checkpointFiles, readSummary } from '../support/run-files.js';

/** Room for one checkpoint of the digits network (1.4 MB), not for two. */
const diskBytes = 2_400_000;

const folder = await JobFolder.make();
const disk = folder.at('disk');
mkdirSync(disk);
const mounted = mountDisk();

beforeAll(() => {
  if (!mounted) process.stderr.write('full-disk.test.ts: skipped, because this user may not mount a tmpfs\n');
});
afterAll(async () => {
  if (mounted) execFileSync('umount', [disk]);
  await folder[Symbol.asyncDispose]();
});

function mountDisk(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'tmpfs', disk], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test.runIf(mounted)(
  'a disk that is full at a checkpoint ends the run, and the checkpoint before it stays whole',
  async () => {
    const runDir = `${disk}/run`;
    const args = ['train', 'examples/digits/job.ts', '--workers', '2', '--run-dir', runDir];
    const ended = await lockstep([...args, '--epochs', '3', '--summary', folder.at('summary.json')]);

    expect(ended.exitCode).toBe(3);
    const [error, ...more] = errorLines(ended);
    expect(error).toMatch(/disk is full.*step-00000044\.safetensors.*step 44.*\[ERR_DISK_FULL\]$/);
    expect(error).toContain(`The last checkpoint is ${runDir}/checkpoints/step-00000022.safetensors`);
    expect(more).toEqual([]);
    expect(checkpointFiles(runDir)).toEqual(['step-00000022.safetensors']);
    expect(readSummary(folder.at('summary.json'))).toMatchObject({
      ok: false,
      error: { code: 'ERR_DISK_FULL' },
      checkpoint: `${runDir}/checkpoints/step-00000022.safetensors`,
    });

    // What is left is whole: the run goes on from it.
    execFileSync('mount', ['-o', 'remount,size=10m', disk]);
    await lockstepDone([...args, '--epochs', '2', '--resume', '--summary', folder.at('resumed.json')]);
    expect(readSummary(folder.at('resumed.json')).steps).toBe(44);
  },
);

test.runIf(mounted)('a disk without any room is refused before workers start', async () => {
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(`${disk}/filler`, Buffer.alloc(bavail * bsize));
  const args = ['--workers', '1', '--run-dir', `${disk}/other`, '--summary', folder.at('none.json')];
  const ended = await lockstep(['train', 'examples/digits/job.ts', ...args]);
  expect(ended.exitCode).toBe(3);
  expect(errorLines(ended)).toEqual([expect.stringMatching(/disk is full.*\[ERR_DISK_FULL\]$/)]);
  expect(readSummary(folder.at('none.json')).error?.code).toBe('ERR_DISK_FULL');
});
