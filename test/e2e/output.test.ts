/** What the command prints where: results on stdout, words for people on stderr, and with --json nothing but JSON lines. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { runningStatus } from '../support/run-status.js';
import { readMetrics, readSummary } from '../support/run-files.js';

const job = 'test/e2e/fixtures/points.ts';
const numSteps = 36;

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

test('off a terminal, progress is plain lines on stderr, and the result is on stdout', async () => {
  const files = ['--run-dir', folder.at('plain'), '--summary', folder.at('plain.json')];
  const { stdout, stderr } = await lockstepDone(['train', job, '--workers', '2', ...files]);
  const summary = readSummary(folder.at('plain.json'));

  expect(stdout[0]).toMatch(/^Done: 36 steps, 3 epochs/);
  expect(stdout).toContain(`weights sha256 ${summary.weightsSha256 ?? ''}`);
  expect(stdout).toContain(`checkpoint ${summary.checkpoint ?? ''}`);
  expect(stderr.filter((line) => /^step \d+ of 36, epoch \d: loss [\d.]+, accuracy [\d.]+, /.test(line))).not.toEqual(
    [],
  );
  expect(stderr.filter((line) => /^epoch \d: val_loss [\d.]+, val_accuracy [\d.]+$/.test(line))).toHaveLength(3);
  expect([...stdout, ...stderr].join('\n')).not.toContain('\u001b'); // no colour, no cursor

  expect(summary).toMatchObject({
    ok: true,
    error: null,
    steps: numSteps,
    epochs: 3,
    samplesSeen: 750,
    workers: 2,
    slots: 2,
  });
  expect(summary.wallSeconds).toBeGreaterThan(0);
  expect(summary.samplesPerSecond).toBeGreaterThan(0);
  expect(Object.keys(summary.stepTime ?? {})).toEqual(['data', 'compute', 'network', 'optimizer', 'waiting']);
  expect(summary.stepTime?.['compute']).toBeGreaterThan(0);
  expect(summary.finalLoss).toBe(readMetrics(folder.at('plain')).findLast(({ loss }) => loss !== undefined)?.loss);
  const { wallSeconds, ...kept } = readSummary(folder.at('plain', 'summary.json'));
  expect(summary).toMatchObject(kept);
  expect(wallSeconds).toBeGreaterThan(0);
});

const recordSchema = z.looseObject({ level: z.int(), time: z.int(), pid: z.int(), msg: z.string() });

test('with --json every line on stdout is a record, and a step, a validation and the summary are among them', async () => {
  const files = ['--run-dir', folder.at('json'), '--summary', folder.at('json.json')];
  const { stdout, stderr } = await lockstepDone(['train', job, '--workers', '2', '--json', ...files]);
  expect(stderr).toEqual([]);
  const records = stdout.map((line) => recordSchema.parse(JSON.parse(line)));
  const named = (msg: string) => records.filter((record) => record.msg === msg);
  expect(named('step').map(({ step }) => step)).toEqual(Array.from({ length: numSteps }, (_, i) => i + 1));
  expect(named('validation')).toHaveLength(3);
  expect(named('summary')).toMatchObject([{ weightsSha256: readSummary(folder.at('json.json')).weightsSha256 }]);
});

test('with --json a run that fails still writes its error as a line for people, and nothing else', async () => {
  const { exitCode, stdout, stderr } = await lockstep(['train', folder.at('absent.ts'), '--json']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: [] });
  expect(errorLines({ stderr })).toHaveLength(1);
});

test('status shows a run that is under way, as lines and as JSON, and says when there is none', async () => {
  const runDir = folder.at('watched');
  const run = LockstepProcess.start(['train', job, '--workers', '2', '--set', 'epochs=1000000', '--run-dir', runDir]);
  await run.line(/^epoch 1:/);
  const status = await runningStatus(runDir, ({ checkpoint }) => checkpoint !== null);
  expect(status).toMatchObject({
    name: 'points',
    state: 'training',
    generation: 1,
    reason: null,
    totalSteps: 12_000_000,
  });
  expect(status.step).toBeGreaterThanOrEqual(12);
  expect(status.workers.toSorted((a, b) => a.workerId.localeCompare(b.workerId))).toMatchObject([
    { workerId: 'w0', rank: 0, slots: [0, 1], state: 'training' },
    { workerId: 'w1', rank: 1, slots: [1, 2], state: 'training' },
  ]);

  const { stdout } = await lockstepDone(['status', '--run-dir', runDir]);
  expect(stdout[0]).toMatch(/^points \(run [0-9a-f]{12}\): training, step \d+ of 12000000, epoch \d+, loss [\d.]+$/);
  expect(stdout.join('\n')).toMatch(/^ +w1: rank 1, pid \d+ on .+, slots 1 to 1, step \d+, training/m);

  run.signal('SIGTERM'); // as from a supervisor: it ends like Ctrl-C
  expect(await run.ended).toMatchObject({ exitCode: 0 });
  const over = await lockstep(['status', '--run-dir', runDir]);
  expect(over.exitCode).toBe(1);
  expect(errorLines(over)).toEqual([expect.stringMatching(/The run has ended\. \[ERR_CONNECT\]$/)]);
  const none = await lockstep(['status', '--run-dir', folder.at('nowhere'), '--json']);
  expect(none).toMatchObject({ exitCode: 2, stdout: [] });
  expect(errorLines(none)).toEqual([expect.stringMatching(/nowhere is no run directory.*\[ERR_RUN_DIR\]$/)]);
});
