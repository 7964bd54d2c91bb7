/** The options of a run, whoever starts its workers. */
import type { Command } from 'commander';
import { parseFaults } from '../src/chaos/faults.js';
import type { Log } from '../src/log.js';
import { jsonLog, textLog } from './log.js';
import { collect, positiveInteger } from './options.js';
import type { Limits } from '../src/protocol/limits.js';
import type { RunOptions } from './run.js';
import { BarView, JsonView, LineView, type View } from './view.js';

export interface CommonRunOptions extends Limits {
  readonly epochs?: number;
  readonly steps?: number;
  readonly minWorkers: number;
  readonly maxWorkers?: number;
  readonly chaos?: string;
  readonly runDir?: string;
  readonly resume: boolean;
  readonly summary?: string;
  readonly set: readonly string[];
  readonly tokenFile?: string;
  readonly json: boolean;
}

export function addRunOptions(command: Command): Command {
  return command
    .option('--epochs <n>', 'passes over the data, instead of what the job says', positiveInteger)
    .option('--steps <n>', 'end after this many steps of the run', positiveInteger)
    .option('--min-workers <n>', 'with fewer workers left the run waits for more', positiveInteger, 1)
    .option('--max-workers <n>', 'the run is not scaled to more (default: the slots)', positiveInteger)
    .option('--run-dir <dir>', 'where the files of the run go (default: runs/NAME-TIME)')
    .option('--resume', 'go on from the last checkpoint in --run-dir', false)
    .option('--summary <file>', 'write one JSON object when the run ends, well or badly')
    .option(
      '--set <key=value>',
      'override a field of the job, such as slots=4 or optimizer.learningRate=0.01',
      collect,
      [],
    )
    .option('--token-file <file>', 'the secret that workers have to prove; needed beyond this host')
    .option('--chaos <faults>', 'faults to recover from, such as kill:1@20,join@60: docs/fault-testing.md')
    .option('--json', 'log JSON lines on stdout', false);
}

export function runOptionsOf(
  options: CommonRunOptions,
): Pick<
  RunOptions,
  'overrides' | 'minWorkers' | 'maxWorkers' | 'steps' | 'runDir' | 'resume' | 'summary' | 'tokenFile' | 'faults'
> {
  const { epochs, minWorkers, maxWorkers, steps, runDir, resume, summary, set, tokenFile, chaos } = options;
  const faults = chaos === undefined ? [] : parseFaults(chaos);
  const overrides = epochs === undefined ? set : [...set, `epochs=${epochs}`];
  return { overrides, minWorkers, maxWorkers, steps: steps ?? null, runDir, resume, summary, tokenFile, faults };
}

/** A bar on a terminal, lines elsewhere, JSON where asked; and the log that goes with it. */
export function makeView(json: boolean): { view: View; log: Log } {
  if (json) {
    const log = jsonLog('lockstep');
    return { view: new JsonView(log), log };
  }
  const view = process.stderr.isTTY ? new BarView() : new LineView((line) => process.stderr.write(`${line}\n`));
  const write = (line: string): void => {
    view.note(line);
  };
  return { view, log: textLog({ write }) };
}
